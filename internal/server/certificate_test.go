package server

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

func TestTheCertificateIsReadAgain(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	now := clock.System.Now()
	cert, key, err := ownCertificate(one, []string{"192.0.2.1:5061", "0.0.0.0:5061"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := os.Stat(key); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", s.Mode(), err)
	}
	c, err := openCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		t.Helper()
		got, err := c.get()
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.String()
	}
	first := serial()
	if err := c.loaded.Leaf.VerifyHostname("192.0.2.1"); err != nil {
		t.Error(err)
	}
	again, _, err := ownCertificate(one, nil, now)
	if pair, e := tls.LoadX509KeyPair(again, key); err != nil || e != nil || pair.Leaf.SerialNumber.String() != first {
		t.Errorf("made anew: %v, %v", err, e)
	}

	other, otherKey, err := ownCertificate(two, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	renew := func(from, to string, later time.Duration) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(to, now.Add(later), now.Add(later)); err != nil {
			t.Fatal(err)
		}
	}
	renew(other, cert, time.Second) // half of the pair
	if serial() != first {
		t.Error("half a pair is shown")
	}
	renew(otherKey, key, 2*time.Second)
	second := serial()
	if second == first {
		t.Error("the new pair is not shown")
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if serial() != second {
		t.Error("a pair that is gone is not shown any more")
	}
}

func TestCertificatesThatCannotBeRead(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.pem")
	if _, err := openCertificate(none, none, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
	if _, err := authorities(none); err == nil {
		t.Error("no error")
	}
	if err := os.WriteFile(none, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := authorities(none); err == nil {
		t.Error("no error")
	}
	if pool, err := authorities(""); err != nil || pool != nil {
		t.Errorf("%v, %v", pool, err)
	}
}
