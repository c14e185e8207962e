// Package amdtune runs answering-machine detection over labelled recordings and counts how often, and how soon, it is
// right. The detection itself is package audio's; where files lie and how a report looks is the caller's business.
package amdtune

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

// Labels a recording can have.
const (
	Human   = "human"
	Machine = "machine"
	Fax     = "fax"
	Unknown = "unknown" // neither speaks: silence, music, tones of the network
)

// Labels is all of them, in the order of reports.
var Labels = []string{Human, Machine, Fax, Unknown}

// Ends of a machine's message.
const (
	EndBeep    = "beep"
	EndSilence = "silence"
	EndOther   = "other"
)

// maxLabels bounds a file of labels.
const maxLabels = 1_000_000

// Label is what is known of a recording. Times are since its start, the answer; zero when they are not known.
type Label struct {
	File      string
	Label     string // one of Labels
	Kind      string // any name of what the recording is like, for reports
	Split     string // "tune", "score" or another name of a part
	End       string // of a machine's message, one of the End constants; "" when not known
	SpeechEnd time.Duration
	BeepEnd   time.Duration
}

// ReadLabels reads a CSV file whose first row names the columns, in any order: file and label, and if they are there
// kind, split, end, speech_end_ms and beep_end_ms. Other columns are not for us.
func ReadLabels(r io.Reader) ([]Label, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("labels: the file is empty")
	} else if err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	column := map[string]int{}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // of spreadsheets
	for i, name := range header {
		column[name] = i
	}
	for _, name := range []string{"file", "label"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("labels: the first row names no column %q", name)
		}
	}
	var labels []Label
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return labels, nil
		} else if err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
		line, _ := in.FieldPos(0)
		text := func(name string) string {
			if i, ok := column[name]; ok {
				return row[i]
			}
			return ""
		}
		ms := func(name string) (d time.Duration) {
			if s := text(name); s != "" {
				n, numErr := strconv.ParseUint(s, 10, 31)
				if numErr != nil {
					err = fmt.Errorf("labels: line %d: %s %q is no number of milliseconds", line, name, s)
				}
				d = time.Duration(n) * time.Millisecond
			}
			return d
		}
		l := Label{
			File: text("file"), Label: text("label"), Kind: text("kind"), Split: text("split"), End: text("end"),
			SpeechEnd: ms("speech_end_ms"), BeepEnd: ms("beep_end_ms"),
		}
		switch {
		case err != nil:
			return nil, err
		case l.File == "":
			return nil, fmt.Errorf("labels: line %d names no file", line)
		case !slices.Contains(Labels, l.Label):
			return nil, fmt.Errorf("labels: line %d: label %q; want one of %q", line, l.Label, Labels)
		case !slices.Contains([]string{"", EndBeep, EndSilence, EndOther}, l.End):
			return nil, fmt.Errorf("labels: line %d: end %q; want beep, silence, other or none", line, l.End)
		case len(labels) == maxLabels:
			return nil, fmt.Errorf("labels: more than %d rows", maxLabels)
		}
		labels = append(labels, l)
	}
}

// Result is what the detection made of one recording.
type Result struct {
	Label
	Verdict audio.AMDVerdict // AnsweredBy is "" when the recording ended before
	Trace   audio.AMDTrace
}

// Detect runs the detection over a recording, 8 kHz samples from the answer on.
func Detect(l Label, pcm []int16, cfg audio.AMDConfig) Result {
	a := audio.NewAMD(cfg)
	v, _ := a.Write(pcm)
	return Result{Label: l, Verdict: v, Trace: a.Trace()}
}

// Found is the label that the verdict amounts to, "" without one.
func (r Result) Found() string {
	switch r.Verdict.AnsweredBy {
	case audio.AnsweredHuman:
		return Human
	case audio.AnsweredMachineStart, audio.AnsweredMachineEndBeep, audio.AnsweredMachineEndSilence, audio.AnsweredMachineEndOther:
		return Machine
	case audio.AnsweredFax:
		return Fax
	case "":
		return ""
	}
	return Unknown
}

// Right reports whether the verdict amounts to the label.
func (r Result) Right() bool { return r.Found() == r.Label.Label }

// Report adds results up.
type Report struct {
	Right    Score                     // all files
	Spoken   Score                     // the ones labelled human or machine
	Matrix   map[string]map[string]int // label, AnsweredBy ("" is none), files
	Times    map[string]Times          // by AnsweredBy
	ToHuman  Times                     // from the last word of a person to the verdict human
	Beeps    Score                     // verdicts machine_end_beep within BeepLimit after the end of a beep
	Silences Score                     // verdicts machine_end_silence within SilenceFrom to SilenceTo after the last word
}

// Times are how long verdicts took.
type Times struct {
	Count         int
	Median, Worst time.Duration
}

// Score is how many of Files were right.
type Score struct{ Files, Right int }

// Share is the part that was right, 1 when there was nothing to do.
func (n Score) Share() float64 {
	if n.Files == 0 {
		return 1
	}
	return float64(n.Right) / float64(n.Files)
}

// When the end of a message is told in time.
const (
	BeepLimit   = 500 * time.Millisecond
	SilenceFrom = 2 * time.Second
	SilenceTo   = 2600 * time.Millisecond
)

// Sum is the report of results. messageEnd says that they were to wait for the end of messages.
func Sum(results []Result, messageEnd bool) Report {
	rep := Report{Matrix: map[string]map[string]int{}, Times: map[string]Times{}}
	times := map[string][]time.Duration{}
	var toHuman []time.Duration
	for _, r := range results {
		by := r.Verdict.AnsweredBy
		rep.Right.count(r.Right())
		if r.Label.Label == Human || r.Label.Label == Machine {
			rep.Spoken.count(r.Right())
		}
		if rep.Matrix[r.Label.Label] == nil {
			rep.Matrix[r.Label.Label] = map[string]int{}
		}
		rep.Matrix[r.Label.Label][by]++
		if by != "" {
			times[by] = append(times[by], r.Verdict.After)
		}
		if r.Label.Label == Human && by == audio.AnsweredHuman && r.SpeechEnd > 0 {
			toHuman = append(toHuman, r.Verdict.After-r.SpeechEnd)
		}
		if !messageEnd || r.Label.Label != Machine {
			continue
		}
		switch {
		case r.End == EndBeep && r.BeepEnd > 0:
			late := r.Verdict.After - r.BeepEnd
			rep.Beeps.count(by == audio.AnsweredMachineEndBeep && late >= 0 && late <= BeepLimit)
		case r.End == EndSilence && r.SpeechEnd > 0:
			late := r.Verdict.After - r.SpeechEnd
			rep.Silences.count(by == audio.AnsweredMachineEndSilence && late >= SilenceFrom && late <= SilenceTo)
		}
	}
	for by, list := range times {
		rep.Times[by] = timesOf(list)
	}
	rep.ToHuman = timesOf(toHuman)
	return rep
}

func (n *Score) count(right bool) {
	n.Files++
	if right {
		n.Right++
	}
}

func timesOf(list []time.Duration) Times {
	if len(list) == 0 {
		return Times{}
	}
	slices.Sort(list)
	return Times{Count: len(list), Median: list[len(list)/2], Worst: list[len(list)-1]}
}
