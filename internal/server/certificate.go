package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// certificate is the pair of files that SIP over TLS shows, read again when they change.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	seen   [2]stamp
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	changed time.Time
	size    int64
}

// openCertificate reads the pair; an error says what to do.
func openCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	if _, err := c.get(); err != nil {
		return nil, fmt.Errorf("--cert and --key: %w", err)
	}
	return c, nil
}

// get is the certificate for one handshake. Files that are only half renewed, or gone, leave the last one in use.
func (c *certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var now [2]stamp
	for i, name := range []string{c.cert, c.key} {
		if s, err := os.Stat(name); err == nil {
			now[i] = stamp{s.ModTime(), s.Size()}
		}
	}
	if c.loaded != nil && now == c.seen {
		return c.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	switch {
	case err != nil && c.loaded == nil:
		return nil, err
	case err != nil:
		c.log.Error("the certificate cannot be read again, the last one stays in use", "cert", c.cert, "key", c.key, "err", err)
	default:
		if c.loaded != nil {
			c.log.Info("the certificate was renewed", "cert", c.cert, "until", pair.Leaf.NotAfter)
		}
		c.loaded = &pair
	}
	c.seen = now
	return c.loaded, nil
}

// Files of the certificate that a development server makes for itself.
const (
	ownCert = "sip-cert.pem"
	ownKey  = "sip-key.pem"
)

// ownCertificate makes a self-signed certificate in dir, unless there is one, for this machine's names and the
// addresses of listeners.
func ownCertificate(dir string, addrs []string, now time.Time) (cert, key string, err error) {
	cert, key = filepath.Join(dir, ownCert), filepath.Join(dir, ownKey)
	if _, err := tls.LoadX509KeyPair(cert, key); err == nil {
		return cert, key, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("%s: %w", cert, err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return "", "", err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "offhook"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		tmpl.DNSNames = append(tmpl.DNSNames, name)
	}
	for _, a := range addrs {
		if host, _, err := net.SplitHostPort(a); err == nil {
			if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() && !ip.IsLoopback() {
				tmpl.IPAddresses = append(tmpl.IPAddresses, ip.AsSlice())
			}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	err = errors.Join(
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600),
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644), //nolint:gosec // it is shown to everybody
	)
	return cert, key, err
}

// authorities are the system's and those of file.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the system's alone
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--sip-ca: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--sip-ca %s: no certificate in it (PEM)", file)
	}
	return pool, nil
}
