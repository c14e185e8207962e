// Package server is the composition root: it opens the store, wires signalling, media, speech, webhooks,
// sessions and both APIs together, starts them in order and stops them in reverse. Only it and the
// command know everybody; it holds no call logic of its own.
package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/recording"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilio"
)

// Mode says how far the server trusts its surroundings.
type Mode string

// Modes of a server. The zero value is Dev on loopback addresses only.
const (
	Dev        Mode = "dev"
	Production Mode = "production"
)

// Defaults of Config.
const (
	DefaultHTTP       = "127.0.0.1:4600"
	DefaultSIP        = "127.0.0.1:5060"
	DefaultRTPPortMin = 16384
	DefaultRTPPortMax = 32767
	DefaultRTPTimeout = 60 * time.Second
	DefaultDrain      = 60 * time.Second
	DefaultRetention  = 30 // days
	DefaultData       = "offhook-data"
)

// maxRetention is the longest Retention, days.
const maxRetention = 3650

// voices lists the values of Config.Voice; the command calls the first one auto.
var voices = []string{"", "builtin", "flite", "espeak-ng", "test"}

// privateNets are the networks that never see the external address unless told otherwise:
// RFC 1918, RFC 6598, loopback, link local and RFC 4193.
var privateNets = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fc00::/7"),
}

// Config is everything a server can be told. The zero value is a development server on loopback with
// its data in ./offhook-data; WithDefaults shows what it means.
type Config struct {
	// HTTP is the host:port of both APIs. Port 0 takes a free one. Default 127.0.0.1:4600.
	HTTP string
	// SIP lists the host:port pairs that are listened on, UDP and TCP on each. Port 0 takes a free
	// one. Default 127.0.0.1:5060.
	SIP []string
	// SIPS lists the host:port pairs of SIP over TLS. Default: none, and then no call goes over TLS, in or out.
	SIPS []string
	// Cert and Key are the files (PEM) of the certificate that SIPS shows, read again when they change. Default:
	// a development server makes a self-signed pair in Data.
	Cert, Key string
	// SIPCA is a file (PEM) of authorities that vouch for SIP servers, beside the system's. Default: none.
	SIPCA string
	// RTPIP is the address RTP is sent from and received on. Default: the address of the first SIP
	// listener, which may be unspecified (every address).
	RTPIP netip.Addr
	// RTPPortMin and RTPPortMax bound the UDP ports of RTP, both included; each leg takes two (RTP
	// even, RTCP above it). Without a free pair a call is refused with 503. Default 16384 to 32767.
	RTPPortMin, RTPPortMax int
	// ExternalIP is written into SIP and SDP toward peers outside LocalNets, for a server behind NAT.
	// Default: none, the local address is used everywhere.
	ExternalIP netip.Addr
	// LocalNets are the networks whose hosts reach the local address directly. Default: the private ranges.
	LocalNets []netip.Prefix
	// RTPTimeout ends a leg from which neither RTP nor RTCP came for so long while it was not on
	// hold. Default 60 s.
	RTPTimeout time.Duration

	// Data is the folder of the database, the account file and the prompt cache. Default ./offhook-data.
	Data string
	// Database is postgres://… or the path of a SQLite file. Default: offhook.db in Data.
	Database string
	// Recordings is a folder, or s3://BUCKET with the options of gocloud.dev/blob/s3blob. Default: recordings in Data.
	Recordings string
	// Retention is how many days events, notifications, requests and delivered callbacks of calls are kept. Default 30.
	Retention int
	// RecordingsKeep is how many days recordings are kept. Default 0, for ever.
	RecordingsKeep int
	// RecordingsEncrypt are age public keys that recordings are encrypted to, and RecordingsIdentity is a file of
	// the secret keys that read them. Default: recordings are not encrypted.
	RecordingsEncrypt  []string
	RecordingsIdentity string
	// PublicRecordings lets whoever knows its URL hear a recording. Default: it takes credentials or a signed link.
	PublicRecordings bool
	// AMDKeep is of how many calls the first 30 s are kept where machines are detected, the newest: in amd of Data,
	// to tune on. Default 0, of none.
	AMDKeep int
	// PublicURL is where others reach the APIs: what callbacks link to. Default: the address of HTTP.
	PublicURL string
	// AccountSID and AuthToken seed the first account: both or none. Default: generated once and kept in Data.
	AccountSID, AuthToken string

	// Admin is the host:port of metrics and profiles, which anybody who reaches it may read. Default: none.
	Admin string
	// OTLP is the URL of an OTLP/HTTP collector that gets a trace of each call, or "env" for what
	// OTEL_EXPORTER_OTLP_ENDPOINT says. Default: no tracing.
	OTLP string

	// Mode is Dev or Production. Default: Dev, and then only loopback addresses may be listened on.
	Mode Mode
	// Drain is how long live calls may go on once the server was told to stop; 0 hangs them up at
	// once. The command's default is DefaultDrain.
	Drain time.Duration

	// Voice names the speech engine: builtin, flite, espeak-ng, or test (each text as its own tones).
	// Default: builtin when it was built in, else an installed program.
	Voice string

	// SIPDigests are the algorithms that phones are asked to show their passwords by, the better first: MD5, SHA-256.
	// Default: MD5.
	SIPDigests []string

	// SIPCPS and SIPMaxCalls bound what leaves to sip: URIs: calls a second and calls at once. Default 0, unlimited.
	SIPCPS      float64
	SIPMaxCalls int
	// SimCPS and SimMaxCalls bound what rings the simulator. Default 0, unlimited.
	SimCPS      float64
	SimMaxCalls int
	// AccountCPS and AccountMaxCalls bound what leaves of each account, wherever it goes to. Default 0, unlimited.
	AccountCPS      float64
	AccountMaxCalls int

	// Executable is the command line that starts this program again for its child processes (speech,
	// simulated phones); the subcommand is appended. Empty: neither is available, as in tests that
	// bring their own.
	Executable []string
	// Simulator is the host:port of simulated phones that run already. Default: a child process of
	// Executable in dev mode, else none.
	Simulator string
	// Version is reported by /healthz and in the SIP User-Agent. Default "dev".
	Version string
	// Clock is the only source of time. Default clock.System.
	Clock clock.Clock
	// Log takes every log line. Default: discarded.
	Log *slog.Logger
	// Ready takes the one line "ready http=… sip=…" once calls can be made. Default: discarded.
	Ready io.Writer
}

// WithDefaults is c with every field that was left zero at its default.
func (c Config) WithDefaults() Config {
	or(&c.HTTP, DefaultHTTP)
	if len(c.SIP) == 0 {
		c.SIP = []string{DefaultSIP}
	}
	if !c.RTPIP.IsValid() {
		if host, _, err := net.SplitHostPort(c.SIP[0]); err == nil {
			c.RTPIP = addrOf(host)
		}
	}
	if c.RTPPortMin == 0 && c.RTPPortMax == 0 {
		c.RTPPortMin, c.RTPPortMax = DefaultRTPPortMin, DefaultRTPPortMax
	}
	if c.LocalNets == nil {
		c.LocalNets = slices.Clone(privateNets)
	}
	or(&c.RTPTimeout, DefaultRTPTimeout)
	or(&c.Retention, DefaultRetention)
	or(&c.Data, DefaultData)
	or(&c.Version, "dev")
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Ready == nil {
		c.Ready = io.Discard
	}
	return c
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every mistake in c at once, each with the flag that sets it. It expects defaults
// to be applied, and touches neither files nor network.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	listeners := []listener{{"--http", c.HTTP, "4600"}}
	for _, a := range c.SIP {
		listeners = append(listeners, listener{"--sip", a, "5060"})
	}
	for _, a := range c.SIPS {
		listeners = append(listeners, listener{"--sips", a, "5061"})
	}
	switch {
	case (c.Cert == "") != (c.Key == ""):
		bad("--cert and --key belong together: set both or none")
	case c.Cert != "" && len(c.SIPS) == 0:
		bad("--cert: nothing shows the certificate without --sips")
	case c.Cert == "" && len(c.SIPS) > 0 && c.Mode == Production:
		bad("--sips in production needs --cert and --key")
	}
	for _, l := range listeners {
		if err := l.check(); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Admin != "" {
		if err := (listener{"--admin", c.Admin, "4601"}).check(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := telemetry.Check(c.OTLP); err != nil {
		bad("--otlp %s: %w", c.OTLP, err)
	}
	if !c.RTPIP.IsValid() {
		bad("--rtp-ip: the host of --sip %s is a name; give the address RTP shall use", c.SIP[0])
	}
	if c.RTPPortMin < 1 || c.RTPPortMax > 65535 || c.RTPPortMax-c.RTPPortMin < 1 {
		bad("--rtp-ports %d-%d: want at least two ports between 1 and 65535, such as %d-%d",
			c.RTPPortMin, c.RTPPortMax, DefaultRTPPortMin, DefaultRTPPortMax)
	}
	if c.ExternalIP.IsValid() && c.ExternalIP.IsUnspecified() {
		bad("--external-ip %s: want the address others see, such as 203.0.113.7", c.ExternalIP)
	}
	if c.Retention < 1 || c.Retention > maxRetention {
		bad("--retention %d: want a number of days from 1 to %d", c.Retention, maxRetention)
	}
	if c.RecordingsKeep < 0 {
		bad("--recordings-keep %d: cannot be negative; 0 keeps recordings for ever", c.RecordingsKeep)
	}
	if c.AMDKeep < 0 || c.AMDKeep > recording.MaxSamples {
		bad("--amd-keep %d: want a number of calls from 0, which keeps none, to %d", c.AMDKeep, recording.MaxSamples)
	}
	if c.PublicURL != "" && !call.IsWebURL(c.PublicURL) {
		bad("--public-url %s: want a URL such as https://voice.example.com", c.PublicURL)
	}
	if c.RTPTimeout < 0 {
		bad("--rtp-timeout %s: cannot be negative", c.RTPTimeout)
	}
	if c.Drain < 0 {
		bad("--drain %s: cannot be negative", c.Drain)
	}
	for _, rate := range []struct {
		flag string
		cps  float64
	}{{"--sip-cps", c.SIPCPS}, {"--sim-cps", c.SimCPS}, {"--account-cps", c.AccountCPS}} {
		if math.IsNaN(rate.cps) || math.IsInf(rate.cps, 0) || rate.cps > 0 && rate.cps < 0.001 {
			bad("%s: %v is no number of calls; 0 is unlimited", rate.flag, rate.cps)
		}
	}
	if c.SIPCPS < 0 || c.SIPMaxCalls < 0 || c.SimCPS < 0 || c.SimMaxCalls < 0 || c.AccountCPS < 0 || c.AccountMaxCalls < 0 {
		bad("--sip-cps, --sip-max-calls, --sim-cps, --sim-max-calls, --account-cps, --account-max-calls: cannot be negative; 0 is unlimited")
	}
	for _, name := range c.SIPDigests {
		if name != "MD5" && name != "SHA-256" {
			bad("--sip-digest %s: want MD5, SHA-256 or both", name)
		}
	}
	if !slices.Contains(voices, c.Voice) {
		bad("--voice %s: want one of auto%s", c.Voice, strings.Join(voices, ", "))
	}
	if scheme, _, ok := strings.Cut(c.Database, "://"); ok && scheme != "postgres" && scheme != "postgresql" {
		bad("--database %s://…: want postgres://… or the path of a SQLite file", scheme)
	}
	switch {
	case (c.AccountSID == "") != (c.AuthToken == ""):
		bad("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN seed the account together: set both or none")
	case c.AccountSID != "" && !twilio.IsSID(c.AccountSID, twilio.AccountPrefix):
		bad("TWILIO_ACCOUNT_SID: want AC and 32 hex digits")
	}

	switch c.Mode {
	case Production:
		errs = append(errs, &ProductionError{Missing: productionMissing()})
	case "":
		open := func(flag, addr string) {
			bad("%s %s can be reached from other machines, and a development server trusts who reaches it: "+
				"say --mode dev if that is meant, or listen on 127.0.0.1", flag, addr)
		}
		for _, l := range listeners {
			if !l.loopback() {
				open(l.flag, l.addr)
			}
		}
		if c.RTPIP.IsValid() && !c.RTPIP.IsLoopback() {
			open("--rtp-ip", c.RTPIP.String())
		}
	case Dev:
	default:
		bad("--mode %s: want dev or production", c.Mode)
	}
	return errors.Join(errs...)
}

// ProductionError says why --mode production does not start: its safeguards do not exist yet.
type ProductionError struct{ Missing []string }

func (e *ProductionError) Error() string {
	return "--mode production refuses to start until all of its safeguards exist; missing:\n  - " +
		strings.Join(e.Missing, "\n  - ")
}

// productionMissing lists what production mode promises and this version does not do. The list
// shrinks as features land; when it is empty the mode starts.
func productionMissing() []string {
	return []string{
		"From must be an owned or verified number (any E.164 is accepted now)",
		"the guard against webhooks to private addresses (SSRF)",
		"geographic permissions per account",
		"refusal of emergency numbers on trunks that are not marked for them",
	}
}

// listener is an address to be listened on, the flag that gives it and that flag's usual port.
type listener struct{ flag, addr, port string }

func (l listener) check() error {
	_, port, err := net.SplitHostPort(l.addr)
	if err != nil {
		return fmt.Errorf("%s %s: want host:port, such as 127.0.0.1:%[3]s or [::1]:%[3]s", l.flag, l.addr, l.port)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%s %s: the port must be a number from 0 to 65535", l.flag, l.addr)
	}
	return nil
}

// loopback reports whether only this machine reaches l; a host name other than localhost is not looked up.
func (l listener) loopback() bool {
	host, _, err := net.SplitHostPort(l.addr)
	if err != nil {
		return true // check has told
	}
	return addrOf(host).IsLoopback()
}

// addrOf is the address a listener's host stands for: localhost is 127.0.0.1, nothing is every
// address, and any other name is the invalid address.
func addrOf(host string) netip.Addr {
	switch host {
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case "":
		return netip.IPv6Unspecified()
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a
}
