package phone

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	maxRecording  = 10 * 60 * sampleRate // samples of one file
	maxRecordings = 100                  // files of one number, the oldest go first
	maxRecorded   = 1000                 // numbers
)

// newRecording creates dir/number/time-id.wav and makes room for it.
func newRecording(dir, number, id string, at time.Time) (*wavWriter, string, error) {
	top := dir
	dir = filepath.Join(top, fileName(number, "unknown"))
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if entries, err := os.ReadDir(top); err == nil && len(entries) >= maxRecorded {
			return nil, "", fmt.Errorf("phone: cannot record %s: %s has recordings of %d numbers; delete some", number, top, len(entries))
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("phone: cannot record: %w", err)
	}
	if err := prune(dir, maxRecordings-1); err != nil {
		return nil, "", fmt.Errorf("phone: cannot delete old recordings: %w", err)
	}
	path := filepath.Join(dir, at.UTC().Format("20060102T150405.000Z")+"-"+fileName(id, "call")+".wav")
	w, err := createWAV(path, maxRecording)
	return w, path, err
}

// prune deletes the oldest recordings in dir until keep are left. Names begin with the time, so
// their order is that of age.
func prune(dir string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if _, err := time.Parse("20060102T150405.000Z", before(e.Name(), "-")); err == nil && strings.HasSuffix(e.Name(), ".wav") {
			names = append(names, e.Name())
		}
	}
	for ; len(names) > keep; names = names[1:] {
		err = errors.Join(err, os.Remove(filepath.Join(dir, names[0])))
	}
	return err
}

func before(s, sep string) string {
	s, _, _ = strings.Cut(s, sep)
	return s
}

// fileName makes what came over the network safe as the name of one file.
func fileName(s, empty string) string {
	s = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '+' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, s)
	if s == "" {
		return empty
	}
	return s[:min(len(s), 60)]
}
