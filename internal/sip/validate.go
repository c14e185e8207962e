package sip

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// fault is a request refused before it reaches a leg.
type fault struct {
	code    int
	reason  string
	headers []sip.Header
}

// supported are the option tags we understand (RFC 3261 section 20.37).
var supported = []string{"100rel", "replaces", "timer"}

// allowed are the methods we understand, the value of Allow.
const allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY"

// single lists headers that occur at most once (RFC 3261 section 7.3.1).
var single = []string{"to", "from", "call-id", "cseq", "max-forwards", "content-length", "content-type"}

// validate checks what sipgo's parser lets through of a request, by RFC 3261 sections 8.2, 16.3 and 18.3.
// nil is a request that may be looked at further.
func validate(req *sip.Request) *fault {
	bad := func(code int, reason string) *fault { return &fault{code: code, reason: reason} }
	via, from, to, id, cseq := req.Via(), req.From(), req.To(), req.CallID(), req.CSeq()
	switch {
	case !strings.EqualFold(req.SipVersion, "SIP/2.0"):
		return bad(505, "Version Not Supported")
	case via == nil || via.Host == "" || !strings.EqualFold(via.ProtocolName, "SIP") || via.ProtocolVersion != "2.0":
		return bad(400, "Bad Via")
	case badlyWritten(req) != "":
		return bad(400, "Bad "+badlyWritten(req))
	case from == nil || from.Address.Scheme == "":
		return bad(400, "Bad From")
	case to == nil || to.Address.Scheme == "":
		return bad(400, "Bad To")
	case id == nil || *id == "" || strings.ContainsAny(string(*id), " \t") || hasControl(string(*id)):
		return bad(400, "Bad Call-ID")
	case cseq == nil:
		return bad(400, "Bad CSeq")
	case req.Method != methodCancel && !strings.EqualFold(string(cseq.MethodName), string(req.Method)), // the parser puts the one in capitals
		req.Method == methodCancel && cseq.MethodName != sip.CANCEL:
		return bad(400, "CSeq Method Does Not Match")
	case tagOf(from.Params) == "" && !from.Params.Has("tag"): // mark gave those of RFC 2543 an empty one
		return bad(400, "Missing From Tag")
	case req.Method == sip.REGISTER && !isSIP(&to.Address): // RFC 3261 section 10.3
		return bad(400, "Bad Address of Record")
	}
	for _, name := range single {
		if len(req.GetHeaders(name)) > 1 {
			return bad(400, "Repeated Header "+name)
		}
	}
	if f := req.MaxForwards(); f != nil {
		if f.Val() > 255 {
			return bad(400, "Bad Max-Forwards")
		}
		if f.Val() == 0 && req.Method != sip.OPTIONS && req.Method != sip.ACK && req.Method != methodCancel {
			return bad(483, "Too Many Hops")
		}
	}
	if n := req.ContentLength(); n != nil && int(*n) != len(req.Body()) {
		return bad(400, "Content-Length Does Not Match")
	}
	if len(req.Body()) > maxBody {
		return bad(413, "Request Entity Too Large")
	}
	if req.Method == sip.ACK || req.Method == methodCancel {
		return nil // never refused for what follows (RFC 3261 section 8.2.2.3)
	}
	if !isSIP(&req.Recipient) || hasControl(req.Recipient.String()) || req.Recipient.Scheme == "sips" && req.Transport() != "TLS" {
		return bad(416, "Unsupported URI Scheme")
	}
	var unknown []string
	for _, tag := range listHeader(req, "Require", "") {
		if !slices.Contains(supported, strings.ToLower(tag)) {
			unknown = append(unknown, tag)
		}
	}
	if len(unknown) > 0 {
		return &fault{420, "Bad Extension", []sip.Header{sip.NewHeader("Unsupported", strings.Join(unknown, ", "))}}
	}
	if req.Method == sip.INVITE {
		if c := req.Contact(); c == nil && tagOf(from.Params) != "" || c != nil && !isSIP(&c.Address) {
			return bad(400, "Missing Contact")
		}
		if !acceptsSDP(req) {
			return bad(406, "Not Acceptable")
		}
	}
	if req.Method == sip.INVITE || req.Method == sip.UPDATE {
		return validateBody(req)
	}
	return nil
}

// badlyWritten names a header that its parser refused.
func badlyWritten(req *sip.Request) string {
	for _, h := range req.Headers() {
		if _, bad := h.(badHeader); bad {
			return h.Name()
		}
	}
	return ""
}

// validateBody refuses a body that cannot be an offer (RFC 3261 section 8.2.3).
func validateBody(req *sip.Request) *fault {
	for _, enc := range listHeader(req, "Content-Encoding", "e") {
		if !strings.EqualFold(enc, "identity") {
			return &fault{415, "Unsupported Media Type", []sip.Header{sip.NewHeader("Accept-Encoding", "identity")}}
		}
	}
	if len(req.Body()) > 0 {
		if _, ok := sdpOf(req); !ok {
			return &fault{415, "Unsupported Media Type", []sip.Header{sip.NewHeader("Accept", "application/sdp")}}
		}
	}
	return nil
}

// acceptsSDP reports whether the peer can read our session description (RFC 3261 section 20.1).
func acceptsSDP(req *sip.Request) bool {
	types := listHeader(req, "Accept", "")
	for _, t := range types {
		t, _, _ = strings.Cut(t, ";")
		switch strings.ToLower(strings.TrimSpace(t)) {
		case "application/sdp", "application/*", "*/*":
			return true
		}
	}
	return len(types) == 0
}

// validResponse reports whether a response has what a leg reads from it.
func validResponse(res *sip.Response) bool {
	from, to := res.From(), res.To()
	return res.CallID() != nil && res.CSeq() != nil && from != nil && to != nil && res.Via() != nil &&
		res.StatusCode >= 100 && res.StatusCode < 700 && len(res.Body()) <= maxBody
}

func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0
}
