package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/offhook/offhook/internal/apiclient"
	"github.com/offhook/offhook/internal/server"
)

// remote is how a command finds a running server and proves who it is.
type remote struct {
	Server     string `name:"server" env:"OFFHOOK_URL" placeholder:"URL" help:"Base URL of the server (default: where the server of --data listens)." group:"Server:"`
	Data       string `name:"data" env:"OFFHOOK_DATA" default:"offhook-data" placeholder:"DIR" help:"The server's data folder, for its address and credentials (default ./${default})." group:"Server:"`
	AccountSID string `name:"account-sid" env:"TWILIO_ACCOUNT_SID" placeholder:"AC…" help:"Account, with --auth-token (default: the one in --data)." group:"Server:"`
	AuthToken  string `name:"auth-token" env:"TWILIO_AUTH_TOKEN" placeholder:"TOKEN" help:"The account's token." group:"Server:"`
}

// account is where the server is and as whom to ask: flags and environment win over the data folder.
func (r *remote) account() (server.Account, error) {
	if (r.AccountSID == "") != (r.AuthToken == "") {
		return server.Account{}, usagef("--account-sid and --auth-token (TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN) go together: give both or none")
	}
	kept, err := server.ReadAccount(r.Data)
	if r.AccountSID != "" {
		kept.SID, kept.AuthToken = r.AccountSID, r.AuthToken
	} else if errors.Is(err, fs.ErrNotExist) {
		return server.Account{}, fmt.Errorf("no credentials: %s has none. Start a server there with `offhook serve`, "+
			"name its data folder with --data, or set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN", r.Data)
	} else if err != nil {
		return server.Account{}, err
	}
	switch listen := os.Getenv("OFFHOOK_HTTP"); {
	case r.Server != "":
		kept.URL = strings.TrimRight(r.Server, "/")
	case listen != "" && !strings.HasSuffix(listen, ":0"): // a free port: the data folder knows which
		kept.URL = urlOf(listen)
	case kept.URL == "":
		kept.URL = urlOf(server.DefaultHTTP)
	}
	return kept, nil
}

// urlOf is the base URL of a listening address as seen from this machine.
func urlOf(listen string) string { return "http://" + reachable(listen) }

// reachable is the host:port at which this machine reaches a listening address, which may be every address.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func (r *remote) connect(a *app) (*apiclient.Client, error) {
	acct, err := r.account()
	if err != nil {
		return nil, err
	}
	return apiclient.New(apiclient.Config{
		URL: acct.URL, AccountSID: acct.SID, AuthToken: acct.AuthToken,
		UserAgent: "offhook/" + version(),
	})
}

// text is a flag's value that may be long: @FILE stands for the file's content.
type text string

func (t *text) UnmarshalText(b []byte) error {
	if name, ok := strings.CutPrefix(string(b), "@"); ok {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b = content
	}
	*t = text(b)
	return nil
}
