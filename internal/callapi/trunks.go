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

// trunk is a carrier connection on the wire. The password is never given back.
type trunk struct {
	SID       string   `json:"sid"`
	Name      string   `json:"name"`
	Host      string   `json:"host"`
	Transport string   `json:"transport"` // udp, tcp, udp+tcp (default)
	Username  string   `json:"username,omitempty"`
	Password  string   `json:"password,omitempty"`
	Sources   []string `json:"sources"`  // addresses or CIDR prefixes its calls come from
	Prefixes  []string `json:"prefixes"` // E.164 prefixes it serves, default "+": all
	CPS       float64  `json:"cps"`      // calls a second, 0 unlimited
	MaxCalls  int      `json:"maxCalls"` // at the same time, 0 unlimited
	Created   string   `json:"dateCreated"`
}

func wireTrunk(t call.Trunk) trunk {
	w := trunk{
		SID: t.SID, Name: t.Name, Host: t.Host, Transport: t.Transport, Username: t.Username,
		Sources: []string{}, Prefixes: append([]string{}, t.Prefixes...), CPS: t.CPS, MaxCalls: t.MaxCalls,
		Created: t.Created.UTC().Format(time.RFC3339),
	}
	for _, p := range t.Sources {
		w.Sources = append(w.Sources, p.String())
	}
	return w
}

var (
	trunkName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	numberPrefix = regexp.MustCompile(`^\+[0-9]{0,15}$`)
)

// trunkOf checks a new trunk; the string says what is wrong with it, "" nothing.
func trunkOf(w trunk, now time.Time) (*call.Trunk, string) {
	t := &call.Trunk{
		SID: twilio.NewSIDAt(twilio.TrunkPrefix, now), Name: w.Name, Host: w.Host, Transport: w.Transport,
		Username: w.Username, Password: w.Password, Prefixes: w.Prefixes,
		CPS: w.CPS, MaxCalls: w.MaxCalls, Created: now,
	}
	if t.Transport == "" {
		t.Transport = "udp+tcp"
	}
	if len(t.Prefixes) == 0 {
		t.Prefixes = []string{"+"}
	}
	var credentials *twilio.Error
	switch {
	case !trunkName.MatchString(w.Name):
		return nil, "name: 1 to 64 letters, digits, dots, dashes or underscores"
	case !call.IsHostPort(w.Host):
		return nil, "host: a host name or address (of IPv6 in brackets), with :port when it is not 5060"
	case t.Transport != "udp" && t.Transport != "tcp" && t.Transport != "udp+tcp":
		return nil, "transport: udp, tcp or udp+tcp"
	case errors.As(call.CheckSIPAuth(w.Username, w.Password), &credentials):
		return nil, "username and password: " + credentials.Message
	case w.CPS < 0 || w.MaxCalls < 0 || w.CPS > 0 && w.CPS < 0.001:
		return nil, "cps and maxCalls: 0 (unlimited) or more; cps at least 0.001, a call in 17 minutes"
	case len(w.Sources) > 256 || len(w.Prefixes) > 1000:
		return nil, "at most 256 sources and 1000 prefixes"
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
	return t, ""
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
	t, wrong := trunkOf(body, a.Clock.Now())
	if wrong != "" {
		problem(w, http.StatusBadRequest, 20001, wrong)
		return
	}
	if err := a.Store.CreateTrunk(r.Context(), t); err != nil {
		a.fail(w, r, err)
		return
	}
	if err := a.TrunksChanged(r.Context()); err != nil {
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
		list = append(list, wireTrunk(t))
	}
	reply(w, http.StatusOK, list)
}

func (a *api) removeTrunk(w http.ResponseWriter, r *http.Request) {
	if err := a.Store.DeleteTrunk(r.Context(), chi.URLParam(r, "sid")); err != nil {
		a.fail(w, r, err)
		return
	}
	if err := a.TrunksChanged(r.Context()); err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
