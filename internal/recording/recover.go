package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// spoolSuffix is the end of a spool's name, behind its SID: a spool is a WAV file.
const spoolSuffix = ".wav"

// Spooled is a recording that an earlier process left.
type Spooled struct {
	SID      string
	Path     string
	Channels int
	Samples  int64     // of each channel; 0 when it had just begun
	Modified time.Time // about when its last sample was written
}

// Result is what its process would have had from Stop.
func (s Spooled) Result() Result {
	return Result{SID: s.SID, Path: s.Path, Channels: s.Channels, Samples: s.Samples}
}

// Recover lists the spools in dir, and makes their headers right: the process may have died between the audio and
// the header. No recorder may run on dir. A folder that is not there has none.
func Recover(dir string) ([]Spooled, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("recording: read the spool: %w", err)
	}
	var list []Spooled
	var failed error
	for _, e := range entries {
		sid, ok := strings.CutSuffix(e.Name(), spoolSuffix)
		if !ok || !e.Type().IsRegular() {
			continue
		}
		s, err := recoverOne(filepath.Join(dir, e.Name()))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("recording: recover %s: %w", e.Name(), err))
			continue
		}
		s.SID = sid
		list = append(list, s)
	}
	return list, failed
}

func recoverOne(path string) (Spooled, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return Spooled{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Spooled{}, err
	}
	s := Spooled{Path: path, Channels: 1, Modified: info.ModTime()}
	header := make([]byte, headerSize)
	switch _, err := io.ReadFull(f, header); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		_, err := f.WriteAt(spoolHeader(1, 0), 0) // it had just begun
		return s, err
	case err != nil:
		return Spooled{}, err
	}
	if s.Channels, err = spoolChannels(header); err != nil {
		return Spooled{}, err
	}
	s.Samples = (info.Size() - headerSize) / int64(s.Channels)
	if _, err := f.WriteAt(spoolHeader(s.Channels, s.Samples), 0); err != nil {
		return Spooled{}, err
	}
	if err := f.Truncate(headerSize + s.Samples*int64(s.Channels)); err != nil { // half a sample
		return Spooled{}, err
	}
	return s, f.Sync()
}
