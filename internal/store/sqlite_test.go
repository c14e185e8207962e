package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/store"
)

func TestASecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "offhook.db")
	s := open(t, path)
	_, err := store.Open(t.Context(), store.Config{DSN: path})
	want := fmt.Sprintf("%s is in use by process %d", path, os.Getpid())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("second open: %v, want: %s", err, want)
	}
	must(t, s.Ping(t.Context())) // the first one is unharmed
	must(t, s.Close())
	open(t, path)
}

func TestTheDatabaseIsForItsOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new folder", "with 100% ?#")
	s := open(t, filepath.Join(dir, "offhook.db"))
	must(t, s.Ping(t.Context()))
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) < 3 { // with its lock and its write-ahead log
		t.Errorf("files: %v", files)
	}
	for _, f := range files {
		if i, err := f.Info(); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", f.Name(), i.Mode())
		}
	}
}

func TestAnAddressThatIsNone(t *testing.T) {
	for _, dsn := range []string{"", ":memory:", "mysql://root@localhost/x", "postgres://127.0.0.1:x/", "postgres://127.0.0.1:1/x"} {
		if s, err := store.Open(t.Context(), store.Config{DSN: dsn}); err == nil {
			t.Errorf("%q was opened", dsn)
			_ = s.Close()
		}
	}
}

// crashChildEnv makes the test binary the process that is killed; it holds the folder of the database.
const crashChildEnv = "OFFHOOK_TEST_STORE_CRASH"

// crashChild creates calls from many goroutines for ever and says which ones were acknowledged.
func crashChild(dir string) {
	s, err := store.Open(context.Background(), store.Config{DSN: filepath.Join(dir, "offhook.db")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	for range 16 {
		go func() {
			for {
				c := newCall(morning)
				err := s.CreateCall(context.Background(), c, changeOf(c, 0, "queued", "https://app.example/"))
				if errors.Is(err, call.ErrUnavailable) { // the disk is busy: not acknowledged
					_ = clock.Sleep(context.Background(), clock.System, 10*time.Millisecond)
					continue
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(c.SID)
				out.Unlock()
			}
		}()
	}
	select {}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	for round := range 3 {
		dir := t.TempDir()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), crashChildEnv+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		var acknowledged []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if len(lines.Text()) != 34 {
				break // cut by the kill
			}
			acknowledged = append(acknowledged, lines.Text())
			if len(acknowledged) == 300+171*round {
				must(t, child.Process.Kill()) // SIGKILL, in the middle of some batch; then read the rest
			}
		}
		_ = child.Wait()
		if len(acknowledged) < 300 {
			t.Fatalf("the child created %d calls", len(acknowledged))
		}
		s := open(t, filepath.Join(dir, "offhook.db"))
		due, err := s.Due(t.Context(), morning, 1_000_000)
		must(t, err)
		callbacks := make(map[string]int)
		for _, cb := range due {
			callbacks[cb.CallSID]++
		}
		for _, sid := range acknowledged {
			if _, err := s.Call(t.Context(), account, sid); err != nil {
				t.Errorf("acknowledged call %s: %v", sid, err)
			}
			if events, err := s.Events(t.Context(), sid, -1); err != nil || len(events) != 1 || callbacks[sid] != 1 {
				t.Errorf("acknowledged call %s: %d events, %d callbacks, %v", sid, len(events), callbacks[sid], err)
			}
		}
		queued, err := s.Queued(t.Context(), call.Line{}, 1_000_000)
		must(t, err)
		if len(queued) != len(callbacks) {
			t.Errorf("%d calls but callbacks of %d: a change was torn", len(queued), len(callbacks))
		}
		t.Logf("killed after %d acknowledged creates; %d were stored", len(acknowledged), len(queued))
	}
}

// fullChildEnv makes the test binary a process whose files may not grow; it holds the database's folder.
const fullChildEnv = "OFFHOOK_TEST_STORE_FULL"

func TestAFullDiskIsUnavailableUntilThereIsRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the limit of file sizes that stands for a full disk is set on Linux only")
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), fullChildEnv+"="+t.TempDir())
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fullChild(dir string) {
	if err := fillDisk(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// fillDisk writes until the disk is full, makes room and expects the store to go on, with all it acknowledged.
func fillDisk(dir string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{DSN: filepath.Join(dir, "offhook.db")})
	if err != nil {
		return err
	}
	free, err := limitFiles(1 << 20)
	if err != nil {
		return err
	}
	var made []*call.Call
	for err == nil && len(made) < 10_000 {
		c := newCall(morning)
		if err = s.CreateCall(ctx, c, changeOf(c, 0, "queued", "")); err == nil {
			made = append(made, c)
		}
	}
	if !errors.Is(err, call.ErrUnavailable) {
		return fmt.Errorf("a full disk after %d calls: %w, want unavailable", len(made), err)
	}
	for range 3 {
		c := newCall(morning)
		if err := s.AddCall(ctx, c, call.Change{}); !errors.Is(err, call.ErrUnavailable) {
			return fmt.Errorf("the disk is still full: %w, want unavailable", err)
		}
	}
	for i := 0; s.Ping(ctx) == nil; i++ { // a ping is one page: the last ones may still fit
		if i == 100 {
			return errors.New("ping of a full disk succeeds")
		}
	}
	if _, err := s.Call(ctx, account, made[0].SID); err != nil {
		return fmt.Errorf("reading with a full disk: %w", err)
	}
	if err := free(); err != nil {
		return err
	}
	if err := s.Ping(ctx); err != nil {
		return fmt.Errorf("ping with room again: %w", err)
	}
	for range 1000 {
		c := newCall(morning)
		if err := s.CreateCall(ctx, c, changeOf(c, 0, "queued", "")); err != nil {
			return fmt.Errorf("create with room again: %w", err)
		}
		made = append(made, c)
	}
	queued, err := s.Queued(ctx, call.Line{}, 100_000)
	if err != nil {
		return err
	}
	if len(queued) != len(made) {
		return fmt.Errorf("%d calls, want the %d acknowledged", len(queued), len(made))
	}
	fmt.Printf("%d creates\n", len(made))
	return s.Close()
}
