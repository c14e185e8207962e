package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/offhook/offhook/internal/call"
)

const detectionColumns = "call_sid, account_sid, time, answered_by, after_us, rule, settings, trace"

func detectionRow(d *call.Detection) rowOf {
	settings, err := json.Marshal(d.Settings)
	if err != nil { // strings and numbers encode
		panic("store: settings of a detection: " + err.Error())
	}
	return rowOf{detectionRows, []any{
		d.CallSID, d.AccountSID, micros(d.Time), d.AnsweredBy, d.After.Microseconds(), d.Rule, string(settings), string(d.Trace),
	}}
}

// Detection is what machine detection found out on a call of an account.
func (s *Store) Detection(ctx context.Context, accountSID, callSID string) (*call.Detection, error) {
	var d call.Detection
	var after int64
	err := s.queryRow(ctx, func(r scanner) error {
		return r.Scan(&d.CallSID, &d.AccountSID, asTime{&d.Time}, &d.AnsweredBy, &after, &d.Rule, asJSON{&d.Settings}, &d.Trace)
	}, "SELECT "+detectionColumns+" FROM detections WHERE call_sid = ? AND account_sid = ?", callSID, accountSID)
	if err != nil {
		return nil, err
	}
	d.After = time.Duration(after) * time.Microsecond
	return &d, nil
}
