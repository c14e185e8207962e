package media

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// This file is SRTP (RFC 3711) with keys from session descriptions (SDES, RFC 4568): a=crypto lines. Keys are in
// no log line and no error.

// suite is a way to encrypt and authenticate, by RFC 4568 section 6.2.
type suite uint8

const (
	noSuite suite = iota
	aes80         // an authentication tag of 80 bits
	aes32         // of 32 bits, in RTP; RTCP has 80
	suites
)

var suiteNames = [suites]string{aes80: "AES_CM_128_HMAC_SHA1_80", aes32: "AES_CM_128_HMAC_SHA1_32"}

var suiteProfiles = [suites]srtp.ProtectionProfile{
	aes80: srtp.ProtectionProfileAes128CmHmacSha1_80, aes32: srtp.ProtectionProfileAes128CmHmacSha1_32,
}

const (
	keyLength  = 16
	saltLength = 14
	// maxTag is what SRTP adds to a packet of ours at most, in bytes.
	maxTag = 10
	// maxMKI bounds a peer's master key identifier in bytes.
	maxMKI = 16
	// replayWindow is how many packets a late one may be behind, RFC 3711 section 3.3.2.
	replayWindow = 128
	// maxSSRCs bounds the sources of one peer under one key, each of which costs memory.
	maxSSRCs = 16
)

// masterKey is a master key with its salt.
type masterKey [keyLength + saltLength]byte

// keying is a party's half of what protects a stream; the zero value is nothing.
type keying struct {
	suite suite
	key   masterKey
	mki   string // at the end of each packet, "" for none
}

// cryptoLine is an a=crypto attribute that we can do.
type cryptoLine struct {
	tag string
	keying
}

var errCrypto = errors.New("crypto attribute")

// parseCrypto reads the value of an a=crypto attribute: "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4". What we
// cannot do is an error, which holds no part of the key.
func parseCrypto(value string) (c cryptoLine, err error) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return c, fmt.Errorf("%w: %d fields", errCrypto, len(f))
	}
	if len(f[0]) > 9 || strings.Trim(f[0], "0123456789") != "" {
		return c, fmt.Errorf("%w: tag", errCrypto)
	}
	c.tag = f[0]
	for s := aes80; s < suites; s++ {
		if f[1] == suiteNames[s] {
			c.suite = s
		}
	}
	if c.suite == noSuite {
		return c, fmt.Errorf("%w: another suite", errCrypto)
	}
	for _, p := range f[3:] { // section 6.3: one that is not known, or not done, refuses the line
		if !strings.HasPrefix(p, "WSH=") && p != "KDR=0" && !strings.HasPrefix(p, "-") {
			return c, fmt.Errorf("%w: session parameter", errCrypto)
		}
	}
	return c, c.parseKey(f[2])
}

// parseKey reads "inline:KEY[|lifetime][|MKI:length]", of which several are not done.
func (c *cryptoLine) parseKey(params string) error {
	text, ok := strings.CutPrefix(params, "inline:")
	if !ok || strings.Contains(text, ";") {
		return fmt.Errorf("%w: key parameters", errCrypto)
	}
	parts := strings.Split(text, "|")
	key, err := base64.StdEncoding.DecodeString(parts[0])
	if err != nil {
		key, err = base64.RawStdEncoding.DecodeString(parts[0]) // there are phones that save the padding
	}
	if err != nil || len(key) != len(c.key) {
		return fmt.Errorf("%w: key", errCrypto)
	}
	copy(c.key[:], key)
	rest := parts[1:]
	if len(rest) > 0 && !strings.Contains(rest[0], ":") {
		n := strings.TrimPrefix(rest[0], "2^") // how many packets the peer sends with it: he counts
		if _, err := strconv.ParseUint(n, 10, 64); err != nil {
			return fmt.Errorf("%w: lifetime", errCrypto)
		}
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return nil
	}
	id, length, ok := strings.Cut(rest[0], ":")
	n, err1 := strconv.ParseUint(length, 10, 8)
	v, err2 := strconv.ParseUint(id, 10, 64)
	if !ok || len(rest) > 1 || err1 != nil || err2 != nil || n == 0 || n > maxMKI {
		return fmt.Errorf("%w: MKI", errCrypto)
	}
	mki := make([]byte, n)
	for i := len(mki) - 1; i >= 0; i-- {
		mki[i] = byte(v)
		v >>= 8
	}
	if v != 0 {
		return fmt.Errorf("%w: MKI", errCrypto)
	}
	c.mki = string(mki)
	return nil
}

// wire is c as an attribute's value, key and all.
func (c cryptoLine) wire() string {
	return c.tag + " " + suiteNames[c.suite] + " inline:" + base64.StdEncoding.EncodeToString(c.key[:])
}

// sealer protects what we send with one key. It lives as long as its stream: a key whose count of packets
// began anew would protect two packets alike.
type sealer struct {
	keying
	context *srtp.Context
	header  rtp.Header // scratch

	newest uint16 // sequence number
	used   uint64 // bit n: newest-n was sent
}

func newSealer(s suite) *sealer {
	k := keying{suite: s}
	_, _ = rand.Read(k.key[:]) // never fails
	return &sealer{keying: k, context: k.context()}
}

func (k *keying) context(options ...srtp.ContextOption) *srtp.Context {
	c, err := srtp.CreateContext(k.key[:keyLength], k.key[keyLength:], suiteProfiles[k.suite], options...)
	if err != nil {
		panic("media: SRTP: " + err.Error()) // a suite and a key of its size: a bug
	}
	return c
}

// fresh reports whether no packet of that number was sent yet: two of one number would be protected by the same
// stream of key bits. A late packet that is relayed can get one.
func (s *sealer) fresh(seq uint16) bool {
	switch ahead := int16(seq - s.newest); {
	case s.used == 0 || ahead >= 64:
		s.newest, s.used = seq, 1
	case ahead > 0:
		s.newest, s.used = seq, s.used<<ahead|1
	case ahead <= -64 || s.used>>-ahead&1 != 0:
		return false
	default:
		s.used |= 1 << -ahead
	}
	return true
}

// seal protects an RTP packet where it is; its array has maxTag bytes more.
func (s *sealer) seal(p []byte) ([]byte, error) {
	return s.context.EncryptRTP(p, p, &s.header)
}

// unsealer undoes what the peer did with his key.
type unsealer struct {
	keying
	context *srtp.Context
	header  rtp.Header // scratch
	ssrcs   int        // sources heard
	reports int        // and those of reports
}

func newUnsealer(k keying) *unsealer {
	options := []srtp.ContextOption{srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow)}
	if k.mki != "" {
		options = append(options, srtp.MasterKeyIndicator([]byte(k.mki)))
	}
	return &unsealer{keying: k, context: k.context(options...)}
}

// open is the RTP packet that p protects, in its place; false when it is not the peer's or came before.
func (o *unsealer) open(p []byte) ([]byte, bool) {
	if len(p) < headerSize {
		return nil, false
	}
	ssrc := be32(p[8:])
	_, known := o.context.ROC(ssrc)
	if !known && o.ssrcs >= maxSSRCs {
		return nil, false
	}
	p, err := o.context.DecryptRTP(p, p, &o.header)
	if err != nil {
		return nil, false
	}
	if !known {
		o.ssrcs++
	}
	return p, true
}

// openReport is open for RTCP.
func (o *unsealer) openReport(p []byte) ([]byte, bool) {
	if len(p) < 8 {
		return nil, false
	}
	_, known := o.context.Index(be32(p[4:]))
	if !known && o.reports >= maxSSRCs {
		return nil, false
	}
	p, err := o.context.DecryptRTCP(nil, p, nil)
	if err != nil {
		return nil, false
	}
	if !known {
		o.reports++
	}
	return p, true
}

func be32(p []byte) uint32 {
	return uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])
}

// protection is what a negotiation knows of keys.
type protection struct {
	required bool            // no description in plain is taken, and none is given
	own      [suites]*sealer // made when first needed
	peer     *unsealer       // of the key named last
	tag      string          // of the line agreed on
	agreed   suite           // noSuite: in plain
}

// sealer is ours for a suite.
func (p *protection) sealer(s suite) *sealer {
	if p.own[s] == nil {
		p.own[s] = newSealer(s)
	}
	return p.own[s]
}

// offer is the lines we offer: what was agreed on, else both suites.
func (p *protection) offer() (lines []cryptoLine) {
	switch {
	case p.agreed != noSuite:
		lines = append(lines, cryptoLine{p.tag, p.sealer(p.agreed).keying})
	case p.required:
		for s := aes80; s < suites; s++ {
			lines = append(lines, cryptoLine{strconv.Itoa(int(s)), p.sealer(s).keying})
		}
	}
	return lines
}

// agree takes the peer's line, nil for a stream in plain, into s.
func (p *protection) agree(line *cryptoLine, s *setup) {
	if line == nil {
		p.agreed, p.tag = noSuite, ""
		return
	}
	p.agreed, p.tag = line.suite, line.tag
	if p.peer == nil || p.peer.keying != line.keying {
		p.peer = newUnsealer(line.keying)
	}
	s.seal, s.unseal = p.sealer(line.suite), p.peer
}

// isSecureProfile reports whether an m-line's transport is SRTP (RFC 3711, RFC 5124).
func isSecureProfile(proto string) bool { return proto == "RTP/SAVP" || proto == "RTP/SAVPF" }

// protect seals a packet of ours that has the sequence number seq, when the stream is protected; false drops it.
func (f *flow) protect(w *worker, p []byte, seq uint16) ([]byte, bool) {
	s := f.setup.seal
	if s == nil {
		return p, true
	}
	if !s.fresh(seq) {
		return nil, false
	}
	p, err := s.seal(p)
	if err != nil { // the key is used up, after 2^48 packets
		f.failed++
		w.count.failed.Add(1)
		return nil, false
	}
	return p, true
}

// unprotect opens a packet of the peer's. What is not his is counted, and tells the source nothing.
func (f *flow) unprotect(w *worker, p *packet) ([]byte, bool) {
	o := f.setup.unseal
	if o == nil {
		return p.data, true
	}
	if f.source.peer.IsValid() && p.from != f.source.peer { // cheaper than looking at what it is
		f.strange(w, 1)
		return nil, false
	}
	data, ok := o.open(p.data)
	if !ok {
		f.strange(w, 1)
	}
	return data, ok
}
