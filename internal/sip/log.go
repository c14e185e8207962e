package sip

import "log/slog"

// Named tells the leg the SID that its owner gave to the call, for the log. Of an outbound leg it is known
// from the start.
func (l *Leg) Named(callSID string) {
	if l.uas {
		l.callSID.Store(&callSID)
	}
}

// logger is the leg's log, which names the call as soon as it has a name.
func (l *Leg) logger() *slog.Logger {
	if sid := l.callSID.Load(); sid != nil {
		return l.log.With("call_sid", *sid)
	}
	return l.log
}

// Log is that of the leg, for its media.
func (s sink) Log() *slog.Logger { return s.l.logger() }
