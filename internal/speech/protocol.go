package speech

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The parent and a child talk over the child's standard input and output in messages: four bytes of
// length (big endian, of what follows), a byte of kind, the body. The parent says hello, the child answers ready once
// it is warm; from then on each say is answered by pieces of audio as they are made, and then an end or a failed.
const (
	kindHello  = 'H' // hello as JSON
	kindReady  = 'R' // empty
	kindSay    = 'S' // request as JSON
	kindAudio  = 'A' // µ-law, 8,000 bytes a second; whole frames but for a clause's last
	kindEnd    = 'E' // empty: the clause is complete
	kindFailed = 'F' // the reason, as text; the child goes on
)

// maxMessage bounds a message, and the audio of a clause: 17 minutes of µ-law. A clause is at most maxClause characters.
const maxMessage = 8 << 20

// hello tells a child what it will be asked for.
type hello struct {
	Engine   string // the one to warm up
	CacheDir string // for compiled code; "" for none
}

// request is one clause to be spoken.
type request struct {
	Engine string
	Voice  string // the engine's own name
	Text   string
}

func writeMessage(w io.Writer, kind byte, body []byte) error {
	b := make([]byte, 0, 5+len(body))
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(body)))
	b = append(b, kind)
	_, err := w.Write(append(b, body...))
	return err
}

func writeJSON(w io.Writer, kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeMessage(w, kind, b)
}

func readMessage(r io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return 0, nil, err // io.EOF between messages: the other side is gone
	}
	n := binary.BigEndian.Uint32(head[:4])
	if n == 0 || n > maxMessage {
		return 0, nil, fmt.Errorf("speech: message of %d bytes", n)
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return 0, nil, noEOF(err)
	}
	body, err = io.ReadAll(io.LimitReader(r, int64(n)-1)) // grows with what comes, not with what is announced
	if err == nil && len(body) != int(n)-1 {
		err = io.ErrUnexpectedEOF
	}
	return head[4], body, noEOF(err)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
