package main

import (
	"context"
	"fmt"
	"net/netip"
)

type trunksCommand struct {
	Add    trunksAddCommand    `cmd:"" help:"Add a carrier."`
	List   trunksListCommand   `cmd:"" help:"List the carriers."`
	Remove trunksRemoveCommand `cmd:"" help:"Remove a carrier."`
}

func (trunksCommand) Help() string {
	return `A call to a number leaves through the trunk with the longest matching prefix; calls that arrive from a trunk's host or sources go to the own number they name.

    offhook trunks add carrier --host sip.carrier.example --prefix +
    offhook trunks list`
}

var trunkColumns = []column{
	{title: "sid", field: "sid"}, {title: "name", field: "name"}, {title: "host", field: "host"},
	{title: "transport", field: "transport"}, {title: "prefixes", field: "prefixes"}, {title: "sources", field: "sources"},
	{title: "username", field: "username"}, {title: "cps", field: "cps"}, {title: "max calls", field: "maxCalls"},
}

type trunksAddCommand struct {
	Name      string    `arg:"" name:"name" help:"A name of your choice."`
	Host      string    `name:"host" required:"" placeholder:"HOST[:PORT]" help:"Where its calls go to."`
	Transport string    `name:"transport" enum:"udp,tcp,tls,udp+tcp" default:"udp+tcp" placeholder:"udp|tcp|tls|udp+tcp" help:"How; udp+tcp takes TCP only for what is too long for UDP (default ${default})."`
	Username  string    `name:"username" placeholder:"NAME" help:"Answers the carrier's challenge."`
	Password  string    `name:"password" env:"OFFHOOK_TRUNK_PASSWORD" placeholder:"PASSWORD" help:"Its password."`
	Source    []network `name:"source" placeholder:"CIDR" help:"Where its calls come from, beside --host; may be repeated."`
	Prefix    []string  `name:"prefix" placeholder:"+PREFIX" help:"Numbers it serves, + for all; may be repeated."`
	Secure    bool      `name:"secure" help:"TLS and SRTP only, both ways; needs serve --sips."`
	CPS       float64   `name:"cps" placeholder:"N" help:"Calls a second; the rest queue (default: unlimited)."`
	MaxCalls  int       `name:"max-calls" placeholder:"N" help:"Calls at once; the rest queue (default: unlimited)."`
	output
	remote
}

func (trunksAddCommand) Help() string {
	return `Other users of the machine see the flags of a running command; OFFHOOK_TRUNK_PASSWORD keeps the password from them.

    offhook trunks add carrier --host sip.carrier.example --username 1234 --password secret --prefix +
    offhook trunks add pbx --host 192.0.2.10:5080 --transport tcp --source 192.0.2.0/28 --prefix +1555 --cps 5 --max-calls 30`
}

func (c *trunksAddCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	sources := make([]string, len(c.Source))
	for i, s := range c.Source {
		sources[i] = netip.Prefix(s).String()
	}
	transport := c.Transport
	if c.Secure && transport == "udp+tcp" {
		transport = "tls"
	}
	trunk, err := client.AddTrunk(ctx, struct {
		Name      string   `json:"name"`
		Host      string   `json:"host"`
		Transport string   `json:"transport"`
		Username  string   `json:"username,omitempty"`
		Password  string   `json:"password,omitempty"`
		Sources   []string `json:"sources"`
		Prefixes  []string `json:"prefixes"`
		CPS       float64  `json:"cps"`
		MaxCalls  int      `json:"maxCalls"`
		Secure    bool     `json:"secure,omitempty"`
	}{c.Name, c.Host, transport, c.Username, c.Password, sources, append([]string{}, c.Prefix...), c.CPS, c.MaxCalls, c.Secure})
	if err != nil {
		return err
	}
	return c.one(a.out, trunkColumns, trunk)
}

type trunksListCommand struct {
	output
	remote
}

func (trunksListCommand) Help() string {
	return `Passwords are not shown.

    offhook trunks list -o tsv`
}

func (c *trunksListCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	trunks, err := client.Trunks(ctx)
	if err != nil {
		return err
	}
	return c.list(a.out, trunkColumns, trunks)
}

type trunksRemoveCommand struct {
	Name string `arg:"" name:"name" help:"The trunk's name, or its SID TK…"`
	remote
}

func (trunksRemoveCommand) Help() string {
	return `Calls that go on are left alone; those that wait for it fail.

    offhook trunks remove carrier`
}

func (c *trunksRemoveCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	trunks, err := client.Trunks(ctx)
	if err != nil {
		return err
	}
	for _, t := range trunks {
		if t.Text("name") == c.Name || t.Text("sid") == c.Name {
			return client.RemoveTrunk(ctx, t.Text("sid"))
		}
	}
	return fmt.Errorf("there is no trunk %s; see `offhook trunks list`", c.Name)
}
