package sip

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// hop is where a request goes next, resolved.
type hop struct {
	addr      netip.AddrPort
	transport string // UDP, TCP or TLS
}

// dialog is the state of RFC 3261 section 12, and builds the requests inside it.
type dialog struct {
	callID              string
	localTag, remoteTag string
	local, remote       sip.Uri
	localName           string
	target              sip.Uri   // remote target; the Request-URI before there is one
	routes              []sip.Uri // in the order to be used
	cseq                uint32    // the last one we used
	remoteCSeq          uint32    // the last one of the peer
	remoteSeen          bool      // remoteCSeq is set
}

// nextURI is the URI the next request is sent to: the first route, else the target.
func (d *dialog) nextURI() sip.Uri {
	if len(d.routes) > 0 {
		return d.routes[0]
	}
	return d.target
}

// maxForwards is the Max-Forwards of what begins here (RFC 3261 section 8.1.1.6).
const maxForwards = 70

// request builds a request of the dialog with the given CSeq, without Contact and body.
func (e *Endpoint) request(d *dialog, method sip.RequestMethod, cseq uint32, branch string, h hop) *sip.Request {
	recipient, routes := d.target, d.routes
	if len(routes) > 0 && !routes[0].UriParams.Has("lr") { // strict router, RFC 3261 section 12.2.1.1
		recipient = routes[0]
		routes = append(slices.Clone(routes[1:]), d.target)
	}
	recipient.Headers = nil
	req := sip.NewRequest(method, recipient)
	us := e.self(h)
	req.AppendHeader(&sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: h.transport,
		Host: us.Addr().String(), Port: int(us.Port()),
		Params: sip.HeaderParams{{K: "branch", V: branch}, {K: "rport"}},
	})
	for _, r := range routes {
		req.AppendHeader(&sip.RouteHeader{Address: r})
	}
	fwd := sip.MaxForwardsHeader(maxForwards)
	id := sip.CallIDHeader(d.callID)
	to := &sip.ToHeader{Address: d.remote}
	if d.remoteTag != "" {
		to.Params = sip.HeaderParams{{K: "tag", V: d.remoteTag}}
	}
	req.AppendHeader(&fwd)
	req.AppendHeader(&sip.FromHeader{DisplayName: d.localName, Address: d.local, Params: sip.HeaderParams{{K: "tag", V: d.localTag}}})
	req.AppendHeader(to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: method})
	req.AppendHeader(sip.NewHeader("User-Agent", e.cfg.UserAgent))
	e.address(req, h)
	return req
}

// address aims req at h, from our listening socket when it goes by UDP.
func (e *Endpoint) address(req *sip.Request, h hop) {
	req.SetTransport(h.transport)
	req.SetDestination(h.addr.String())
	if h.transport == "UDP" {
		req.Laddr = e.bindFor(h.addr.Addr()).key
	}
}

// contact is our Contact for a peer reached over h (RFC 3261 section 8.1.1.8).
func (e *Endpoint) contact(h hop) *sip.ContactHeader {
	us := e.self(h)
	c := &sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "offhook", Host: us.Addr().String(), Port: int(us.Port())}}
	if h.transport == "TCP" || h.transport == "TLS" {
		c.Address.UriParams = sip.HeaderParams{{K: "transport", V: strings.ToLower(h.transport)}}
	}
	return c
}

// contact is ours as the peer of l gets it: to sips: it is that too (RFC 3261 sections 8.1.1.8 and 12.1.1).
func (l *Leg) contact() *sip.ContactHeader {
	c := l.e.contact(l.hop)
	if l.d.target.Scheme == "sips" || l.in.req != nil && l.in.req.Recipient.Scheme == "sips" {
		c.Address.Scheme, c.Address.UriParams = "sips", nil
	}
	return c
}

// recordRoutes are a message's Record-Route URIs in message order.
func recordRoutes(m sip.Message) []sip.Uri {
	var uris []sip.Uri
	for _, h := range m.GetHeaders("record-route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			uris = append(uris, *rr.Address.Clone())
		}
	}
	return uris
}

// establish takes the peer's half from its first response with a tag (RFC 3261 section 12.1.2).
func (d *dialog) establish(res *sip.Response) {
	d.remoteTag = tagOf(res.To().Params)
	d.routes = recordRoutes(res)
	slices.Reverse(d.routes)
	if c := res.Contact(); c != nil && isSIP(&c.Address) {
		d.target = *c.Address.Clone()
		d.target.Headers = nil
	}
}

// snapshot is the dialog as stored for a restart.
func (d *dialog) snapshot(h hop, branch string, uas bool) *call.Dialog {
	s := &call.Dialog{
		CallID: d.callID, LocalTag: d.localTag, RemoteTag: d.remoteTag,
		LocalURI: d.local.String(), RemoteURI: d.remote.String(), Target: d.target.String(),
		CSeq: d.cseq, Branch: branch, Transport: h.transport, UAS: uas,
	}
	if h.addr.IsValid() {
		s.Dest = h.addr.String()
	}
	for i := range d.routes {
		s.RouteSet = append(s.RouteSet, d.routes[i].String())
	}
	return s
}

// tagOf is the tag parameter; its name may come in any case.
func tagOf(p sip.HeaderParams) string {
	for _, kv := range p {
		if strings.EqualFold(strings.TrimSpace(kv.K), "tag") {
			return strings.TrimSpace(kv.V)
		}
	}
	return ""
}

func isSIP(u *sip.Uri) bool {
	return (u.Scheme == "sip" || u.Scheme == "sips") && u.Host != "" && !u.Wildcard
}

// uriHop is the hop of a URI with a literal address; ok is false when it has to be resolved.
func uriHop(u *sip.Uri, dflt string) (h hop, ok bool) {
	h.transport = dflt
	if t, has := u.UriParams.Get("transport"); has {
		h.transport = strings.ToUpper(t)
	}
	if u.Scheme == "sips" {
		h.transport = "TLS"
	}
	host := u.Host
	if m, has := u.UriParams.Get("maddr"); has && m != "" {
		host = m
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return h, false
	}
	port := u.Port
	if port == 0 {
		port = defaultPort(strings.ToLower(h.transport))
	}
	if port > 65535 {
		return h, false
	}
	h.addr = netip.AddrPortFrom(a.Unmap(), uint16(port))
	return h, true
}
