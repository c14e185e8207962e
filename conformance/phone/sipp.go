package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"text/template"

	"github.com/offhook/offhook/internal/audio"
)

const (
	scenarios = "../../interop/testdata" // templates, which package interop plays too
	dtmfType  = 96                       // SIPp sends keys as this payload type whatever was offered, so it announces it
	// pressStep waits until the prompt is surely over: no message tells SIPp.
	pressStep = `<pause milliseconds="2000"/><nop><action><exec play_dtmf="%s"/></action></nop>`
)

// runSIPp plays the scenario that presses key, SIPp's own uas without one. SIPp returns the RTP it gets, and
// that is what the ear hears: SIPp was reached by it.
func runSIPp(ctx context.Context, dir string, port int, e *ear, key string) error {
	audioPort := port + 4
	args := []string{
		"-i", "127.0.0.1", "-p", strconv.Itoa(port), "-mi", "127.0.0.1", "-mp", strconv.Itoa(audioPort),
		"-cp", strconv.Itoa(port + 12), "-rtp_echo", "-m", "1", "-nostdin", "-skip_rlimit",
		"-trace_err", "-error_file", "errors.log", "-timeout", strconv.Itoa(int(patience.Seconds())), "-timeout_error",
	}
	if key == "" {
		args = append(args, "-sn", "uas")
	} else if err := render(filepath.Join(dir, "scenario.xml"), key); err != nil {
		return err
	} else {
		args = append(args, "-sf", "scenario.xml")
	}
	cmd, err := command(ctx, dir, "sipp", args...)
	if err != nil {
		return err
	}
	// A raw socket sees every UDP packet, and SIPp's play_dtmf needs one as well.
	raw, err := (&net.ListenConfig{}).ListenPacket(ctx, "ip4:udp", "127.0.0.1")
	if err != nil {
		return errMissing{fmt.Sprintf("raw sockets, for which one has to be root: %v", err)}
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		e.listen(raw, audioPort)
	}()
	defer func() {
		raw.Close()
		<-heard
	}()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := until(ctx, "listening", func() bool { return bound(port) && bound(audioPort) }); err != nil {
		return err
	}
	fmt.Printf("ready sip=127.0.0.1:%d\n", port)
	if err := <-ended; err != nil { // a message that the scenario does not expect, or none
		errs, _ := os.ReadFile(filepath.Join(dir, "errors.log"))
		return fmt.Errorf("sipp: %w\n%s", err, errs)
	}
	fmt.Println("ended")
	return nil
}

// render writes the scenario that presses key.
func render(name, key string) error {
	tmpl, err := template.ParseFiles(filepath.Join(scenarios, "parts.tmpl"), filepath.Join(scenarios, "answer.xml"))
	if err != nil {
		return err
	}
	var xml bytes.Buffer
	fields := map[string]any{"Port": "[media_port]", "Codec": 0, "Event": dtmfType, "Steps": fmt.Sprintf(pressStep, key)}
	if err := tmpl.ExecuteTemplate(&xml, "answer.xml", fields); err != nil {
		return err
	}
	return os.WriteFile(name, xml.Bytes(), 0o600)
}

// listen hears the µ-law audio that leaves a port, until raw is closed.
func (e *ear) listen(raw net.PacketConn, port int) {
	const udpHeader, rtpHeader, typePCMU = 8, 12, 0 // RFC 768, RFC 3550 section 5.1
	p := make([]byte, 2048)
	for {
		n, _, err := raw.ReadFrom(p) // without the IP header
		if err != nil {
			return
		}
		if n > udpHeader+rtpHeader && int(binary.BigEndian.Uint16(p)) == port && p[udpHeader] == 0x80 && p[udpHeader+1]&0x7f == typePCMU {
			e.take(audio.DecodeULaw(p[udpHeader+rtpHeader : n]))
		}
	}
}

// bound says whether a program has bound a UDP port.
func bound(port int) bool {
	table, err := os.ReadFile("/proc/net/udp")
	return err != nil || bytes.Contains(table, fmt.Appendf(nil, ":%04X ", port)) // elsewhere than on Linux, INVITEs are repeated
}
