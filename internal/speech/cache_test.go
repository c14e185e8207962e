package speech

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

func TestCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	c := testCache(t, "", 3*8000, 0)
	second := audio.Silence(time.Second)
	for _, key := range []string{"a", "b", "c"} {
		c.remember(key, second)
	}
	c.get("a")
	c.remember("d", second)
	for key, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if got := c.get(key) != nil; got != want {
			t.Errorf("%s: kept %v, want %v", key, got, want)
		}
	}
	c.remember("huge", audio.Silence(time.Minute))
	if c.get("huge") != nil || c.mem.sum > c.mem.max {
		t.Errorf("a clip over the bound was kept: %d bytes", c.mem.sum)
	}
}

func TestCacheOnDiskOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	clip := testClause("Hello")
	size := int64(len(clip.ULaw()) + 8)
	c := testCache(t, dir, 1<<20, 3*size)
	for i := range 4 {
		c.store(fmt.Sprint("key", i), clip)
		stamp := time.Unix(int64(1000+i), 0)
		_ = os.Chtimes(c.file(fmt.Sprint("key", i)), stamp, stamp)
	}
	write(t, filepath.Join(dir, "clips", "half.tmp"), []byte("x"), 0o600)

	c = testCache(t, dir, 1<<20, 3*size)
	if c.disk.sum != 3*size {
		t.Errorf("%d bytes found, want %d", c.disk.sum, 3*size)
	}
	if c.get("key0") != nil {
		t.Error("the oldest is still there")
	}
	if got := c.get("key1"); got == nil || !bytes.Equal(got.ULaw(), clip.ULaw()) {
		t.Error("key1 is not what was stored")
	}
	c.store("key4", clip) // key1 was used, so key2 goes
	c = testCache(t, dir, 1<<20, 3*size)
	if c.get("key2") != nil || c.get("key1") == nil || c.get("key4") == nil {
		t.Error("not the least recently used one went")
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "clips")); len(files) != 3 {
		t.Errorf("%d files, want 3", len(files))
	}
}

func TestCacheDropsTornFiles(t *testing.T) {
	c := testCache(t, t.TempDir(), 1<<20, 1<<20)
	c.store("whole", testClause("Hello"))
	whole, _ := os.ReadFile(c.file("whole"))
	flipped := bytes.Clone(whole)
	flipped[100] ^= 1
	for name, b := range map[string][]byte{"empty": nil, "short": whole[:10], "cut": whole[:len(whole)-160], "flipped": flipped} {
		write(t, c.file(name), b, 0o600)
		if c.get(name) != nil {
			t.Errorf("%s: taken", name)
		}
		if _, err := os.Stat(c.file(name)); err == nil {
			t.Errorf("%s: left on disk", name)
		}
	}
	if c.get("whole") == nil {
		t.Error("the whole one was dropped too")
	}
}

func TestCacheWithoutAUsableDirectoryStaysInMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil, 0o600)
	c := testCache(t, file, 1<<20, 1<<20)
	c.store("a", testClause("Hello"))
	c.remember("a", testClause("Hello"))
	if c.get("a") == nil || c.compiled() != "" {
		t.Error("nothing is cached")
	}
}

func TestCacheKeysTellEverythingApart(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range [][3]string{{"flite", "slt", "a"}, {"flite", "slt", "b"}, {"flite", "rms", "a"}, {"builtin", "slt", "a"}, {"flite", "slta", ""}} {
		seen[cacheKey(k[0], k[1], k[2])] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d keys for 5 clauses", len(seen))
	}
}

func testCache(t *testing.T, dir string, mem, disk int64) *cache {
	t.Helper()
	c := newCache(dir, mem, disk, clock.System, slog.New(slog.DiscardHandler))
	c.close()
	return c
}
