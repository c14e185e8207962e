package offhooktest

import (
	"bytes"
	"slices"
	"strings"
)

// maxWire bounds the SIP messages that are kept of a call.
const maxWire = 200

// message keeps what a phone sent or received, without what only says that something is on its way.
func (x *exchange) message(sent bool, b []byte) {
	m := inShort(b)
	if m.callID == "" || m.text == "100 INVITE" {
		return
	}
	if sent {
		m.text = "> " + m.text
	} else {
		m.text = "< " + m.text
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	list := x.wire[m.callID]
	if again := slices.Contains(list, m); !again && len(list) < maxWire {
		x.wire[m.callID] = append(list, m)
	}
}

// message is a SIP message in a few words, such as "INVITE sendonly" or "486 INVITE".
type message struct {
	callID, seq, text string
}

func inShort(b []byte) (m message) {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	for _, h := range lines[1:] {
		name, value, _ := strings.Cut(h, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "call-id", "i":
			m.callID = value
		case "cseq":
			m.seq, m.text, _ = strings.Cut(value, " ")
		}
	}
	if rest, ok := strings.CutPrefix(lines[0], "SIP/2.0 "); ok {
		code, _, _ := strings.Cut(rest, " ")
		m.text = code + " " + m.text
	}
	if len(body) > 0 {
		way := "sdp"
		for _, w := range []string{"sendonly", "recvonly", "inactive"} {
			if bytes.Contains(body, []byte("a="+w)) {
				way = w
			}
		}
		m.text += " " + way
	}
	return m
}

// Messages are the SIP messages of the call as the phone saw them, each once: "> INVITE sdp" is what it sent,
// "< 180 INVITE" what came. 100 is left out, since whether it is sent is a matter of time.
func (l *Line) Messages() []string {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	var list []string
	for _, m := range l.x.wire[l.ID()] {
		list = append(list, m.text)
	}
	return list
}
