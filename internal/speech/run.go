package speech

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// The wasm file's 20 MB of data are in memory once, and again for the instance that speaks: given back to the system when
// nothing has been spoken for a while.
const (
	gcPercent = 25
	idleTime  = 2 * time.Second
)

// RunChild is the main of a speaking process: it reads messages from in and answers on out until in ends, which it
// does when the parent is gone. A clause it is speaking then is left to die with the process.
func RunChild(ctx context.Context, in io.Reader, out io.Writer) error {
	beNice()
	debug.SetGCPercent(gcPercent)
	r := bufio.NewReader(in)
	kind, body, err := readMessage(r)
	if err != nil {
		return fmt.Errorf("speech worker: this command is started by offhook itself: %w", err)
	}
	var h hello
	if kind != kindHello || json.Unmarshal(body, &h) != nil {
		return errors.New("speech worker: the first message is not hello")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan request)
	ended := make(chan error, 1)
	go func() { ended <- readRequests(ctx, r, requests) }()
	finished := make(chan error, 1)
	go func() { finished <- answerRequests(ctx, h, requests, out) }()
	select {
	case err := <-ended:
		return err
	case err := <-finished:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readRequests returns when the parent is gone, even while a clause is being spoken.
func readRequests(ctx context.Context, r io.Reader, requests chan<- request) error {
	for {
		kind, body, err := readMessage(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var req request
		if kind != kindSay {
			return fmt.Errorf("speech worker: message of kind %q", kind)
		}
		if err := json.Unmarshal(body, &req); err != nil {
			return fmt.Errorf("speech worker: %w", err)
		}
		select {
		case requests <- req:
		case <-ctx.Done():
			return nil
		}
	}
}

func answerRequests(ctx context.Context, h hello, requests <-chan request, out io.Writer) error {
	engines := &engines{cacheDir: h.CacheDir, clock: clock.System}
	if err := engines.warm(ctx, h.Engine); err != nil {
		return writeMessage(out, kindFailed, []byte(err.Error()))
	}
	if err := writeMessage(out, kindReady, nil); err != nil {
		return err
	}
	idle := clock.System.NewTimer(idleTime)
	defer idle.Stop()
	for {
		select {
		case <-idle.C():
			engines.rest()
			debug.FreeOSMemory()
		case req := <-requests:
			var gone error // the parent
			err := engines.speak(ctx, req, newPieces(clock.System, func(ulaw []byte) error {
				gone = writeMessage(out, kindAudio, ulaw)
				return gone
			}))
			switch {
			case gone != nil:
				return gone
			case err != nil:
				err = writeMessage(out, kindFailed, []byte(err.Error()))
			default:
				err = writeMessage(out, kindEnd, nil)
			}
			if err != nil {
				return err
			}
			idle.Reset(idleTime)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
