package twiml

import (
	"bytes"
	"fmt"
	"mime"
	"strings"

	"golang.org/x/text/encoding/charmap"

	"github.com/offhook/offhook/internal/twilio"
)

// MaxBody is how long a document may be, in bytes (11750). Audio may be longer.
const MaxBody = 64 << 10

// FromResponse makes a document of an application's answer as its content type demands (call-lifecycle
// section 2): XML and HTML are TwiML, audio is played, plain text is TwiML or else spoken. docURL is where
// the answer came from, after redirects. Errors are Parse's, 11750 for a document that is too long and
// 12300 for any other content type. An empty answer of any type is an empty document with warning 11770.
func FromResponse(contentType string, body []byte, docURL string) (*Document, error) {
	kind, params := mediaType(contentType)
	d, err := fromResponse(kind, params["charset"], contentType, body)
	if err != nil {
		return nil, err
	}
	d.URL = docURL
	return d, nil
}

func fromResponse(kind, charset, contentType string, body []byte) (*Document, error) {
	if len(body) == 0 {
		return Parse(nil)
	}
	if IsAudio(kind) {
		return &Document{Verbs: []Verb{&Play{Loop: 1, Body: body, ContentType: contentType}}}, nil
	}
	if len(body) > MaxBody {
		return nil, &twilio.Error{Code: 11750, Message: fmt.Sprintf("Response body too large: %d bytes, at most %d are allowed.", len(body), MaxBody)}
	}
	switch kind {
	case "text/xml", "application/xml", "text/html":
		if isLatin1(charset) && !declaresEncoding(body) {
			body = fromLatin1(body)
		}
		return Parse(body)
	case "text/plain":
		if isLatin1(charset) {
			body = fromLatin1(body)
		}
		if d, err := Parse(body); err == nil {
			return d, nil
		}
		var p parser
		d := &Document{}
		text := collapse(strings.ToValidUTF8(strings.TrimPrefix(string(body), "\ufeff"), "\ufffd"))
		if v := p.checkText(&Say{at: at{1}, Loop: 1, Parts: []Part{{Text: text}}}); v != nil {
			d.Verbs = []Verb{v}
		}
		d.Warnings = p.warnings
		return d, nil
	}
	return nil, &twilio.Error{Code: 12300, Message: fmt.Sprintf("Invalid Content-Type: %q. Send text/xml for TwiML.", contentType)}
}

// IsAudio reports whether contentType, with or without parameters, is one that a call can play.
func IsAudio(contentType string) bool {
	kind, _ := mediaType(contentType)
	switch kind {
	case "audio/mpeg", "audio/wav", "audio/wave", "audio/x-wav", "audio/aiff", "audio/x-aifc", "audio/x-aiff",
		"audio/x-gsm", "audio/gsm", "audio/ulaw":
		return true
	}
	return false
}

// mediaType splits a Content-Type; bad parameters do not hide the type.
func mediaType(contentType string) (kind string, params map[string]string) {
	if kind, params, err := mime.ParseMediaType(contentType); err == nil {
		return kind, params
	}
	kind, _, _ = strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(kind)), nil
}

// declaresEncoding reports whether the XML declaration names an encoding: it knows better than the default
// charset of a web server.
func declaresEncoding(body []byte) bool {
	declaration, _, ok := bytes.Cut(body, []byte("?>"))
	return ok && bytes.HasPrefix(declaration, []byte("<?xml")) && bytes.Contains(declaration, []byte("encoding"))
}

func fromLatin1(b []byte) []byte {
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil { // every byte decodes
		return b
	}
	return out
}
