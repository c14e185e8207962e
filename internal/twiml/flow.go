package twiml

func (p *parser) redirect(e *element) Verb {
	a := p.attributes(e, "method")
	return &Redirect{at: at{e.line}, URL: p.content(e), Method: a.method("method", 13710)}
}

// hangup takes no attributes; the SDKs let Parameter stand inside, which changes nothing.
func (p *parser) hangup(e *element) Verb {
	p.attributes(e)
	p.noChildren(e, "Parameter")
	return &Hangup{at{e.line}}
}

func (p *parser) reject(e *element) Verb {
	a := p.attributes(e, "reason")
	p.noChildren(e, "Parameter")
	v := &Reject{at: at{e.line}, Reason: "rejected"}
	if s, ok := a.get("reason"); ok {
		if s != "rejected" && s != "busy" {
			a.bad(13810, "reason", s)
		} else {
			v.Reason = s
		}
	}
	return v
}
