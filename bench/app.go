//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// app is the customer's web application: the documents and prompts that the workloads ask for.
type app struct {
	url    string
	server *http.Server
	done   chan struct{}

	mu    sync.Mutex
	pages map[string]http.HandlerFunc
}

// Documents of the standing workloads, and the marks of the prompts.
const (
	waitDocument = `<Response><Gather timeout="3600"/></Response>` // <Pause> would put the answer off
	loopDocument = `<Response><Play loop="0">/long.wav</Play></Response>`

	longMark   = 0x90
	firstMark  = 0xa0
	secondMark = 0xb0
)

func startApp() (*app, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &app{url: "http://" + l.Addr().String(), done: make(chan struct{}), pages: make(map[string]http.HandlerFunc)}
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	a.document("/wait", waitDocument)
	a.document("/loop", loopDocument)
	a.sound("/long.wav", prompt(30*time.Second, longMark))
	a.sound("/first.wav", prompt(10*time.Second, firstMark))
	a.sound("/second.wav", prompt(10*time.Second, secondMark))
	go func() {
		defer close(a.done)
		if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return a, nil
}

func (a *app) close() {
	_ = a.server.Close()
	<-a.done
}

func (a *app) on(path string, f http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages[path] = f
}

func (a *app) document(path, twiml string) {
	b := []byte(twiml)
	a.on(path, func(w http.ResponseWriter, _ *http.Request) { writeDocument(w, b) })
}

func writeDocument(w http.ResponseWriter, twiml []byte) {
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write(twiml)
}

func (a *app) sound(path string, file []byte) {
	a.on(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/wav")
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = w.Write(file)
	})
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	f := a.pages[r.URL.Path]
	a.mu.Unlock()
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f(w, r)
}
