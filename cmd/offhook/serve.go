package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/server"
)

type serveCommand struct {
	HTTP string   `name:"http" env:"OFFHOOK_HTTP" default:"127.0.0.1:4600" placeholder:"ADDR" help:"Address of the APIs (default ${default})." group:"Addresses:"`
	SIP  []string `name:"sip" env:"OFFHOOK_SIP" default:"127.0.0.1:5060" placeholder:"ADDR" help:"Address of SIP over UDP and TCP (default ${default}); may be repeated." group:"Addresses:"`

	SIPS []string `name:"sips" env:"OFFHOOK_SIPS" placeholder:"ADDR" help:"Address of SIP over TLS, such as 127.0.0.1:5061; may be repeated (default: none, and then no call goes over TLS)." group:"Addresses:"`

	Admin string `name:"admin" env:"OFFHOOK_ADMIN" placeholder:"ADDR" help:"Address of metrics and profiles for operators; it asks for no password (default: none; /metrics is on --http too)." group:"Addresses:"`

	RTPIP      netip.Addr `name:"rtp-ip" env:"OFFHOOK_RTP_IP" placeholder:"IP" help:"Address of RTP (default: the first --sip address)." group:"Addresses:"`
	RTPPorts   portRange  `name:"rtp-ports" env:"OFFHOOK_RTP_PORTS" default:"16384-32767" placeholder:"MIN-MAX" help:"UDP ports of RTP, two a leg (default ${default}); a call without a free pair gets 503." group:"Addresses:"`
	ExternalIP netip.Addr `name:"external-ip" env:"OFFHOOK_EXTERNAL_IP" placeholder:"IP" help:"Address that peers outside --local-net are told, for a server behind NAT." group:"Addresses:"`
	LocalNet   []network  `name:"local-net" env:"OFFHOOK_LOCAL_NET" placeholder:"CIDR" help:"Networks that reach this machine directly (default: the private ranges); may be repeated." group:"Addresses:"`

	Cert  string `name:"cert" env:"OFFHOOK_CERT" placeholder:"FILE" help:"Certificate (PEM) that --sips shows; it is read again when it changes (default: a self-signed one, made in --data)." group:"Certificates:"`
	Key   string `name:"key" env:"OFFHOOK_KEY" placeholder:"FILE" help:"Its private key (PEM)." group:"Certificates:"`
	SIPCA string `name:"sip-ca" env:"OFFHOOK_SIP_CA" placeholder:"FILE" help:"Authorities (PEM) that vouch for the SIP servers we call over TLS, beside the system's." group:"Certificates:"`

	PublicURL string `name:"public-url" env:"OFFHOOK_PUBLIC_URL" placeholder:"URL" help:"Where others reach the APIs, for links in callbacks (default: the address of --http)." group:"Addresses:"`

	Data               string   `name:"data" env:"OFFHOOK_DATA" default:"offhook-data" placeholder:"DIR" help:"Folder of the database, the account's credentials and cached speech (default ./${default})." group:"Data:"`
	Database           string   `name:"database" env:"OFFHOOK_DATABASE" placeholder:"DSN" help:"postgres://… or the path of a SQLite file (default: SQLite in --data)." group:"Data:"`
	Retention          int      `name:"retention" env:"OFFHOOK_RETENTION" default:"30" placeholder:"DAYS" help:"Keep events, notifications, requests and delivered callbacks of calls for so long (default ${default})." group:"Data:"`
	Recordings         string   `name:"recordings" env:"OFFHOOK_RECORDINGS" placeholder:"WHERE" help:"Where recordings are kept: a folder or s3://BUCKET?… (default: recordings in --data)." group:"Data:"`
	RecordingsKeep     int      `name:"recordings-keep" env:"OFFHOOK_RECORDINGS_KEEP" placeholder:"DAYS" help:"Delete recordings that are older (default: never)." group:"Data:"`
	RecordingsEncrypt  []string `name:"recordings-encrypt" env:"OFFHOOK_RECORDINGS_ENCRYPT" placeholder:"age1…" help:"Encrypt recordings to this age public key; may be repeated." group:"Data:"`
	RecordingsIdentity string   `name:"recordings-identity" env:"OFFHOOK_RECORDINGS_IDENTITY" placeholder:"FILE" help:"age secret keys that read encrypted recordings, to serve them." group:"Data:"`
	PublicRecordings   bool     `name:"public-recordings" env:"OFFHOOK_PUBLIC_RECORDINGS" help:"Let whoever knows its URL hear a recording, without credentials or a signed link." group:"Data:"`
	AMDKeep            int      `name:"amd-keep" env:"OFFHOOK_AMD_KEEP" placeholder:"N" help:"Keep the first 30 s of what called parties say where machines are detected, of the newest N calls, in amd of --data (default: none)." group:"Data:"`

	AccountSID string `name:"account-sid" env:"TWILIO_ACCOUNT_SID" placeholder:"AC…" help:"Account to serve, with --auth-token (default: generated once and kept in --data)." group:"Data:"`
	AuthToken  string `name:"auth-token" env:"TWILIO_AUTH_TOKEN" placeholder:"TOKEN" help:"The account's token." group:"Data:"`

	Mode       string        `name:"mode" env:"OFFHOOK_MODE" placeholder:"dev|production" help:"dev trusts whoever reaches it and must be said aloud to listen beyond loopback; production refuses to start until all of its safeguards exist (default: dev on loopback)." group:"Behaviour:"`
	Voice      string        `name:"voice" env:"OFFHOOK_VOICE" default:"auto" placeholder:"ENGINE" help:"Speech engine: auto, builtin, flite, espeak-ng, or test, which gives each text its own tones (default ${default})." group:"Behaviour:"`
	SIPDigests []string      `name:"sip-digest" env:"OFFHOOK_SIP_DIGEST" default:"MD5" placeholder:"NAME" help:"How phones show their passwords: MD5, or SHA-256,MD5 where all phones can cope with the choice (default ${default})." group:"Behaviour:"`
	RTPTimeout time.Duration `name:"rtp-timeout" env:"OFFHOOK_RTP_TIMEOUT" default:"60s" placeholder:"DURATION" help:"End a call whose party sent no audio for so long (default ${default})." group:"Behaviour:"`
	Drain      time.Duration `name:"drain" env:"OFFHOOK_DRAIN" default:"60s" placeholder:"DURATION" help:"On SIGTERM, let live calls go on for so long; a second signal ends the process at once (default ${default})." group:"Behaviour:"`

	SIPCPS      float64 `name:"sip-cps" env:"OFFHOOK_SIP_CPS" placeholder:"N" help:"Calls a second to sip: URIs; the rest queue (default: unlimited)." group:"Limits:"`
	SIPMaxCalls int     `name:"sip-max-calls" env:"OFFHOOK_SIP_MAX_CALLS" placeholder:"N" help:"Calls to sip: URIs at once (default: unlimited)." group:"Limits:"`
	SimCPS      float64 `name:"sim-cps" env:"OFFHOOK_SIM_CPS" placeholder:"N" help:"Calls a second to simulated phones (default: unlimited)." group:"Limits:"`
	SimMaxCalls int     `name:"sim-max-calls" env:"OFFHOOK_SIM_MAX_CALLS" placeholder:"N" help:"Calls to simulated phones at once (default: unlimited)." group:"Limits:"`

	AccountCPS      float64 `name:"account-cps" env:"OFFHOOK_ACCOUNT_CPS" placeholder:"N" help:"Calls a second of each account that its API creates; the rest queue (default: unlimited)." group:"Limits:"`
	AccountMaxCalls int     `name:"account-max-calls" env:"OFFHOOK_ACCOUNT_MAX_CALLS" placeholder:"N" help:"Calls that leave of each account at once (default: unlimited)." group:"Limits:"`

	Config    configFile `name:"config" env:"OFFHOOK_CONFIG" placeholder:"FILE" help:"JSON file whose keys are the names of these flags; flags and environment win over it." group:"Other:"`
	LogLevel  slog.Level `name:"log-level" env:"OFFHOOK_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error (default ${default})." group:"Other:"`
	OTLP      string     `name:"otlp" env:"OFFHOOK_OTLP" placeholder:"URL" help:"Send a trace of each call to this OTLP/HTTP collector, such as http://127.0.0.1:4318; env takes it from OTEL_EXPORTER_OTLP_ENDPOINT (default: no tracing)." group:"Other:"`
	LogFormat string     `name:"log-format" env:"OFFHOOK_LOG_FORMAT" default:"text" enum:"text,json" placeholder:"text|json" help:"How log lines on stderr look (default ${default})." group:"Other:"`

	// Fixed names whose features do not exist yet: refused, never ignored.
	NATS string `name:"nats" env:"OFFHOOK_NATS" hidden:""`
	TLS  string `name:"tls" env:"OFFHOOK_TLS" hidden:""`
}

func (serveCommand) Help() string {
	return `Without flags it is a development server: both APIs on 127.0.0.1:4600, SIP on 127.0.0.1:5060, data in ./offhook-data, and simulated phones behind every number that no trunk serves. A last line "ready http=… sip=…" on stderr says that calls can be made.

    offhook serve
    offhook serve --mode dev --http :4600 --sip 0.0.0.0:5060 --external-ip 203.0.113.7
    OFFHOOK_DATABASE=postgres://offhook@db/offhook offhook serve --config offhook.json`
}

func (c *serveCommand) Run(ctx context.Context, a *app) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	cfg.Clock, cfg.Log = a.clock, c.logger(a)
	return server.Run(ctx, cfg)
}

// config is what the flags ask for, checked.
func (c *serveCommand) config() (server.Config, error) {
	if err := c.refuseUnavailable(); err != nil {
		return server.Config{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return server.Config{}, fmt.Errorf("find this program, to start its child processes: %w", err)
	}
	voice := c.Voice
	if voice == "auto" {
		voice = ""
	}
	var nets []netip.Prefix // none: the default
	for _, n := range c.LocalNet {
		nets = append(nets, netip.Prefix(n))
	}
	cfg := server.Config{
		HTTP: c.HTTP, SIP: c.SIP, SIPS: c.SIPS, Cert: c.Cert, Key: c.Key, SIPCA: c.SIPCA, Admin: c.Admin, OTLP: c.OTLP,
		RTPIP: c.RTPIP, RTPPortMin: c.RTPPorts.min, RTPPortMax: c.RTPPorts.max,
		ExternalIP: c.ExternalIP, LocalNets: nets, RTPTimeout: c.RTPTimeout,
		PublicURL: c.PublicURL, Recordings: c.Recordings, RecordingsKeep: c.RecordingsKeep, Retention: c.Retention,
		RecordingsEncrypt: c.RecordingsEncrypt, RecordingsIdentity: c.RecordingsIdentity, PublicRecordings: c.PublicRecordings, AMDKeep: c.AMDKeep,
		Data: c.Data, Database: c.Database, AccountSID: c.AccountSID, AuthToken: c.AuthToken,
		Mode: server.Mode(c.Mode), Voice: voice, Drain: c.Drain,
		SIPDigests: c.SIPDigests,
		SIPCPS:     c.SIPCPS, SIPMaxCalls: c.SIPMaxCalls, SimCPS: c.SimCPS, SimMaxCalls: c.SimMaxCalls,
		AccountCPS: c.AccountCPS, AccountMaxCalls: c.AccountMaxCalls,
		Executable: []string{self}, Version: version(), Ready: os.Stderr,
	}.WithDefaults()
	err = cfg.Validate()
	var refused *server.ProductionError
	if err != nil && !errors.As(err, &refused) {
		err = usageError{err}
	}
	return cfg, err
}

func (c *serveCommand) refuseUnavailable() error {
	var errs []error
	for _, f := range []struct{ name, value, instead string }{
		{"--nats", c.NATS, "clusters do not work yet; run one node"},
		{"--tls", c.TLS, "the API over TLS does not work yet; put a reverse proxy in front of --http"},
	} {
		if f.value != "" {
			errs = append(errs, fmt.Errorf("%s: %s", f.name, f.instead))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return usageError{errors.Join(errs...)}
}

func (c *serveCommand) logger(a *app) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.err, opts))
	}
	return slog.New(slog.NewTextHandler(a.err, opts))
}

// portRange is MIN-MAX on the command line.
type portRange struct{ min, max int }

func (p *portRange) UnmarshalText(b []byte) error {
	lo, hi, ok := strings.Cut(string(b), "-")
	var err1, err2 error
	p.min, err1 = strconv.Atoi(strings.TrimSpace(lo))
	p.max, err2 = strconv.Atoi(strings.TrimSpace(hi))
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("%q: want two ports, such as %d-%d", b, server.DefaultRTPPortMin, server.DefaultRTPPortMax)
	}
	return nil
}

// network is a CIDR on the command line; a bare address is the network of that host alone.
type network netip.Prefix

func (p *network) UnmarshalText(b []byte) error {
	if a, err := netip.ParseAddr(string(b)); err == nil {
		*p = network(netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	n, err := netip.ParsePrefix(string(b))
	if err != nil {
		return fmt.Errorf("%q: want a network such as 192.0.2.0/28, or an address", b)
	}
	*p = network(n.Masked())
	return nil
}
