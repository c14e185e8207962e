package call

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Resource is a pointer to what an account makes through the API and the store keeps as a row: Domain, List,
// Credential, Address, Mapping, Trunk, Target, Policy, SourceMapping.
type Resource interface {
	Head() Record
	SetHead(r Record)
}

// Record is what all resources have.
type Record struct {
	SID, AccountSID          string
	DateCreated, DateUpdated time.Time
}

// Head is r.
func (r *Record) Head() Record { return *r }

// SetHead makes r the head.
func (r *Record) SetHead(head Record) { *r = head }

// PageToken is r's place in a list.
func (r Record) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: r.SID, Time: r.DateCreated.UnixMicro()}
}

// Voice says what happens to a call: the document, its fallback, and who hears of the end.
type Voice struct {
	URL, Method                 string // Method is GET or POST
	FallbackURL, FallbackMethod string
	StatusURL, StatusMethod     string
}

// Domain is a SIP domain: the host name phones register at and call. The account makes what is up to
// TrunkSID; the rest is found from it by the store.
type Domain struct {
	Record
	Name               string // lower case, unique on the server
	FriendlyName       string
	Voice              Voice
	SIPRegistration    bool // REGISTER is allowed
	Secure             bool // TLS and SRTP only
	EmergencyCalling   bool
	EmergencyCallerSID string // PN…, "" for none
	TrunkSID           string // TK… of the BYOC trunk whose voice URLs its calls take, "" for none

	// ByAddress and ByCredentials say what a call must show; both: both. Neither: the domain takes no call.
	ByAddress, ByCredentials bool

	// What follows is there in a snapshot of the store only.

	Sources      []netip.Prefix    // when ByAddress, the caller's address must be in one of them
	Callers      map[string]string // user name to password; when ByCredentials, one of them must be shown
	Registrants  map[string]string // who may register, when SIPRegistration
	SourceRoutes []netip.Prefix    // calls from there are for this domain, whatever host they name
}

// AuthType is how callers are told apart, as Twilio names it.
func (d *Domain) AuthType() string { return authType(d.ByAddress, d.ByCredentials) }

func authType(address, credentials bool) string {
	switch {
	case address && credentials:
		return "IP_ACL,CREDENTIAL_LIST"
	case address:
		return "IP_ACL"
	case credentials:
		return "CREDENTIAL_LIST"
	}
	return ""
}

// List holds credentials (CL…) or addresses (AL…) for domains and trunks to ask.
type List struct {
	Record
	FriendlyName string
}

// Kind is the prefix of the list's SID.
func (l *List) Kind() string { return l.SID[:2] }

// Credential is a user name with its password, which digest authentication needs as it is. It is never shown.
type Credential struct {
	Record
	ListSID            string // CL…
	Username, Password string
}

// Address is an entry of an IP access control list (IP…), or an IP record of BYOC (IL…).
type Address struct {
	Record
	ListSID      string // AL…, "" for an IP record
	FriendlyName string
	IP           string // IPv4 or IPv6
	Bits         int    // of the prefix; the whole address when 0 was given
}

// Prefix is the network that a stands for.
func (a *Address) Prefix() netip.Prefix {
	ip, _ := netip.ParseAddr(a.IP) // was checked
	p, _ := ip.Prefix(a.Bits)
	return p
}

// Purposes of a mapping.
const (
	ForCalls         = "calls"
	ForRegistrations = "registrations"
)

// Mapping says that a domain or a trunk asks a list. Its SID is the list's.
type Mapping struct {
	Record
	OwnerSID     string // SD… or TK…
	Purpose      string
	FriendlyName string // the list's
}

// Kinds of trunks.
const (
	Carrier = "carrier" // takes calls to numbers out and brings calls in, which run TwiML
	Elastic = "elastic" // made through /v1/Trunks: a customer's own PBX, without TwiML
)

// Trunk is a connection to a carrier or, when it is elastic, to a PBX. A carrier trunk is the record
// behind /v1/trunks and /v1/ByocTrunks.
type Trunk struct {
	SID          string // TK…; BY… with the same digits in /v1/ByocTrunks
	AccountSID   string
	Kind         string // Carrier (also when "") or Elastic
	Name         string // unique in the account, for people and the command line; "" when made through Twilio's APIs
	FriendlyName string
	Created      time.Time
	Updated      time.Time

	Host      string // host or host:port the INVITE goes to; "": Targets says it
	Transport string // udp, tcp, tls, or udp+tcp: TCP only for an INVITE over the MTU
	Username  string // answers its challenges, "" for none
	Password  string
	Sources   []netip.Prefix // where its calls come from; Host's own address is always among them
	Prefixes  []string       // E.164 prefixes it serves, "+" is all; the longest match wins
	CPS       float64        // calls a second, 0 unlimited
	MaxCalls  int            // concurrent calls, 0 unlimited
	Secure    bool           // TLS and SRTP only
	Register  *Register      // nil: it needs none
	Ping      time.Duration  // between OPTIONS, 0 none

	// Of carriers (BYOC).

	Voice         Voice // of calls that come in to numbers that are not ours
	CNAMLookup    bool  // of both kinds
	PolicySID     string
	FromDomainSID string // SD… whose name is the host of From

	// Of elastic trunks.

	DomainName       string // lower case, unique on the server: where the PBX sends its calls
	RecoveryURL      string
	RecoveryMethod   string
	TransferMode     string
	TransferCallerID string
	RecordMode       string
	RecordTrim       string

	// ByAddress and ByCredentials say what a PBX must show; found by the store.
	ByAddress, ByCredentials bool

	// What follows is there in a snapshot of the store only. Sources then holds those of mapped lists, and of
	// the IP records of domains that route to the trunk, too.

	Targets     []Target          // by priority; those of the policy, else its own, else Host
	Credentials map[string]string // user name to password; when ByCredentials, the PBX must show one
	FromHost    string            // the name of FromDomainSID's domain
}

// Head is t as a record.
func (t *Trunk) Head() Record { return Record{t.SID, t.AccountSID, t.Created, t.Updated} }

// SetHead sets that.
func (t *Trunk) SetHead(r Record) {
	t.SID, t.AccountSID, t.Created, t.Updated = r.SID, r.AccountSID, r.DateCreated, r.DateUpdated
}

// AuthType is how the PBX is told, as Twilio names it.
func (t *Trunk) AuthType() string { return authType(t.ByAddress, t.ByCredentials) }

// TrunkSID is the TK… of a trunk that /v1/ByocTrunks calls BY…, ByocSID the reverse; "" stays "".
func TrunkSID(byoc string) string { return reprefix(twilio.TrunkPrefix, byoc) }

// ByocSID is the reverse of TrunkSID.
func ByocSID(trunk string) string { return reprefix(twilio.ByocPrefix, trunk) }

func reprefix(prefix, sid string) string {
	if len(sid) < 2 {
		return ""
	}
	return prefix + sid[2:]
}

// Register is a registration with a carrier.
type Register struct {
	Registrar string        // host or host:port; "" is the trunk's Host
	Username  string        // "" is the trunk's, with its password
	Password  string        //
	Contact   string        // user of our contact, "" the user name
	Expires   time.Duration // asked for; the registrar may shorten it
}

// Target is a place that calls of a trunk (OU…) or of a connection policy (NE…) go to.
type Target struct {
	Record
	OwnerSID     string // TK… or NY…
	FriendlyName string
	URI          string // sip:
	Priority     int    // lower goes first
	Weight       int    // share among those of one priority
	Enabled      bool
}

// Policy is a connection policy: targets that several trunks may share.
type Policy struct {
	Record
	FriendlyName string
}

// SourceMapping says that calls from an IP record are for a domain.
type SourceMapping struct {
	Record
	IPRecordSID string
	DomainSID   string
}

// Defaults of a target (related-resources, BYOC).
const (
	defaultPriority = 10
	defaultWeight   = 10
)

// NewTarget is an enabled target with the defaults.
func NewTarget(uri string) Target {
	return Target{URI: uri, Priority: defaultPriority, Weight: defaultWeight, Enabled: true}
}

// SortTargets orders targets as they are tried but for the weight, which is for the caller to throw dice.
func SortTargets(list []Target) {
	slices.SortStableFunc(list, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.DateCreated.Compare(b.DateCreated), strings.Compare(a.SID, b.SID))
	})
}

// HostTarget is the target that a trunk's Host and Transport stand for.
func (t *Trunk) HostTarget() Target {
	uri := "sip:" + t.Host
	if t.Transport == "udp" || t.Transport == "tcp" || t.Transport == "tls" {
		uri += ";transport=" + t.Transport
	}
	target := NewTarget(uri)
	target.OwnerSID = t.SID
	return target
}

// ListFilter selects resources of one account, newest first.
type ListFilter struct {
	AccountSID string
	Scope      []string // what the resources belong to, as the kind of resource has it

	FriendlyName string // exactly, of kinds that have one; "" is any
	PhoneNumber  string // exactly too

	Limit, Offset int
	Cursor        twilio.PageToken // as in Filter
}
