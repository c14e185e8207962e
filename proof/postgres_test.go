package proof

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// cluster is a PostgreSQL server of the test's own, which it may stop.
type cluster struct {
	t        *testing.T
	bin, dir string
	port     string
	made     int
}

// newCluster starts a server; it and its data are gone with the test. A server does not run as root: root
// starts it as the user postgres.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for _, dir := range [...]string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(dir + "/initdb")
		slices.Sort(found)
		if len(found) > 0 {
			c.bin = filepath.Dir(found[len(found)-1])
		}
	}
	if c.bin == "" {
		const hint = "no PostgreSQL server is installed: NOT proved on PostgreSQL; on Debian: apt-get install postgresql"
		if os.Getenv("CI") == "true" {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	base := t.TempDir()
	if os.Getuid() == 0 { // where the other user can get at it
		var err error
		if base, err = os.MkdirTemp("/tmp", "offhook-proof-postgres"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(base) })
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatalf("root needs a user named postgres to run the server as: %v", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(base, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	c.dir = filepath.Join(base, "data")
	c.must("initdb", "-U", "offhook", "--auth=trust", "--encoding=UTF8", "--no-sync")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, c.port, _ = net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	t.Cleanup(func() {
		c.thaw()
		_, _ = c.run("pg_ctl", "stop", "-m", "immediate")
	})
	c.start()
	return c
}

// run runs one of the server's programs on the data, as the user that owns it.
func (c *cluster) run(program string, args ...string) ([]byte, error) {
	args = append([]string{filepath.Join(c.bin, program), "-D", c.dir}, args...)
	if os.Getuid() == 0 {
		args = append([]string{"runuser", "-u", "postgres", "--"}, args...)
	}
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), args[0], args[1:]...) //nolint:gosec // ours
	cmd.Dir = "/"
	return cmd.CombinedOutput()
}

func (c *cluster) must(program string, args ...string) {
	c.t.Helper()
	if out, err := c.run(program, args...); err != nil {
		c.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (c *cluster) start() {
	c.t.Helper()
	c.must("pg_ctl", "start", "-w", "-t", "60", "-l", filepath.Join(filepath.Dir(c.dir), "log"),
		"-o", fmt.Sprintf("-h 127.0.0.1 -p %s -k %s", c.port, c.dir))
}

// stop is the end of a server that has no time to say goodbye.
func (c *cluster) stop() {
	c.t.Helper()
	c.must("pg_ctl", "stop", "-m", "immediate", "-w")
}

// database makes an empty one and returns its address.
func (c *cluster) database() string {
	c.t.Helper()
	address := func(name string) string {
		u := url.URL{Scheme: "postgres", User: url.User("offhook"), Host: "127.0.0.1:" + c.port, Path: name, RawQuery: "sslmode=disable"}
		return u.String()
	}
	db, err := sql.Open("pgx", address("postgres"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	c.made++
	name := fmt.Sprintf("proof%d", c.made)
	if _, err := db.ExecContext(c.t.Context(), "CREATE DATABASE "+name); err != nil {
		c.t.Fatal(err)
	}
	return address(name)
}

// processes are those of the server, the first one is the parent of the others.
func (c *cluster) processes() []int {
	text, err := os.ReadFile(filepath.Join(c.dir, "postmaster.pid"))
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return nil
	}
	all := []int{pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for child := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			all = append(all, n)
		}
	}
	return all
}
