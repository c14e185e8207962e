//go:build !flite

package speech

var fliteWASM []byte

// Builtin reports whether this binary carries its own voice.
func Builtin() bool { return false }
