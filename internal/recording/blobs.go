package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob" // s3://
	"gocloud.dev/gcerrors"
)

// ErrSealed refuses to read a recording that is encrypted to keys whose identities this server does not have.
var ErrSealed = errors.New("recording: it is encrypted, and this server has no identity that reads it")

// ErrGone says that there is no such blob.
var ErrGone = errors.New("recording: its file is gone")

// BlobConfig says where recordings are kept.
type BlobConfig struct {
	// URL is a folder, or s3://BUCKET with the options of gocloud.dev/blob/s3blob, such as
	// s3://calls?region=eu-central-1&prefix=offhook/ or, for other servers than Amazon's,
	// s3://calls?endpoint=https://minio.example:9000&use_path_style=true&region=any.
	URL string
	// Recipients are age public keys (age1…); with any, recordings are encrypted to all of them.
	Recipients []string
	// Identities are age secret keys (AGE-SECRET-KEY-1…) that read them.
	Identities []string
}

// Blobs keeps finished recordings: µ-law WAV files, encrypted or not. It is safe for concurrent use.
type Blobs struct {
	bucket     *blob.Bucket
	dir        string // of a folder; "" elsewhere
	recipients []age.Recipient
	identities []age.Identity
}

// OpenBlobs checks what can be checked without the network: a store that is away is no reason not to start.
func OpenBlobs(ctx context.Context, cfg BlobConfig) (*Blobs, error) {
	b := &Blobs{}
	for _, s := range cfg.Recipients {
		r, err := age.ParseX25519Recipient(s)
		if err != nil {
			return nil, fmt.Errorf("recording: recipient %s: want an age public key such as age1…: %w", s, err)
		}
		b.recipients = append(b.recipients, r)
	}
	for _, s := range cfg.Identities {
		i, err := age.ParseX25519Identity(s)
		if err != nil {
			return nil, errors.New("recording: an identity is no age secret key AGE-SECRET-KEY-1…") // and is not shown
		}
		b.identities = append(b.identities, i)
	}
	scheme, _, isURL := strings.Cut(cfg.URL, "://")
	var err error
	switch {
	case !isURL:
		b.dir = cfg.URL
		b.bucket, err = fileblob.OpenBucket(b.dir, &fileblob.Options{
			CreateDir: true, DirFileMode: 0o700, NoTempDir: true, Metadata: fileblob.MetadataDontWrite,
		})
	case scheme == "s3":
		b.bucket, err = openS3(ctx, cfg.URL)
	default:
		err = fmt.Errorf("want a folder or s3://BUCKET, not %s://", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("recording: open the store of recordings: %w", err)
	}
	return b, nil
}

func openS3(ctx context.Context, text string) (*blob.Bucket, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	if q.Get("endpoint") != "" {
		// Checksums in trailers, the default, are Amazon's own; others refuse or ignore them.
		for _, name := range []string{"request_checksum_calculation", "response_checksum_validation"} {
			if q.Get(name) == "" {
				q.Set(name, "when_required")
			}
		}
	}
	prefix := q.Get("prefix")
	q.Del("prefix")
	u.RawQuery = q.Encode()
	bucket, err := blob.OpenBucket(ctx, u.String())
	if err == nil && prefix != "" {
		bucket = blob.PrefixedBucket(bucket, prefix)
	}
	return bucket, err
}

// Close releases what the store holds.
func (b *Blobs) Close() error { return b.bucket.Close() }

// Encrypts reports whether what is put is encrypted.
func (b *Blobs) Encrypts() bool { return len(b.recipients) > 0 }

// Put copies the samples from…to of a spool into the blob key, replacing what is there. When it returns the blob
// stands: readers see all of it or none.
func (b *Blobs) Put(ctx context.Context, key string, r Result, from, to int64) (err error) {
	f, err := os.Open(r.Path)
	if err != nil {
		return fmt.Errorf("recording: read the spool: %w", err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "audio/x-wav", DisableContentTypeDetection: true})
	if err != nil {
		return fmt.Errorf("recording: put %s: %w", key, err)
	}
	if err := b.copy(w, f, r.Channels, from, to); err != nil {
		cancel() // or Close would make it stand
		return fmt.Errorf("recording: put %s: %w", key, errors.Join(err, ignoreCanceled(w.Close())))
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("recording: put %s: %w", key, err)
	}
	if b.dir != "" {
		if err := syncFile(b.dir, key); err != nil {
			return fmt.Errorf("recording: put %s: %w", key, err)
		}
	}
	return nil
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) || gcerrors.Code(err) == gcerrors.Canceled {
		return nil
	}
	return err
}

func (b *Blobs) copy(w io.Writer, f io.ReaderAt, channels int, from, to int64) error {
	if b.Encrypts() {
		sealed, err := age.Encrypt(w, b.recipients...)
		if err != nil {
			return err
		}
		if err := copyWAV(sealed, f, channels, from, to); err != nil {
			return err
		}
		return sealed.Close()
	}
	return copyWAV(w, f, channels, from, to)
}

func copyWAV(w io.Writer, f io.ReaderAt, channels int, from, to int64) error {
	if _, err := w.Write(spoolHeader(channels, to-from)); err != nil {
		return err
	}
	size := (to - from) * int64(channels)
	n, err := io.Copy(w, io.NewSectionReader(f, headerSize+from*int64(channels), size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// syncFile makes a file of a folder durable, and its name.
func syncFile(dir, key string) error {
	path := filepath.Join(dir, filepath.FromSlash(key))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = errors.Join(f.Sync(), f.Close())
	for parent := filepath.Dir(path); err == nil; parent = filepath.Dir(parent) {
		err = syncDir(parent)
		if parent == filepath.Clean(dir) {
			break
		}
	}
	return err
}

// Delete removes a blob. One that is not there is removed already.
func (b *Blobs) Delete(ctx context.Context, key string) error {
	if err := b.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("recording: delete %s: %w", key, err)
	}
	return nil
}

// window is how much of a blob is read at once: one request for 16 s of two channels.
const window = 256 << 10

// blobReader reads a blob by windows. It is for one goroutine.
type blobReader struct {
	ctx    context.Context
	bucket *blob.Bucket
	key    string
	size   int64
	at     int64 // of buf
	buf    []byte
}

// reader opens a blob; ErrGone when there is none.
func (b *Blobs) reader(ctx context.Context, key string) (*blobReader, error) {
	a, err := b.bucket.Attributes(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("%w: %s", ErrGone, key)
	}
	if err != nil {
		return nil, fmt.Errorf("recording: open %s: %w", key, err)
	}
	return &blobReader{ctx: ctx, bucket: b.bucket, key: key, size: a.Size}, nil
}

// ReadAt is io.ReaderAt's.
func (r *blobReader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= r.size {
			return n, io.EOF
		}
		if off < r.at || off >= r.at+int64(len(r.buf)) {
			if err := r.fill(off); err != nil {
				return n, err
			}
		}
		m := copy(p[n:], r.buf[off-r.at:])
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

func (r *blobReader) fill(off int64) error {
	length := min(window, r.size-off)
	rd, err := r.bucket.NewRangeReader(r.ctx, r.key, off, length, nil)
	if err != nil {
		return fmt.Errorf("recording: read %s: %w", r.key, err)
	}
	defer func() { _ = rd.Close() }() // what was read is whole or not
	if cap(r.buf) == 0 {
		r.buf = make([]byte, min(window, r.size))
	}
	r.buf, r.at = r.buf[:length], off
	if _, err := io.ReadFull(rd, r.buf); err != nil {
		r.buf = r.buf[:0]
		return fmt.Errorf("recording: read %s: %w", r.key, err)
	}
	return nil
}
