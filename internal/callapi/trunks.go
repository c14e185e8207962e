package callapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// trunk is a carrier connection on the wire. Passwords are never given back.
type trunk struct {
	SID       string    `json:"sid"`
	Name      string    `json:"name"`
	Elastic   bool      `json:"elastic,omitempty"` // made through /v1/Trunks
	Host      string    `json:"host"`              // host or host:port; "" with targets
	Targets   []target  `json:"targets,omitempty"` // where calls go, when that is more than one host
	Transport string    `json:"transport"`         // udp, tcp, tls, udp+tcp (default; of a secure trunk tls)
	Username  string    `json:"username,omitempty"`
	Password  string    `json:"password,omitempty"`
	Sources   []string  `json:"sources"`            // addresses or CIDR prefixes its calls come from
	Prefixes  []string  `json:"prefixes"`           // E.164 prefixes it serves, default "+": all
	CPS       float64   `json:"cps"`                // calls a second, 0 unlimited
	MaxCalls  int       `json:"maxCalls"`           // at the same time, 0 unlimited
	Secure    bool      `json:"secure,omitempty"`   // TLS and SRTP only
	Register  *register `json:"register,omitempty"` // a registration with the carrier
	Ping      int       `json:"ping,omitempty"`     // seconds between OPTIONS, 0 none
	Created   string    `json:"dateCreated"`
}

// target is a place calls go to.
type target struct {
	URI      string `json:"uri"`
	Priority *int   `json:"priority,omitempty"` // default 10; lower goes first
	Weight   *int   `json:"weight,omitempty"`   // default 10
	Enabled  *bool  `json:"enabled,omitempty"`  // default true
}

// register is a registration with a carrier.
type register struct {
	Registrar string `json:"registrar,omitempty"` // host or host:port, default the trunk's host
	Username  string `json:"username,omitempty"`  // default the trunk's, with its password
	Password  string `json:"password,omitempty"`
	Contact   string `json:"contact,omitempty"` // user of the contact, default the user name
	Expires   int    `json:"expires,omitempty"` // seconds, default 3600
}

func wireTrunk(t call.Trunk) trunk {
	w := trunk{
		SID: t.SID, Name: t.Name, Elastic: t.Kind == call.Elastic, Host: t.Host, Transport: t.Transport, Username: t.Username,
		Sources: []string{}, Prefixes: append([]string{}, t.Prefixes...), CPS: t.CPS, MaxCalls: t.MaxCalls,
		Secure: t.Secure, Ping: int(t.Ping.Seconds()), Created: t.Created.UTC().Format(time.RFC3339),
	}
	if w.Name == "" {
		w.Name = t.FriendlyName
	}
	for _, p := range t.Sources {
		w.Sources = append(w.Sources, p.String())
	}
	for _, v := range t.Targets {
		if v.SID != "" { // else it is the host
			w.Targets = append(w.Targets, target{v.URI, &v.Priority, &v.Weight, &v.Enabled})
		}
	}
	if r := t.Register; r != nil {
		w.Register = &register{Registrar: r.Registrar, Username: r.Username, Contact: r.Contact, Expires: int(r.Expires.Seconds())}
	}
	return w
}

var (
	trunkName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	numberPrefix = regexp.MustCompile(`^\+[0-9]{0,15}$`)
)

// Bounds of a trunk.
const (
	maxTargets     = 100
	minPing        = 5            // seconds: more often is load without news
	maxSeconds     = 24 * 60 * 60 // of a ping's interval and a registration
	minExpires     = 30           // seconds
	defaultExpires = 3600         // seconds
)

// trunkOf checks a new trunk; the string says what is wrong with it, "" nothing.
func trunkOf(w trunk, accountSID string, now time.Time) (*call.Trunk, string) {
	t := &call.Trunk{
		SID: twilio.NewSIDAt(twilio.TrunkPrefix, now), AccountSID: accountSID, Kind: call.Carrier,
		Name: w.Name, FriendlyName: w.Name, Host: w.Host, Transport: w.Transport,
		Username: w.Username, Password: w.Password, Prefixes: w.Prefixes,
		CPS: w.CPS, MaxCalls: w.MaxCalls, Secure: w.Secure, Ping: time.Duration(w.Ping) * time.Second, Created: now, Updated: now,
	}
	if t.Transport == "" {
		t.Transport = "udp+tcp"
		if t.Secure {
			t.Transport = "tls"
		}
	}
	if len(t.Prefixes) == 0 {
		t.Prefixes = []string{"+"}
	}
	var credentials *twilio.Error
	switch {
	case !trunkName.MatchString(w.Name):
		return nil, "name: 1 to 64 letters, digits, dots, dashes or underscores"
	case w.Elastic:
		return nil, "elastic: make such a trunk through /v1/Trunks"
	case !call.IsHostPort(w.Host) && (w.Host != "" || len(w.Targets) == 0):
		return nil, "host: a host name or address (of IPv6 in brackets), with :port when it is not 5060"
	case t.Transport != "udp" && t.Transport != "tcp" && t.Transport != "udp+tcp" && t.Transport != "tls":
		return nil, "transport: udp, tcp, udp+tcp or tls"
	case t.Secure && t.Transport != "tls":
		return nil, "secure: the transport of a secure trunk is tls"
	case errors.As(call.CheckSIPAuth(w.Username, w.Password), &credentials):
		return nil, "username and password: " + credentials.Message
	case w.CPS < 0 || w.MaxCalls < 0 || w.CPS > 0 && w.CPS < 0.001:
		return nil, "cps and maxCalls: 0 (unlimited) or more; cps at least 0.001, a call in 17 minutes"
	case len(w.Sources) > 256 || len(w.Prefixes) > 1000 || len(w.Targets) > maxTargets:
		return nil, "at most 256 sources, 1000 prefixes and 100 targets"
	case w.Ping != 0 && (w.Ping < minPing || w.Ping > maxSeconds):
		return nil, "ping: 0 (none) or 5 to 86400 seconds"
	}
	for _, p := range t.Prefixes {
		if !numberPrefix.MatchString(p) {
			return nil, "prefixes: + and up to 15 digits, not " + p
		}
	}
	for _, s := range w.Sources {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, "sources: " + s + " is neither an address nor a CIDR prefix"
		}
		t.Sources = append(t.Sources, p.Masked())
	}
	for _, v := range w.Targets {
		made := call.NewTarget(v.URI)
		made.Record = call.Record{SID: twilio.NewSIDAt(twilio.OriginationPrefix, now), AccountSID: accountSID, DateCreated: now, DateUpdated: now}
		made.OwnerSID = t.SID
		for field, given := range map[*int]*int{&made.Priority: v.Priority, &made.Weight: v.Weight} {
			if given != nil {
				*field = *given
			}
		}
		if v.Enabled != nil {
			made.Enabled = *v.Enabled
		}
		var wrong *twilio.Error
		if errors.As(made.Validate(), &wrong) {
			return nil, "targets: " + wrong.Message
		}
		t.Targets = append(t.Targets, made)
	}
	if err := t.Validate(); err != nil { // fills in what Twilio's APIs show
		return nil, err.Error()
	}
	wrong := ""
	t.Register, wrong = registerOf(w)
	return t, wrong
}

// registerOf checks the registration of a trunk.
func registerOf(w trunk) (*call.Register, string) {
	if w.Register == nil {
		return nil, ""
	}
	r := *w.Register
	if r.Expires == 0 {
		r.Expires = defaultExpires
	}
	name := r.Username
	if name == "" {
		name = w.Username
	}
	var wrong *twilio.Error
	switch {
	case r.Registrar != "" && !call.IsHostPort(r.Registrar), r.Registrar == "" && w.Host == "":
		return nil, "register: registrar is a host name or address, with :port when it is not 5060"
	case errors.As(call.CheckSIPAuth(r.Username, r.Password), &wrong):
		return nil, "register: username and password: " + wrong.Message
	case name == "":
		return nil, "register: a username, here or of the trunk"
	case !call.IsSIPUser(r.Contact) && r.Contact != "":
		return nil, "register: contact is the user part of a SIP address"
	case r.Expires < minExpires || r.Expires > maxSeconds:
		return nil, "register: expires is 30 to 86400 seconds"
	}
	return &call.Register{
		Registrar: r.Registrar, Username: r.Username, Password: r.Password, Contact: r.Contact,
		Expires: time.Duration(r.Expires) * time.Second,
	}, ""
}

func (a *api) addTrunk(w http.ResponseWriter, r *http.Request) {
	var body trunk
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		problem(w, http.StatusBadRequest, 20001, err.Error())
		return
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		problem(w, http.StatusBadRequest, 20001, "the body is more than one JSON object")
		return
	}
	t, wrong := trunkOf(body, account(r.Context()), a.Clock.Now().UTC())
	if wrong != "" {
		problem(w, http.StatusBadRequest, 20001, wrong)
		return
	}
	if err := a.Store.CreateTrunk(r.Context(), t); err != nil {
		a.fail(w, r, err)
		return
	}
	if err := a.RoutingChanged(r.Context()); err != nil {
		a.fail(w, r, err)
		return
	}
	reply(w, http.StatusCreated, wireTrunk(*t))
}

func (a *api) listTrunks(w http.ResponseWriter, r *http.Request) {
	trunks, err := a.Store.Trunks(r.Context())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	list := []trunk{}
	for _, t := range trunks {
		if t.AccountSID == account(r.Context()) {
			list = append(list, wireTrunk(t))
		}
	}
	reply(w, http.StatusOK, list)
}

func (a *api) removeTrunk(w http.ResponseWriter, r *http.Request) {
	if err := a.Store.DeleteTrunk(r.Context(), account(r.Context()), chi.URLParam(r, "sid")); err != nil {
		a.fail(w, r, err)
		return
	}
	if err := a.RoutingChanged(r.Context()); err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
