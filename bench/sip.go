//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
)

// The least of SIP that a caller needs (RFC 3261), as text: the generator shares no code with the server,
// and a call must cost it far less than it costs the server.

// message is what the caller needs of a received SIP message. Its slices point into the datagram.
type message struct {
	status     int    // of a response; 0 is a request
	method     string // a request's, or the CSeq's of a response
	call       int    // the number in our Call-ID
	to         []byte // the whole To header's value, with the tag
	contact    []byte // the URI of the Contact header
	retryAfter bool
	rtpPort    int    // of m=audio; 0 without SDP
	echo       []byte // a request's Via, From, To, Call-ID and CSeq lines, as a response repeats them
}

// parse reads a datagram; ok is false when it is no SIP message of the run that nonce names.
func parse(b []byte, nonce string) (m message, ok bool) {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	line, head, _ := bytes.Cut(head, []byte("\r\n"))
	request := false
	if rest, is := bytes.CutPrefix(line, []byte("SIP/2.0 ")); is {
		if len(rest) < 3 {
			return m, false
		}
		m.status, _ = strconv.Atoi(string(rest[:3]))
	} else {
		method, _, cut := bytes.Cut(line, []byte(" "))
		if !cut {
			return m, false
		}
		request, m.method = true, string(method)
	}
	for len(head) > 0 {
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		repeated := false
		switch string(bytes.ToLower(bytes.TrimSpace(name))) {
		case "via", "v", "from", "f":
			repeated = true
		case "to", "t":
			repeated, m.to = true, value
		case "call-id", "i":
			repeated = true
			number, rest, _ := bytes.Cut(value, []byte("."))
			n, err := strconv.Atoi(string(number))
			if ok = err == nil && string(rest) == nonce; !ok {
				return m, false
			}
			m.call = n
		case "cseq":
			repeated = true
			if _, method, cut := bytes.Cut(value, []byte(" ")); cut && !request {
				m.method = string(bytes.TrimSpace(method))
			}
		case "contact", "m":
			m.contact = value
			if _, in, cut := bytes.Cut(value, []byte("<")); cut {
				m.contact, _, _ = bytes.Cut(in, []byte(">"))
			}
		case "retry-after":
			m.retryAfter = true
		}
		if repeated && request {
			m.echo = append(append(m.echo, line...), "\r\n"...)
		}
	}
	if _, media, cut := bytes.Cut(body, []byte("m=audio ")); cut {
		port, _, _ := bytes.Cut(media, []byte(" "))
		m.rtpPort, _ = strconv.Atoi(string(port))
	}
	return m, ok
}

// dialog builds the requests of one call.
type dialog struct {
	number        int // of the call; in its Call-ID, tag and branches
	nonce         string
	local, server netip.AddrPort // of SIP
	callee        string
	to            string // the To header's value, with the tag once there is one
	target        string // the request URI within the dialog
}

func (d *dialog) head(method, uri, branch string, seq int) []byte {
	return fmt.Appendf(make([]byte, 0, 1024), "%s %s SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP %s;branch=z9hG4bK%s%d.%s\r\n"+
		"Max-Forwards: 70\r\n"+
		"From: <sip:+15005550006@%s>;tag=%d.%s\r\n"+
		"To: %s\r\n"+
		"Call-ID: %d.%s\r\n"+
		"CSeq: %d %s\r\n"+
		"Contact: <sip:bench@%s>\r\n",
		method, uri, d.local, branch, d.number, d.nonce, d.local, d.number, d.nonce, d.to, d.number, d.nonce, seq, method, d.local)
}

func (d *dialog) uri() string { return fmt.Sprintf("sip:%s@%s", d.callee, d.server) }

// invite offers PCMU and telephone-event at rtp.
func (d *dialog) invite(rtp netip.AddrPort) []byte {
	sdp := offer(d.number, rtp)
	return fmt.Appendf(d.head("INVITE", d.uri(), "i", 1), "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
}

// offer is our SDP, which serves as an answer as well.
func offer(number int, rtp netip.AddrPort) string {
	return fmt.Sprintf("v=0\r\no=bench %d 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"+
		"m=audio %d RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n",
		number, rtp.Addr(), rtp.Addr(), rtp.Port())
}

const noBody = "Content-Length: 0\r\n\r\n"

// ack acknowledges a 2xx, with a branch of its own.
func (d *dialog) ack() []byte { return append(d.head("ACK", d.target, "a", 1), noBody...) }

// ackRefusal acknowledges any other final response, within the INVITE's transaction (RFC 3261 section 17.1.1.3).
func (d *dialog) ackRefusal() []byte { return append(d.head("ACK", d.uri(), "i", 1), noBody...) }

func (d *dialog) cancel() []byte { return append(d.head("CANCEL", d.uri(), "i", 1), noBody...) }

func (d *dialog) bye() []byte { return append(d.head("BYE", d.target, "b", 2), noBody...) }

// okTo accepts a request within a dialog.
func okTo(m message) []byte {
	return fmt.Appendf(make([]byte, 0, 512), "SIP/2.0 200 OK\r\n%s%s", m.echo, noBody)
}
