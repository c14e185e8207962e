//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// callee is a phone that answers whoever calls it, at once.
type callee struct {
	sock *socket
	rtp  netip.AddrPort      // written into its SDP
	call func(serverRTP int) // of each new call, with the port the server sends from
	stop chan struct{}
	wg   sync.WaitGroup
	seen map[string]struct{} // Call-IDs; the reader's own
}

func newCallee(rtp netip.AddrPort, call func(serverRTP int)) (*callee, error) {
	s, err := listen(0)
	if err != nil {
		return nil, err
	}
	c := &callee{sock: s, rtp: rtp, call: call, stop: make(chan struct{}), seen: make(map[string]struct{})}
	c.wg.Go(func() {
		for {
			select {
			case <-c.stop:
				return
			default:
			}
			if err := c.sock.receive(c.receive); err != nil {
				return
			}
		}
	})
	return c, nil
}

func (c *callee) close() {
	close(c.stop)
	c.wg.Wait()
	c.sock.close()
}

func (c *callee) uri() string { return "sip:bench@" + c.sock.local.String() }

func (c *callee) receive(from int, _ time.Time, b []byte) {
	r, ok := parseRequest(b)
	if !ok || r.method == "ACK" {
		return
	}
	if r.method != "INVITE" {
		c.sock.send(from, fmt.Appendf(make([]byte, 0, 512), "SIP/2.0 200 OK\r\n%s%s", r.echo, noBody))
		return
	}
	if _, again := c.seen[r.callID]; !again {
		c.seen[r.callID] = struct{}{}
		c.call(r.rtpPort)
	}
	sdp := offer(len(c.seen), c.rtp)
	c.sock.send(from, fmt.Appendf(make([]byte, 0, 1024), "SIP/2.0 200 OK\r\n%sContact: <%s>\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", r.echo, c.uri(), len(sdp), sdp))
}

// request is what a callee needs of a request.
type request struct {
	method, callID string
	rtpPort        int
	echo           []byte // the lines that a response repeats, To with a tag
}

func parseRequest(b []byte) (r request, ok bool) {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	line, head, _ := bytes.Cut(head, []byte("\r\n"))
	method, _, ok := bytes.Cut(line, []byte(" "))
	if !ok || bytes.HasPrefix(line, []byte("SIP/2.0")) {
		return r, false
	}
	r.method = string(method)
	for len(head) > 0 {
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		tag := ""
		switch string(bytes.ToLower(bytes.TrimSpace(name))) {
		case "via", "v", "from", "f", "cseq":
		case "call-id", "i":
			r.callID = string(bytes.TrimSpace(value))
		case "to", "t":
			if !bytes.Contains(value, []byte(";tag=")) {
				tag = ";tag=bench"
			}
		default:
			continue
		}
		r.echo = append(append(append(r.echo, line...), tag...), "\r\n"...)
	}
	if _, media, cut := bytes.Cut(body, []byte("m=audio ")); cut {
		port, _, _ := bytes.Cut(media, []byte(" "))
		r.rtpPort, _ = strconv.Atoi(string(port))
	}
	return r, r.callID != ""
}
