package speech

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// fileMagic begins a cached file; four bytes of CRC-32C of the rest follow, then µ-law frames. Nothing is synced:
// a file torn by a power cut fails its checksum and is made anew.
const fileMagic = "OHU1"

const fileSuffix = ".ulaw"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// cacheKey names a spoken clause.
func cacheKey(engine, voice, text string) string {
	if engine == EngineBuiltin {
		engine += "/" + fliteVersion
	}
	sum := sha256.Sum256([]byte(engine + "\x00" + voice + "\x00" + text))
	return hex.EncodeToString(sum[:])
}

// A cache keeps spoken clauses: in memory as clips, on disk as files, each with a bound in bytes above
// which the least recently used go.
type cache struct {
	dir   string // "" without disk
	clock clock.Clock
	log   *slog.Logger

	mu   sync.Mutex
	clip map[string]*audio.Clip
	mem  *lru
	disk *lru

	scanned chan struct{} // closed when the files of earlier runs are known
}

// newCache opens dir, if any. A directory that cannot be used costs speed, not speech: it is logged and left alone.
func newCache(dir string, memBytes, diskBytes int64, clk clock.Clock, log *slog.Logger) *cache {
	c := &cache{
		clock: clk, log: log,
		clip: map[string]*audio.Clip{}, mem: newLRU(memBytes), disk: newLRU(diskBytes),
		scanned: make(chan struct{}),
	}
	if dir != "" {
		if err := os.MkdirAll(filepath.Join(dir, "clips"), 0o700); err != nil {
			log.Warn("spoken text is cached in memory only", "error", err)
		} else {
			c.dir = dir
		}
	}
	go c.scan()
	return c
}

func (c *cache) close() { <-c.scanned }

// compiled is the directory of compiled code, "" without disk.
func (c *cache) compiled() string {
	if c.dir == "" {
		return ""
	}
	return filepath.Join(c.dir, "compiled")
}

func (c *cache) file(key string) string { return filepath.Join(c.dir, "clips", key+fileSuffix) }

// scan learns the files of earlier runs, oldest first, and removes what is not ours to keep.
func (c *cache) scan() {
	defer close(c.scanned)
	if c.dir == "" {
		return
	}
	entries, err := os.ReadDir(filepath.Join(c.dir, "clips"))
	if err != nil {
		c.log.Warn("the speech cache cannot be listed", "error", err)
		return
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") { // left by a process that was killed
			_ = os.Remove(filepath.Join(c.dir, "clips", e.Name()))
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), fileSuffix) {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	var gone []string
	c.mu.Lock()
	for _, f := range files {
		if key := strings.TrimSuffix(f.Name(), fileSuffix); !c.disk.has(key) {
			gone = append(gone, c.disk.add(key, f.Size())...)
		}
	}
	c.mu.Unlock()
	c.removeFiles(gone)
}

// get is a cached clip or nil.
func (c *cache) get(key string) *audio.Clip {
	c.mu.Lock()
	clip := c.clip[key]
	if clip != nil {
		c.mem.touch(key)
	}
	c.mu.Unlock()
	if clip != nil || c.dir == "" {
		return clip
	}
	clip, err := readClip(c.file(key))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("a cached clip is dropped", "error", err)
			_ = os.Remove(c.file(key))
		}
		return nil
	}
	now := c.clock.Now()
	_ = os.Chtimes(c.file(key), now, now) // the order of use survives a restart
	c.mu.Lock()
	c.disk.touch(key)
	c.mu.Unlock()
	c.remember(key, clip)
	return clip
}

// remember keeps clip in memory.
func (c *cache) remember(key string, clip *audio.Clip) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clip[key] = clip
	for _, old := range c.mem.add(key, int64(len(clip.ULaw()))) {
		delete(c.clip, old)
	}
}

// store writes clip to disk.
func (c *cache) store(key string, clip *audio.Clip) {
	if c.dir == "" {
		return
	}
	size, err := writeClip(c.file(key), clip)
	if err != nil {
		c.log.Warn("a spoken clause is not cached on disk", "error", err)
		return
	}
	c.mu.Lock()
	gone := c.disk.add(key, size)
	c.mu.Unlock()
	c.removeFiles(gone)
}

func (c *cache) removeFiles(keys []string) {
	for _, key := range keys {
		_ = os.Remove(c.file(key)) // one that is gone already is as good
	}
}

func readClip(name string) (*audio.Clip, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	ulaw, ok := bytes.CutPrefix(b, []byte(fileMagic))
	if !ok || len(ulaw) < 4+audio.FrameSamples || (len(ulaw)-4)%audio.FrameSamples != 0 ||
		binary.BigEndian.Uint32(ulaw) != crc32.Checksum(ulaw[4:], castagnoli) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a whole clip")}
	}
	return audio.NewClip(ulaw[4:]), nil
}

func writeClip(name string, clip *audio.Clip) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "*.tmp")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	b := binary.BigEndian.AppendUint32([]byte(fileMagic), crc32.Checksum(clip.ULaw(), castagnoli))
	b = append(b, clip.ULaw()...)
	if _, err = f.Write(b); err != nil {
		_ = f.Close()
		return 0, err
	}
	if err = f.Close(); err != nil {
		return 0, err
	}
	return int64(len(b)), os.Rename(f.Name(), name)
}

// An lru keeps the order of use and the bytes of keys.
type lru struct {
	max, sum int64
	order    *list.List // of lruEntry, the latest in front
	at       map[string]*list.Element
}

type lruEntry struct {
	key  string
	size int64
}

func newLRU(maxBytes int64) *lru {
	return &lru{max: maxBytes, order: list.New(), at: map[string]*list.Element{}}
}

func (l *lru) has(key string) bool { return l.at[key] != nil }

func (l *lru) touch(key string) {
	if e := l.at[key]; e != nil {
		l.order.MoveToFront(e)
	}
}

// add makes key the latest and returns the keys that have to go for it, perhaps key itself.
func (l *lru) add(key string, size int64) (gone []string) {
	if e := l.at[key]; e != nil {
		l.sum -= e.Value.(lruEntry).size
		l.order.Remove(e)
	}
	l.at[key] = l.order.PushFront(lruEntry{key, size})
	for l.sum += size; l.sum > l.max; {
		e := l.order.Back()
		old := l.order.Remove(e).(lruEntry)
		delete(l.at, old.key)
		l.sum -= old.size
		gone = append(gone, old.key)
	}
	return gone
}
