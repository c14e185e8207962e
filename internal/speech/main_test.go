package speech

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/internal/audio"
)

// The test binary is also the speaking process: with childTestEnv it runs RunChild, or misbehaves as asked.
func TestMain(m *testing.M) {
	switch os.Getenv(childTestEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "run":
		if err := RunChild(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		badChild(os.Getenv(childTestEnv))
	}
}

// badChild is a speaking process with a fault.
func badChild(fault string) {
	kind, _, _ := readMessage(os.Stdin)
	if kind != kindHello {
		os.Exit(3)
	}
	switch fault {
	case "fails":
		_ = writeMessage(os.Stdout, kindFailed, []byte("no voice today"))
		return
	case "exits":
		fmt.Fprintln(os.Stderr, "exiting at once")
		return
	}
	_ = writeMessage(os.Stdout, kindReady, nil)
	for {
		kind, _, err := readMessage(os.Stdin)
		if err != nil || kind != kindSay {
			return
		}
		switch fault {
		case "crashes":
			os.Exit(2)
		case "stumbles":
			_ = writeMessage(os.Stdout, kindAudio, make([]byte, audio.FrameSamples))
			os.Exit(2)
		case "hangs":
			select {}
		case "lies":
			_ = writeMessage(os.Stdout, '?', nil)
		case "refuses":
			_ = writeMessage(os.Stdout, kindFailed, []byte("cannot say that"))
		}
	}
}
