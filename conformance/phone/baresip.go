package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/offhook/offhook/internal/audio"
)

// baresipConfig is a phone without a sound card: it speaks a file and records what it hears.
const baresipConfig = `sip_listen 127.0.0.1:%[1]d
net_interface 127.0.0.1
rtp_ports %[3]d-%[4]d
audio_player aubridge,none
audio_source aufile,%[5]s/mouth.wav
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
snd_path %[5]s
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:%[2]d
`

// runBaresip answers one call and presses key when the first text was heard.
func runBaresip(ctx context.Context, dir string, port int, e *ear, key string) error {
	ctrlPort := port + 2 // TLS takes the one between
	silence := audio.EncodeWAV(make([]int16, int(patience.Seconds())*audio.SampleRate), audio.SampleRate)
	for name, text := range map[string]string{
		"config":   fmt.Sprintf(baresipConfig, port, ctrlPort, port+4, port+14, dir),
		"accounts": fmt.Sprintf("<sip:conformance@127.0.0.1:%d>;regint=0;answermode=manual\n", port),
		"contacts": "", "mouth.wav": string(silence),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	cmd, err := command(ctx, dir, "baresip", "-f", dir, "-v")
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ready, drained := make(chan struct{}), make(chan struct{})
	go func() { // to its end: a full pipe would stop baresip
		defer close(drained)
		for said := bufio.NewScanner(out); said.Scan(); {
			if strings.Contains(said.Text(), "baresip is ready.") {
				close(ready)
			}
		}
	}()
	defer func() {
		_ = cmd.Process.Kill() // it does not end with its call
		<-drained
		_ = cmd.Wait()
	}()
	select {
	case <-ready:
	case <-drained:
		return errors.New("baresip ended before it was ready")
	}
	ctrl, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", ctrlPort))
	if err != nil {
		return err
	}
	defer ctrl.Close()
	defer context.AfterFunc(ctx, func() { ctrl.Close() })()
	fmt.Printf("ready sip=127.0.0.1:%d\n", port)

	events := bufio.NewReader(ctrl)
	if err := reports(events, "CALL_INCOMING"); err != nil {
		return err
	}
	if err := do(ctrl, "accept", ""); err != nil {
		return err
	}
	rec := &recording{dir: dir, at: wavHeader}
	if err := until(ctx, "heard "+e.texts[0], func() bool { return e.take(rec.more()) }); err != nil {
		return err
	}
	if err := do(ctrl, "sndcode", key); err != nil {
		return err
	}
	if err := until(ctx, "heard "+e.texts[0], func() bool { return e.take(rec.more()) }); err != nil {
		return err
	}
	if err := reports(events, "CALL_CLOSED"); err != nil {
		return err
	}
	fmt.Println("ended")
	return nil
}

// do gives baresip a command: a netstring of JSON.
func do(ctrl io.Writer, command, params string) error {
	text, err := json.Marshal(map[string]string{"command": command, "params": params})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(ctrl, "%d:%s,", len(text), text)
	return err
}

// reports waits for the next event of a type; events are netstrings as well.
func reports(events *bufio.Reader, kind string) error {
	for {
		length, err := events.ReadString(':')
		if err != nil {
			return fmt.Errorf("baresip does not report %s: %w", kind, err)
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(length, ":"), 10, 16)
		if err != nil {
			return fmt.Errorf("baresip reports no netstring: %w", err)
		}
		text := make([]byte, n+1) // and its comma
		if _, err := io.ReadFull(events, text); err != nil {
			return fmt.Errorf("baresip does not report %s: %w", kind, err)
		}
		var event struct{ Type string }
		if json.Unmarshal(text[:n], &event) == nil && event.Type == kind {
			return nil
		}
	}
}

// A recording is the file in which baresip's sndfile module writes what it hears; the length in its header is
// written at its end only, so it is not looked at.
type recording struct {
	dir string
	at  int64 // read up to here, in bytes
}

const wavHeader = 44 // bytes before the samples

// more is what was recorded since the last time.
func (r *recording) more() []int16 {
	names, _ := filepath.Glob(filepath.Join(r.dir, "dump-*-dec.wav"))
	if len(names) == 0 {
		return nil
	}
	f, err := os.Open(names[0])
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, _ := io.ReadAll(io.NewSectionReader(f, r.at, 1<<20))
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	r.at += int64(2 * len(pcm))
	return pcm
}
