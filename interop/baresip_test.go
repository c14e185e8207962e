package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/offhooktest"
)

// baresipConfig is a phone without a sound card: it speaks a file and writes what it hears to another.
const baresipConfig = `sip_listen 127.0.0.1:%d
net_interface 127.0.0.1
rtp_ports 30000-32000
audio_player aubridge,none
audio_source aufile,%[3]s/mouth.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
snd_path %[3]s
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:%[2]d
`

// A baresip is a softphone that the test operates.
type baresip struct {
	*peer
	tapes
	port int
	ctrl net.Conn

	mu     sync.Mutex
	events []baresipEvent
	wake   chan struct{}
}

// baresipEvent is what ctrl_tcp reports.
type baresipEvent struct {
	Type  string `json:"type"`
	Param string `json:"param"`
}

// phone starts baresip with these parameters of its account, such as answermode=auto.
func phone(t *testing.T, params ...string) *baresip {
	t.Helper()
	port := freePort(t)
	return softphone(t, port, "", fmt.Sprintf("<sip:bob@127.0.0.1:%d>;regint=0;%s", port, strings.Join(params, ";")))
}

// softphone starts baresip at a port with an account, saying one thing in the test voice again and again.
func softphone(t *testing.T, port int, says, account string, config ...string) *baresip {
	t.Helper()
	need(t, "baresip")
	dir := t.TempDir()
	ctrl := port + 2 // TLS takes the one between
	for name, text := range map[string]string{
		"config": strings.Join(append(config, fmt.Sprintf(baresipConfig, port, ctrl, dir)), "\n"), "accounts": account + "\n", "contacts": "",
		"mouth.wav": string(mouth(says)),
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	b := &baresip{
		port: port, wake: make(chan struct{}), tapes: tapes{pattern: filepath.Join(dir, "dump-*-dec.wav")},
		peer: start(t, dir, "baresip", "-f", dir, "-v", "-s"),
	}
	b.says("baresip is ready.")
	var err error
	b.ctrl, err = dial(t.Context(), fmt.Sprintf("127.0.0.1:%d", ctrl))
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(bufio.NewReader(b.ctrl))
	}()
	t.Cleanup(func() {
		b.ctrl.Close()
		<-done
	})
	return b
}

// mouth is a minute of a text in the test voice, each second of silence apart; "" is silence.
func mouth(text string) []byte {
	pcm := make([]int16, 0, 60*audio.SampleRate)
	for len(pcm) < 60*audio.SampleRate {
		if text != "" {
			pcm = append(pcm, speech.TestVoice(text).PCM()...)
		}
		pcm = append(pcm, make([]int16, audio.SampleRate)...)
	}
	return audio.EncodeWAV(pcm, audio.SampleRate)
}

// read takes netstrings of JSON until the connection ends.
func (b *baresip) read(r *bufio.Reader) {
	for {
		length, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
		if err != nil || n > 1<<20 {
			return
		}
		text := make([]byte, n+1) // and its comma
		if _, err := io.ReadFull(r, text); err != nil {
			return
		}
		var e baresipEvent
		if json.Unmarshal(text[:n], &e) != nil || e.Type == "" {
			continue
		}
		b.mu.Lock()
		b.events = append(b.events, e)
		close(b.wake)
		b.wake = make(chan struct{})
		b.mu.Unlock()
	}
}

// do gives a command, such as dial with a URI.
func (b *baresip) do(command, params string) {
	b.t.Helper()
	text, err := json.Marshal(map[string]string{"command": command, "params": params})
	check(b.t, err)
	_, err = fmt.Fprintf(b.ctrl, "%d:%s,", len(text), text)
	check(b.t, err)
}

// reports waits for the next event of that type.
func (b *baresip) reports(kind string) baresipEvent {
	b.t.Helper()
	late := after(offhooktest.Patience)
	for {
		b.mu.Lock()
		for i, e := range b.events {
			if e.Type == kind {
				b.events = b.events[i+1:]
				b.mu.Unlock()
				return e
			}
		}
		events, wake := b.events, b.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-late:
			b.t.Fatalf("baresip does not report %s; it reports %v", kind, events)
		}
	}
}

// uri is where baresip is called.
func (b *baresip) uri() string { return fmt.Sprintf("sip:bob@127.0.0.1:%d", b.port) }

// hears waits until the test voice has spoken text in any call, since the last forget.
func (b *baresip) hears(text string) {
	b.t.Helper()
	b.waitFor("baresip heard "+text, func() bool { return b.heard(text) })
}

// longer waits until baresip has recorded d more.
func (b *baresip) longer(d time.Duration) {
	b.t.Helper()
	want := b.samples() + int(d*audio.SampleRate/time.Second)
	b.waitFor("baresip records", func() bool { return b.samples() >= want })
}

// connections is how many baresip has used of a transport, by its trace of the messages.
func (b *baresip) connections(transport string) int {
	route := regexp.MustCompile(strings.ToUpper(transport) + ` (\S+) -> (\S+)`)
	ends := map[string]bool{}
	for _, m := range route.FindAllStringSubmatch(b.out.String(), -1) {
		ends[min(m[1], m[2])+" "+max(m[1], m[2])] = true
	}
	return len(ends)
}

// press presses a key.
func (b *baresip) press(key string) { b.do("sndcode", key) }

// holdFor is longer than baresip takes to say one thing and pause.
const holdFor = 2500 * time.Millisecond

// pauses waits until nothing was recorded for a while.
func (b *baresip) pauses() {
	b.t.Helper()
	last, same := -1, 0
	b.waitFor("silence at baresip", func() bool {
		if n := b.samples(); n == last {
			same++
		} else {
			last, same = n, 0
		}
		return same > 100 // × pollEvery
	})
}
