package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"filippo.io/age"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/offhook/offhook/internal/audio"
)

// s3 starts an S3 server and returns the URL of its bucket.
func s3(t *testing.T) string {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("calls"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return "s3://calls?region=any&use_path_style=true&prefix=rec/&endpoint=" + server.URL
}

func blobs(t *testing.T, cfg BlobConfig) *Blobs {
	t.Helper()
	b, err := OpenBlobs(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// spooled is a finished spool of two channels: 440 Hz, and 1000 Hz half as long.
func spooled(t *testing.T, d time.Duration) Result {
	t.Helper()
	r := newTest(t, Config{}, nil)
	w := start(t, r, Spec{Channels: 2})
	left, right := tone(d, 440), tone(d/2, 1000)
	for i := 0; i < len(left); i += 160 {
		w.Write(0, int64(i), left[i:i+160])
		if i < len(right) {
			w.Write(1, int64(i), right[i:i+160])
		}
	}
	return stop(t, w)
}

func TestBlobs(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	sealed := BlobConfig{Recipients: []string{id.Recipient().String()}, Identities: []string{id.String()}}
	for _, store := range []struct {
		name string
		url  func(t *testing.T) string
	}{
		{"folder", func(t *testing.T) string { return filepath.Join(t.TempDir(), "recordings") }},
		{"S3", s3},
		{"Versity's S3 gateway", versity},
	} {
		for name, cfg := range map[string]BlobConfig{"plain": {}, "encrypted": sealed} {
			t.Run(store.name+"/"+name, func(t *testing.T) {
				cfg.URL = store.url(t)
				testBlobs(t, blobs(t, cfg))
			})
		}
	}
}

func testBlobs(t *testing.T, b *Blobs) {
	const key = "AC1/RE1.wav"
	res := spooled(t, 40*time.Second) // more than one window
	if _, err := b.Open(t.Context(), key, b.Encrypts(), 1); !errors.Is(err, ErrGone) {
		t.Fatalf("before it is put: %v", err)
	}
	const from, to = 8000, 39 * 8000
	for range 2 { // putting again replaces
		if err := b.Put(t.Context(), key, res, from, to); err != nil {
			t.Fatal(err)
		}
	}
	left, right := audio.DecodeULaw(tone(40*time.Second, 440)), audio.DecodeULaw(tone(20*time.Second, 1000))
	want := make([]int16, 0, 2*(to-from))
	for i := from; i < to; i++ {
		r := int16(0)
		if i < len(right) {
			r = right[i]
		}
		want = append(want, left[i], r)
	}
	check := func(channels int, pcm []int16) {
		t.Helper()
		m, err := b.Open(t.Context(), key, b.Encrypts(), channels)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(m)
		if err != nil || int64(len(got)) != m.Size() || m.Samples() != to-from {
			t.Fatalf("%d bytes of %d, %v", len(got), m.Size(), err)
		}
		for i, s := range pcm {
			if g := int16(binary.LittleEndian.Uint16(got[pcmHeaderSize+2*i:])); g != s {
				t.Fatalf("sample %d is %d, want %d", i, g, s)
			}
		}
		clip, err := audio.Decode("audio/wav", got)
		if err != nil || clip.Duration().Round(20*time.Millisecond) != 38*time.Second {
			t.Fatalf("it plays for %v, %v", clip.Duration(), err)
		}
		// Any part, from anywhere, byte by byte.
		for _, at := range []int64{0, 43, 44, 45, 47, 600_001, m.Size() - 3} {
			if _, err := m.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			part := make([]byte, min(64, m.Size()-at))
			if _, err := io.ReadFull(iotest.OneByteReader(m), part); err != nil || !bytes.Equal(part, got[at:at+int64(len(part))]) {
				t.Errorf("the part at %d differs: %v", at, err)
			}
		}
	}
	check(2, want)
	check(1, sum(bytesToPCM(want)))
	if _, err := b.Open(t.Context(), key, b.Encrypts(), 3); err == nil {
		t.Error("three channels of two")
	}
	for range 2 {
		if err := b.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Open(t.Context(), key, b.Encrypts(), 1); !errors.Is(err, ErrGone) {
		t.Fatalf("after it was deleted: %v", err)
	}
}

func bytesToPCM(pcm []int16) []int16 { return append([]int16(nil), pcm...) }

func TestAnEncryptedRecordingShowsNothing(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := blobs(t, BlobConfig{URL: dir, Recipients: []string{id.Recipient().String()}})
	if err := b.Put(t.Context(), "k.wav", spooled(t, time.Second), 0, 8000); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "k.wav"))
	if err != nil || !strings.HasPrefix(string(raw), "age-encryption.org/v1") || bytes.Contains(raw, tone(time.Second, 440)[1000:1020]) {
		t.Errorf("what is stored is not encrypted: %v", err)
	}
	for name, ids := range map[string][]string{"no identity": nil, "another identity": {stranger.String()}} {
		if _, err := blobs(t, BlobConfig{URL: dir, Identities: ids}).Open(t.Context(), "k.wav", true, 1); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %v, want ErrSealed", name, err)
		}
	}
	if _, err := blobs(t, BlobConfig{URL: dir, Identities: []string{id.String()}}).Open(t.Context(), "k.wav", true, 1); err != nil {
		t.Error(err)
	}
}

func TestBlobConfigIsChecked(t *testing.T) {
	secret := "AGE-SECRET-KEY-1NOTONE"
	for _, cfg := range []BlobConfig{
		{URL: "ftp://x"}, {URL: t.TempDir(), Recipients: []string{"age1x"}}, {URL: t.TempDir(), Identities: []string{secret}}, {URL: "s3://b?nonsense=1"},
	} {
		if _, err := OpenBlobs(t.Context(), cfg); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestAPutThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	b := blobs(t, BlobConfig{URL: dir})
	res := spooled(t, time.Second)
	if err := b.Put(t.Context(), "AC1/k.wav", res, 0, res.Samples+100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("more than the spool has: %v", err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s stands", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
