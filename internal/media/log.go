package media

import "log/slog"

// logger is the log of the leg that the stream belongs to, when its sink has one: those lines name the call.
func (f *flow) logger() *slog.Logger {
	if s, ok := f.sink.(interface{ Log() *slog.Logger }); ok {
		return s.Log().With("rtp_port", f.stream.pair.rtp)
	}
	return f.log
}
