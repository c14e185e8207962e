package twiml

import "time"

func (p *parser) pause(e *element) Verb {
	a := p.attributes(e, "length")
	p.noChildren(e)
	return &Pause{at: at{e.line}, Length: a.seconds("length", time.Second, 13910)}
}
