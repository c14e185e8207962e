package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
)

func TestLostPostgreSQLConnectionsAreReplaced(t *testing.T) {
	address := postgresSchema(t)
	node := twilio.NewSID("ND")
	s, err := store.Open(t.Context(), store.Config{DSN: address, Node: node})
	must(t, err)
	defer s.Close()
	admin, err := sql.Open("pgx", address)
	must(t, err)
	defer admin.Close()
	for range 3 {
		c := create(t, s, newCall(morning))
		_, err := s.Call(t.Context(), account, c.SID)
		must(t, err)
		var n int
		const terminate = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = $1"
		must(t, admin.QueryRowContext(t.Context(), terminate, "offhook "+node).Scan(&n))
		if n == 0 {
			t.Fatal("the store has no connection to lose")
		}
		// Nobody notices: the connections died between two statements.
		create(t, s, newCall(morning))
		_, err = s.Call(t.Context(), account, c.SID)
		must(t, err)
	}
}

func TestAPostgreSQLThatIsAwayIsUnavailableUntilItIsBack(t *testing.T) {
	address := postgresSchema(t)
	u, err := url.Parse(address)
	must(t, err)
	relay := newRelay(t, u.Host)
	u.Host = relay.addr
	s := open(t, u.String())
	c := create(t, s, newCall(morning))
	for range 2 {
		relay.cut()
		c := newCall(morning)
		for name, err := range map[string]error{
			"create": s.CreateCall(t.Context(), c, call.Change{}),
			"live":   s.AddNotification(t.Context(), call.Notification{SID: twilio.NewSID("NO")}),
			"ping":   s.Ping(t.Context()),
			"read":   second(s.Call(t.Context(), account, c.SID)),
		} {
			if !errors.Is(err, call.ErrUnavailable) {
				t.Errorf("%s without a database: %v, want unavailable", name, err)
			}
		}
		relay.restore(t)
		must(t, s.Ping(t.Context()))
		create(t, s, newCall(morning))
		_, err = s.Call(t.Context(), account, c.SID)
		if !errors.Is(err, call.ErrNotFound) {
			t.Errorf("the call that was refused: %v, want not found", err)
		}
	}
	_, err = s.Call(t.Context(), account, c.SID)
	must(t, err)
}

// A connection that is lost in the commit leaves open whether it happened; here it did. Nobody was told, so that
// a call, or that it was taken, must be gone, and the next state of a live call holds what was missed.
func TestACommitWhoseAnswerIsLost(t *testing.T) {
	u, err := url.Parse(postgresSchema(t))
	must(t, err)
	relay := newRelay(t, u.Host)
	u.Host = relay.addr
	s := open(t, u.String())
	lost := func(name string, write func() error) {
		t.Helper()
		relay.loses.Store(true)
		if err := write(); !errors.Is(err, call.ErrUnavailable) || relay.loses.Load() {
			t.Fatalf("%s: %v, want unavailable", name, err)
		}
	}
	events := func(c *call.Call) (names []string) {
		t.Helper()
		list, err := s.Events(t.Context(), c.SID, -1)
		must(t, err)
		for _, e := range list {
			names = append(names, e.Name)
		}
		return names
	}

	c := newCall(morning)
	lost("create", func() error { return s.CreateCall(t.Context(), c, changeOf(c, 0, "queued", "http://app/")) })
	must(t, s.Ping(t.Context()))
	if _, err := s.Call(t.Context(), account, c.SID); !errors.Is(err, call.ErrNotFound) || len(events(c)) > 0 {
		t.Errorf("the call that was refused: %v, %v; want not found", err, events(c))
	}

	c = newCall(morning)
	must(t, s.CreateCall(t.Context(), c, changeOf(c, 0, "queued", "http://app/")))
	mine := c.Clone()
	mine.Dialog = &call.Dialog{CallID: "x"}
	claim := func() error {
		return s.SaveCall(t.Context(), mine, call.Queued, changeOf(mine, 1, "ringing", "http://app/"))
	}
	lost("claim", claim)
	must(t, s.Ping(t.Context()))
	list, err := s.Queued(t.Context(), call.Line{}, 10)
	must(t, err)
	if len(list) != 1 || list[0].Dialog != nil || !slices.Equal(events(c), []string{"queued"}) {
		t.Errorf("the queue holds %v with %v; want the call as it was", list, events(c))
	}
	must(t, claim())

	now := changeOf(mine, 2, "completed", "http://app/")
	mine.Status, mine.EndedAt = call.Completed, morning
	end := func() error { return s.SaveCall(t.Context(), mine, call.Queued, now) }
	lost("end", end)
	must(t, s.Ping(t.Context()))
	must(t, end())
	if got := events(c); !slices.Equal(got, []string{"queued", "ringing", "completed"}) {
		t.Errorf("events %v", got)
	}
	due, err := s.Due(t.Context(), morning.AddDate(1, 0, 0), 10)
	must(t, err)
	if len(due) != 3 {
		t.Errorf("%d callbacks, want 3", len(due))
	}
}

func TestTwoNodesShareAPostgreSQL(t *testing.T) {
	address := postgresSchema(t)
	// Both start on the empty database at once: one migrates, the other waits.
	var nodes [2]*store.Store
	var opening sync.WaitGroup
	for i := range nodes {
		opening.Go(func() {
			s, err := store.Open(t.Context(), store.Config{DSN: address, Node: "node"})
			if err != nil {
				t.Error(err)
			}
			nodes[i] = s
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	a, b := nodes[0], nodes[1]
	defer a.Close()
	defer b.Close()
	if a.Epoch() == b.Epoch() {
		t.Errorf("both have epoch %d", a.Epoch())
	}
	c := create(t, a, newCall(morning))
	mine := c.Clone()
	must(t, b.SaveCall(t.Context(), mine, call.Queued, call.Change{}))
	if err := a.SaveCall(t.Context(), c, call.Queued, call.Change{}); !errors.Is(err, call.ErrConflict) {
		t.Errorf("both nodes took the call: %v", err)
	}
}

// relay is a TCP connection to a server that can be cut.
type relay struct {
	addr, to string
	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	running  sync.WaitGroup
	loses    atomic.Bool // the next word of a commit
}

func newRelay(t *testing.T, to string) *relay {
	r := &relay{addr: "127.0.0.1:0", to: to}
	r.restore(t)
	t.Cleanup(r.cut)
	return r
}

// restore listens, at the same address as before.
func (r *relay) restore(t *testing.T) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", r.addr)
	must(t, err)
	r.addr, r.listener = l.Addr().String(), l
	r.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.to)
			if err != nil {
				_ = c.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, c, up)
			r.mu.Unlock()
			for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
				r.running.Go(func() {
					r.copy(pair[0], pair[1], pair[0] == c)
					_ = pair[0].Close()
				})
			}
		}
	})
}

// copy hands on what src says to dst. The server's word that it has committed is lost when it shall be, and the
// connection with it.
func (r *relay) copy(dst, src net.Conn, server bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := src.Read(b)
		if err != nil || server && bytes.Contains(b[:n], []byte("COMMIT\x00")) && r.loses.CompareAndSwap(true, false) {
			return
		}
		if _, err := dst.Write(b[:n]); err != nil {
			return
		}
	}
}

// cut closes all connections and refuses new ones.
func (r *relay) cut() {
	_ = r.listener.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.running.Wait()
}
