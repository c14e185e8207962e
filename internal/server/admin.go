package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// openAdmin listens for operators: metrics and profiles. It closes after the APIs, so that a drain can be
// watched.
func (s *Server) openAdmin(ctx context.Context) error {
	if s.cfg.Admin == "" {
		return nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Admin)
	if err != nil {
		return fmt.Errorf("--admin: %w", err)
	}
	s.admin = ln.Addr()
	if l := (listener{"--admin", ln.Addr().String(), ""}); !l.loopback() {
		s.log.Warn("--admin can be reached from other machines: it asks nobody for a password, and profiles show what is in memory",
			"admin", s.admin.String())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout:   5 * time.Minute, // the longest profile
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("--admin: %w", err))
		}
	}()
	s.opened(func() {
		_ = srv.Close() // a profile under way is of no use any more
		<-done
	})
	s.log.Info("administration", "admin", "http://"+s.admin.String())
	return nil
}

// AdminAddr is the address of --admin as bound, "" without one.
func (s *Server) AdminAddr() string {
	if s.admin == nil {
		return ""
	}
	return s.admin.String()
}
