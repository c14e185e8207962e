package main

import (
	"fmt"
	"strings"
)

type envCommand struct {
	Output string `name:"output" short:"o" enum:"shell,json" default:"shell" placeholder:"shell|json" help:"Form of the result (default ${default})."`
	remote
}

func (envCommand) Help() string {
	return `The official SDKs read TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN by themselves; OFFHOOK_URL is the base URL to point them at (see the README). Credentials come from the flags, else from the environment, else from the data folder of the server that runs here.

    eval "$(offhook env)"
    offhook env --data /var/lib/offhook`
}

func (c *envCommand) Run(a *app) error {
	acct, err := c.account()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(a.out, acct)
	}
	for _, v := range [][2]string{
		{"TWILIO_ACCOUNT_SID", acct.SID}, {"TWILIO_AUTH_TOKEN", acct.AuthToken}, {"OFFHOOK_URL", acct.URL},
	} {
		if _, err := fmt.Fprintf(a.out, "export %s=%s\n", v[0], shellQuote(v[1])); err != nil {
			return err
		}
	}
	return nil
}

// shellQuote makes s one word of a POSIX shell.
func shellQuote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+,=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
