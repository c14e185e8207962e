package server

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offhook/offhook/internal/twilio"
)

func TestZeroConfigIsADevelopmentServerOnLoopback(t *testing.T) {
	c := Config{}.WithDefaults()
	if err := c.Validate(); err != nil {
		t.Fatalf("zero Config: %v", err)
	}
	if want := netip.MustParseAddr("127.0.0.1"); c.RTPIP != want {
		t.Errorf("RTPIP = %s, want %s", c.RTPIP, want)
	}
	if c.HTTP != DefaultHTTP || len(c.SIP) != 1 || c.SIP[0] != DefaultSIP || c.RTPPortMin != DefaultRTPPortMin {
		t.Errorf("defaults not applied: %+v", c)
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		want string // part of the error, "" when valid
	}{
		{"free ports", Config{HTTP: "127.0.0.1:0", SIP: []string{"[::1]:0"}}, ""},
		{"localhost", Config{HTTP: "localhost:4600"}, ""},
		{"every address without a mode", Config{HTTP: ":4600"}, "--http :4600 can be reached from other machines"},
		{"a free port on every address", Config{HTTP: ":0"}, "--http :0 can be reached"},
		{"sip without a mode", Config{SIP: []string{"0.0.0.0:5060"}}, "--sip 0.0.0.0:5060 can be reached"},
		{"rtp without a mode", Config{RTPIP: netip.MustParseAddr("192.0.2.1")}, "--rtp-ip 192.0.2.1 can be reached"},
		{"every address in dev", Config{HTTP: ":4600", SIP: []string{"0.0.0.0:5060"}, Mode: Dev}, ""},
		{"a host name", Config{SIP: []string{"pbx.example:5060"}, Mode: Dev}, "--rtp-ip: the host of --sip pbx.example:5060 is a name"},
		{"no port", Config{HTTP: "4600"}, "--http 4600: want host:port"},
		{"port too high", Config{SIP: []string{"127.0.0.1:70000"}}, "--sip 127.0.0.1:70000: the port must be"},
		{"one rtp port", Config{RTPPortMin: 4000, RTPPortMax: 4000}, "--rtp-ports 4000-4000"},
		{"voice", Config{Voice: "siri"}, "--voice siri: want one of auto, builtin"},
		{"database", Config{Database: "mysql://x"}, "--database mysql://…"},
		{"sqlite path", Config{Database: "/var/lib/offhook.db"}, ""},
		{"half an account", Config{AccountSID: "AC" + strings.Repeat("0", 32)}, "set both or none"},
		{"bad sid", Config{AccountSID: "AC1", AuthToken: "x"}, "want AC and 32 hex digits"},
		{"admin", Config{Admin: "4601"}, "--admin 4601: want host:port"},
		{"admin on every address", Config{Admin: ":4601"}, ""},
		{"no collector's URL", Config{OTLP: "localhost:4318"}, "--otlp localhost:4318: want the URL"},
		{"a collector from the environment", Config{OTLP: "env"}, ""},
		{"mode", Config{Mode: "test"}, "--mode test: want dev or production"},
		{"no sip port", Config{SIP: []string{"127.0.0.1"}, Mode: Dev}, "--sip 127.0.0.1: want host:port, such as 127.0.0.1:5060"},
		{"cps", Config{SIPCPS: -1}, "--sip-cps"},
		{"not a number of calls", Config{SimCPS: math.NaN()}, "--sim-cps: NaN"},
		{"production", Config{Mode: Production}, "missing:\n  - From must be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.c.WithDefaults().Validate()
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %q does not contain %q", err, tt.want)
			}
		})
	}
}

func TestProductionListsWhatIsMissing(t *testing.T) {
	err := Config{Mode: Production}.WithDefaults().Validate()
	var p *ProductionError
	if !errors.As(err, &p) || len(p.Missing) == 0 {
		t.Fatalf("got %v, want a ProductionError with reasons", err)
	}
}

func TestAccountIsGeneratedOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := ReadAccount(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("ReadAccount before the first start: %v, want fs.ErrNotExist", err)
	}
	a, err := EnsureAccount(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if !twilio.IsSID(a.SID, "AC") || len(a.AuthToken) != 32 {
		t.Errorf("generated %+v", a)
	}
	if b, err := EnsureAccount(dir, "", ""); err != nil || b != a {
		t.Errorf("second start: %+v, %v; want %+v", b, err, a)
	}
	st, err := os.Stat(filepath.Join(dir, accountFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("account file: %v, %v; want mode 0600", st.Mode(), err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, ".gitignore")); err != nil || string(b) != "*\n" {
		t.Errorf(".gitignore: %q, %v", b, err)
	}
	if err := a.SaveURL(dir, "http://127.0.0.1:4600"); err != nil {
		t.Fatal(err)
	}
	seeded := "AC" + strings.Repeat("a", 32)
	if b, err := EnsureAccount(dir, seeded, "token"); err != nil || b.SID != seeded || b.AuthToken != "token" {
		t.Errorf("seeded start: %+v, %v", b, err)
	}
	if b, err := ReadAccount(dir); err != nil || b.SID != seeded || b.URL != "http://127.0.0.1:4600" {
		t.Errorf("after seeding: %+v, %v", b, err)
	}
}

// Whoever starts a second server in the same folder, with another account in the environment, must not
// take the first one's account from under the command line.
func TestSecondServerLeavesTheFirstOnesAccount(t *testing.T) {
	cfg := Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test"}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	defer s.Close(over)
	first, err := ReadAccount(cfg.Data)
	if err != nil || first.URL != s.URL() {
		t.Fatalf("%+v %v", first, err)
	}
	cfg.AccountSID, cfg.AuthToken = "AC"+strings.Repeat("a", 32), "token"
	if second, err := Start(t.Context(), cfg); err == nil {
		second.Close(over)
		t.Fatal("two servers use one folder")
	} else if !strings.Contains(err.Error(), "is in use by process") {
		t.Error(err)
	}
	if kept, err := ReadAccount(cfg.Data); err != nil || kept != first {
		t.Errorf("now %+v %v, was %+v", kept, err, first)
	}
}

func TestDamagedAccountFileSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, accountFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureAccount(dir, "", ""); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("got %v", err)
	}
}
