package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/recording"
	"github.com/offhook/offhook/internal/session"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twilioapi"
	"github.com/offhook/offhook/internal/webhook"
)

// maxListeners bounds the recordings that are read at once: each holds a quarter of a megabyte.
const maxListeners = 128

// openRecordings opens where recordings are spooled and kept, and takes up what the last run left. What needs a
// call of that run to be settled first is tried again until it is.
func (s *Server) openRecordings(ctx context.Context) (err error) {
	where := s.cfg.Recordings
	if where == "" {
		where = filepath.Join(s.cfg.Data, "recordings")
	}
	identities, err := readIdentities(s.cfg.RecordingsIdentity)
	if err != nil {
		return fmt.Errorf("--recordings-identity: %w", err)
	}
	s.blobs, err = recording.OpenBlobs(ctx, recording.BlobConfig{
		URL: where, Recipients: s.cfg.RecordingsEncrypt, Identities: identities,
	})
	if err != nil {
		return fmt.Errorf("--recordings: %w", err)
	}
	s.opened(func() {
		if err := s.blobs.Close(); err != nil {
			s.log.Warn("recordings not closed", "err", err)
		}
	})
	dir := filepath.Join(s.cfg.Data, "spool")
	s.keeper = recording.NewKeeper(recording.KeeperConfig{
		Dir: dir, Blobs: s.blobs, Ledger: s.store, Settler: s.manager,
		Keep: time.Duration(s.cfg.RecordingsKeep) * 24 * time.Hour, Clock: s.cfg.Clock, Log: s.log,
	})
	s.opened(s.keeper.Close)
	if err := s.keeper.Start(ctx); err != nil {
		return err
	}
	s.audio = &recordedAudio{blobs: s.blobs, mp3: recording.NewMP3(""), listeners: make(chan struct{}, maxListeners)}
	s.recorder, err = recording.New(recording.Config{Dir: dir, Clock: s.cfg.Clock, Log: s.log})
	if err != nil {
		return err
	}
	s.opened(s.recorder.Close)
	return nil
}

// openSamples is where the first seconds of calls are kept whose machines are to be detected; nil: they are not.
func (s *Server) openSamples() (session.SampleKeeper, error) {
	if s.cfg.AMDKeep == 0 {
		return nil, nil //nolint:nilnil // none is wanted
	}
	samples, err := recording.NewSamples(filepath.Join(s.cfg.Data, "amd"), s.cfg.AMDKeep, s.log)
	if err != nil {
		return nil, fmt.Errorf("--amd-keep: %w", err)
	}
	return samples, nil
}

// readIdentities reads a file of age identities, one a line, with comments, as age-keygen writes it.
func readIdentities(file string) (list []string, err error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list, nil
}

// spool gives session the recorder and the keeper, which are made behind the manager and before its calls.
type spool struct{ s *Server }

func (p spool) Start(spec recording.Spec) (*recording.Writer, error) { return p.s.recorder.Start(spec) }
func (p spool) Keep(r *call.Recording)                               { p.s.keeper.Keep(r) }
func (p spool) Abandon(sid string)                                   { p.s.keeper.Abandon(sid) }
func (p spool) Erase()                                               { p.s.keeper.Erase() }

// Here is session.Recorded's: the server's own address, or where others reach it, which may be below a path.
func (p spool) Here(u *url.URL) (path string, ok bool) {
	for _, text := range []string{p.s.baseURL(), p.s.URL()} {
		own, err := url.Parse(text)
		if err != nil || u.Scheme != own.Scheme || !strings.EqualFold(u.Host, own.Host) {
			continue
		}
		if path, ok = strings.CutPrefix(u.Path, own.Path); ok {
			return path, true
		}
	}
	return "", false
}

// Clip is session.Recorded's.
func (p spool) Clip(ctx context.Context, r *call.Recording) (*audio.Clip, error) {
	if r.Status != call.RecordingCompleted {
		return nil, call.ErrNotFound
	}
	wav, err := p.s.audio.Open(ctx, r, twilioapi.FormatWAV, 1)
	if err != nil {
		return nil, err
	}
	defer wav.Close()
	file, err := io.ReadAll(io.LimitReader(wav, webhook.MaxMedia+1))
	if err != nil {
		return nil, err
	}
	if len(file) > webhook.MaxMedia {
		return nil, twilio.Err(11750, r.SID)
	}
	return audio.Decode("audio/wav", file)
}

// baseURL is where others reach our APIs.
func (s *Server) baseURL() string {
	if s.cfg.PublicURL != "" {
		return strings.TrimSuffix(s.cfg.PublicURL, "/")
	}
	return s.URL()
}

// recordings is what twilioapi needs of them.
func (s *Server) recordings() twilioapi.Recordings {
	return twilioapi.Recordings{
		Recorder: s.manager, Store: s.store, Public: s.cfg.PublicRecordings,
		Audio: s.audio,
	}
}

// recordedAudio opens recordings for the API and for <Play>.
type recordedAudio struct {
	blobs     *recording.Blobs
	mp3       *recording.MP3
	listeners chan struct{}
}

// Open is twilioapi.Audio's.
func (a *recordedAudio) Open(ctx context.Context, r *call.Recording, format string, channels int) (io.ReadSeekCloser, error) {
	select {
	case a.listeners <- struct{}{}:
	default:
		return nil, twilio.Errf(20429, "Too many recordings are being downloaded, try again")
	}
	done := func() { <-a.listeners }
	if format == twilioapi.FormatMP3 && !a.mp3.Available() {
		done()
		return nil, audioError(recording.ErrNoEncoder)
	}
	media, err := a.blobs.Open(ctx, r.Key, r.Encrypted, channels)
	if err != nil {
		done()
		return nil, audioError(err)
	}
	if format != twilioapi.FormatMP3 {
		return opened{media, done}, nil
	}
	data, err := a.mp3.Encode(ctx, fmt.Sprint(r.SID, "/", channels), media)
	if err != nil {
		done()
		return nil, audioError(err)
	}
	return opened{bytes.NewReader(data), done}, nil
}

// opened gives its listener's place back.
type opened struct {
	io.ReadSeeker
	done func()
}

func (o opened) Close() error {
	o.done()
	return nil
}

// audioError is what a customer is told.
func audioError(err error) error {
	refusal := func(status int, text string) error {
		e := twilio.Errf(20001, "%s", text).With(err)
		e.Status = status
		return e
	}
	switch {
	case errors.Is(err, recording.ErrGone):
		return call.ErrNotFound
	case errors.Is(err, recording.ErrNoEncoder):
		return refusal(501, "MP3 is not available on this server, which has no encoder: install lame there, or ask for .wav")
	case errors.Is(err, recording.ErrTooLong):
		return refusal(400, "The recording is too long for MP3: ask for .wav")
	case errors.Is(err, recording.ErrSealed):
		return refusal(403, "The recording is encrypted, and this server has no identity that reads it")
	}
	return err
}
