//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const clockTick = 100 // of utime and stime a second: USER_HZ, the same on every 64-bit Linux

// procStat is what /proc/PID/stat says of a process.
type procStat struct {
	parent int
	cpu    float64 // seconds, user and system, of all its threads
}

func parseStat(b []byte) (s procStat, err error) {
	_, rest, ok := bytes.Cut(b, []byte(") ")) // the name may hold blanks, and no ") " of ours
	f := strings.Fields(string(rest))
	if !ok || len(f) < 13 {
		return s, fmt.Errorf("no process status: %q", b)
	}
	s.parent, _ = strconv.Atoi(f[1])
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		return s, fmt.Errorf("no process times: %q", b)
	}
	s.cpu = float64(user+system) / clockTick
	return s, nil
}

func statOf(pid int) procStat {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}
	}
	s, _ := parseStat(b)
	return s
}

// childrenCPU is what the direct children of pid used.
func childrenCPU(pid int) (cpu float64) {
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, n := range names {
		child, _ := strconv.Atoi(filepath.Base(n))
		if s := statOf(child); s.parent == pid {
			cpu += s.cpu
		}
	}
	return cpu
}

// resident is the memory of a process in MiB.
func resident(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return field(b, "VmRSS:") / 1024
}

// field is the first number behind a name in a file such as /proc/meminfo.
func field(b []byte, name string) float64 {
	_, rest, _ := bytes.Cut(b, []byte(name))
	if f := bytes.Fields(rest); len(f) > 0 {
		v, _ := strconv.ParseFloat(string(f[0]), 64)
		return v
	}
	return 0
}

// idleTime is how long the machine's cores were idle, in seconds summed over all. The busy times beside it
// in /proc/stat are sampled by the tick, which misses work that follows the clock, as sending audio does.
func idleTime() float64 {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) < 6 {
		return 0
	}
	idle, _ := strconv.ParseFloat(f[4], 64)
	wait, _ := strconv.ParseFloat(f[5], 64)
	return (idle + wait) / clockTick
}

func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

// meter measures CPU between two moments.
type meter struct {
	pid                         int
	at                          time.Time
	engine, children, generator float64
	idle                        float64
}

func start(pid int) meter {
	m := meter{pid: pid, at: time.Now(), engine: statOf(pid).cpu, children: childrenCPU(pid), generator: statOf(os.Getpid()).cpu}
	m.idle = idleTime()
	return m
}

// usage is what was used since start: seconds of CPU, and shares in percent of one core.
type usage struct {
	Seconds   float64 `json:"seconds"`
	EngineCPU float64 `json:"engineCPUSeconds"`
	Children  float64 `json:"childrenPercent"`
	Generator float64 `json:"generatorPercent"`
	Idle      float64 `json:"idlePercent"` // of the whole machine
	Load      string  `json:"load"`
}

func (m meter) used() usage {
	n := start(m.pid)
	sec := n.at.Sub(m.at).Seconds()
	return usage{
		Seconds: sec, EngineCPU: n.engine - m.engine,
		Children:  100 * (n.children - m.children) / sec,
		Generator: 100 * (n.generator - m.generator) / sec,
		Idle:      min(100, 100*(n.idle-m.idle)/sec/float64(runtime.NumCPU())),
		Load:      load(),
	}
}

// machine describes where the figures were taken.
type machine struct {
	CPU       string  `json:"cpu"`
	Cores     int     `json:"cores"`
	MemoryGiB float64 `json:"memoryGiB"`
	Kernel    string  `json:"kernel"`
	Disk      string  `json:"fileSystem"`
	Sync      float64 `json:"fdatasyncP50Ms"`
	SyncP99   float64 `json:"fdatasyncP99Ms"`
}

func describe(dir string) (m machine, err error) {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			switch strings.TrimSpace(name) {
			case "model name":
				m.CPU = strings.TrimSpace(value)
			case "processor":
				m.Cores++
			}
		}
	}
	b, _ = os.ReadFile("/proc/meminfo")
	m.MemoryGiB = float64(int(field(b, "MemTotal:")/1024/1024*10)) / 10
	b, _ = os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(b))
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return m, err
	}
	m.Disk = map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay"}[int64(fs.Type)]
	if m.Disk == "" {
		m.Disk = fmt.Sprintf("type %#x", fs.Type)
	}
	syncs, err := syncTimes(dir)
	if err == nil {
		v := syncs.at(0.5, 0.99)
		m.Sync, m.SyncP99 = v[0], v[1]
	}
	return m, err
}

// syncTimes appends 4 KiB and calls fdatasync, 200 times: what a commit costs at least.
func syncTimes(dir string) (m millis, err error) {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	b := make([]byte, 4096)
	for range 200 {
		if _, err := f.Write(b); err != nil {
			return nil, err
		}
		at := time.Now()
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		m.add(time.Since(at))
	}
	return m, nil
}
