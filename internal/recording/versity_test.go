package recording

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// versity starts Versity's S3 gateway, a server of its own that checks signatures and checksums, on a folder, and
// returns the URL of its bucket. `make proof` builds it.
func versity(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("versitygw")
	if err != nil {
		t.Skip("NOT TESTED: no versitygw in PATH; `make proof` builds one")
	}
	dir := t.TempDir()
	for _, d := range []string{"store/calls", "meta"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--port", addr, "--access", "key", "--secret", "secret", "--region", "us-east-1", "--health", "/health",
		"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "store"))
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	client := http.Client{Timeout: time.Second}
	for limit := clock.System.Now().Add(20 * time.Second); ; {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			break
		}
		if clock.System.Now().After(limit) {
			t.Fatal("versitygw is not ready")
		}
		_ = clock.Sleep(t.Context(), clock.System, 50*time.Millisecond)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	return "s3://calls?region=us-east-1&use_path_style=true&prefix=rec/&endpoint=http://" + addr
}
