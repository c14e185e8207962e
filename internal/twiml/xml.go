package twiml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// Bounds of a document. A fetched one has at most 64 kB, so real ones stay far below.
const (
	maxDepth    = 64
	maxElements = 10_000
)

// element is one XML element with the places needed for messages.
type element struct {
	name  string
	line  int
	attrs []attr
	nodes []node
}

type attr struct{ name, value string }

// node is a child: an element, or character data when el is nil.
type node struct {
	el   *element
	text string
	line int
}

// text is the character data directly inside e.
func (e *element) text() string {
	var b strings.Builder
	for _, n := range e.nodes {
		b.WriteString(n.text)
	}
	return b.String()
}

// lineError is a fault of well-formedness at a line.
type lineError struct {
	line int
	msg  string
}

func (e *lineError) Error() string { return fmt.Sprintf("Line %d: %s", e.line, e.msg) }

// decode reads the one root element of body, which must be well-formed XML 1.0 without a document type
// declaration: nothing but the five predefined entities is known, and nothing is ever loaded.
func decode(body []byte) (*element, error) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	d := xml.NewDecoder(bytes.NewReader(body))
	d.CharsetReader = charsetReader
	var root *element
	var open []*element
	count := 0
	for {
		offset := d.InputOffset()
		line, _ := d.InputPos()
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, syntaxError(err, line)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			count++
			switch {
			case len(open) == 0 && root != nil:
				return nil, &lineError{line, "The markup in the document following the root element must be well-formed."}
			case len(open) == maxDepth:
				return nil, &lineError{line, fmt.Sprintf("Elements are nested deeper than %d.", maxDepth)}
			case count > maxElements:
				return nil, &lineError{line, fmt.Sprintf("The document has more than %d elements.", maxElements)}
			}
			e, err := newElement(t, line)
			if err != nil {
				return nil, err
			}
			if root == nil {
				root = e
			} else {
				parent := open[len(open)-1]
				parent.nodes = append(parent.nodes, node{el: e, line: line})
			}
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				parent := open[len(open)-1]
				parent.nodes = append(parent.nodes, node{text: string(t), line: line})
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, &lineError{line, "Content is not allowed outside of the root element."}
			}
		case xml.Directive:
			return nil, &lineError{line, "A document type declaration (DOCTYPE) is not allowed."}
		case xml.ProcInst:
			if strings.EqualFold(t.Target, "xml") && offset != 0 {
				return nil, &lineError{line, `The processing instruction target matching "[xX][mM][lL]" is not allowed: ` +
					"the XML declaration must be the very first thing, without white space before it."}
			}
		case xml.Comment:
		}
	}
	if root == nil {
		return nil, &lineError{1, "The root element is missing."}
	}
	return root, nil
}

func newElement(t xml.StartElement, line int) (*element, error) {
	e := &element{name: qualified(t.Name), line: line}
	seen := make(map[xml.Name]bool, len(t.Attr))
	for _, a := range t.Attr {
		if seen[a.Name] { // encoding/xml lets it pass
			return nil, &lineError{line, fmt.Sprintf("Attribute %q was already specified for element %q.", a.Name.Local, e.name)}
		}
		seen[a.Name] = true
		switch {
		case a.Name.Space == "xmlns", a.Name.Space == "" && a.Name.Local == "xmlns",
			a.Name.Space == "http://www.w3.org/2001/XMLSchema-instance":
			// Namespace declarations and schema hints say nothing about the call.
		default:
			e.attrs = append(e.attrs, attr{qualified(a.Name), a.Value})
		}
	}
	return e, nil
}

// qualified is a name as written for the namespace xml and undeclared prefixes (which encoding/xml leaves
// in Space), and the bare local name for declared namespaces.
func qualified(n xml.Name) string {
	switch {
	case n.Space == "":
		return n.Local
	case n.Space == "http://www.w3.org/XML/1998/namespace":
		return "xml:" + n.Local
	case strings.ContainsAny(n.Space, ":/"):
		return n.Local
	default:
		return n.Space + ":" + n.Local
	}
}

func syntaxError(err error, line int) error {
	var se *xml.SyntaxError
	if errors.As(err, &se) {
		return &lineError{se.Line, se.Msg}
	}
	return &lineError{line, strings.TrimPrefix(err.Error(), "xml: ")}
}

// charsetReader decodes what old application servers still declare; encoding/xml knows UTF-8 itself.
func charsetReader(charset string, input io.Reader) (io.Reader, error) {
	if isLatin1(charset) {
		return charmap.Windows1252.NewDecoder().Reader(input), nil
	}
	if strings.EqualFold(charset, "utf8") {
		return input, nil
	}
	return nil, fmt.Errorf("the encoding %q is not supported: send UTF-8", charset)
}

// isLatin1 knows the names of ASCII, ISO-8859-1 and its superset windows-1252.
func isLatin1(charset string) bool {
	switch strings.ToLower(charset) {
	case "us-ascii", "ascii", "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "windows-1252", "cp1252":
		return true
	}
	return false
}
