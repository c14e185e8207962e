package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/offhook/offhook/internal/amdtune"
	"github.com/offhook/offhook/internal/audio"
)

type amdCommand struct {
	Tune amdTuneCommand `cmd:"" help:"Run answering-machine detection over labelled recordings."`
}

func (amdCommand) Help() string {
	return `What the rules are, and what they get right, stands in docs/amd.md.

    offhook amd tune --labels recordings/labels.csv`
}

type amdTuneCommand struct {
	Files []string `arg:"" optional:"" name:"files" help:"Recordings, or folders of WAV files; each must be in the labels (default: every file of the labels, in their folder)."`

	Labels string `name:"labels" required:"" placeholder:"CSV" help:"What is known of the recordings: columns file and label."`
	Split  string `name:"split" placeholder:"NAME" help:"Only the rows whose column split has this value."`
	Wrong  bool   `name:"wrong" help:"List the recordings that were taken for something else."`

	MessageEnd         bool          `name:"message-end" help:"Wait for the end of a machine's message, as DetectMessageEnd does." group:"Detection:"`
	Timeout            time.Duration `name:"timeout" default:"30s" placeholder:"TIME" help:"Give up after this (default ${default})." group:"Detection:"`
	SpeechThreshold    time.Duration `name:"speech-threshold" default:"2400ms" placeholder:"TIME" help:"Who speaks longer is a machine (default ${default})." group:"Detection:"`
	SpeechEndThreshold time.Duration `name:"speech-end-threshold" default:"1200ms" placeholder:"TIME" help:"Silence that ends what is said (default ${default})." group:"Detection:"`
	SilenceTimeout     time.Duration `name:"silence-timeout" default:"5s" placeholder:"TIME" help:"Silence at first that ends the detection (default ${default})." group:"Detection:"`
	output
}

func (amdTuneCommand) Help() string {
	return `Recordings begin at the answer and have one channel, the called party's. The labels are a CSV file whose first row
names its columns: file, and label, which is human, machine, fax or unknown. With speech_end_ms, the end of the last
word, beep_end_ms and end (beep, silence or other) it also says how soon the verdict fell.

    offhook amd tune --labels recordings/labels.csv --wrong
    offhook amd tune calls/*.wav --labels labels.csv --message-end --speech-threshold 1800ms

Each row of the table is a label, each column what was found; "none" is a recording that ended before a verdict. With
-o tsv it writes a line for each recording, with -o json also how each verdict came about.`
}

func (c *amdTuneCommand) Run(ctx context.Context, a *app) error {
	for name, d := range map[string]time.Duration{
		"timeout": c.Timeout, "speech-threshold": c.SpeechThreshold,
		"speech-end-threshold": c.SpeechEndThreshold, "silence-timeout": c.SilenceTimeout,
	} {
		if d <= 0 || d > time.Hour {
			return usagef("--%s %v: want a time of up to an hour", name, d)
		}
	}
	labels, err := c.chosen()
	if err != nil {
		return err
	}
	cfg := audio.AMDConfig{
		MessageEnd: c.MessageEnd, Timeout: c.Timeout, SpeechThreshold: c.SpeechThreshold,
		SpeechEndThreshold: c.SpeechEndThreshold, SilenceTimeout: c.SilenceTimeout,
	}
	results := make([]amdtune.Result, len(labels))
	for i, l := range labels {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, err := os.ReadFile(l.path)
		if err != nil {
			return err
		}
		clip, err := audio.Decode("", data)
		if err != nil {
			return fmt.Errorf("%s: %w", l.path, err)
		}
		results[i] = amdtune.Detect(l.Label, clip.PCM(), cfg)
	}
	switch c.Output {
	case "json":
		return writeJSON(a.out, amdJSON(results, c.MessageEnd))
	case "tsv":
		return amdTSV(a.out, results)
	}
	return c.print(a.out, results)
}

// recording is a labelled file and where it lies.
type recording struct {
	amdtune.Label
	path string
}

// chosen finds the recordings that were asked for.
func (c *amdTuneCommand) chosen() ([]recording, error) {
	f, err := os.Open(c.Labels)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	labels, err := amdtune.ReadLabels(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Labels, err)
	}
	var list []recording
	add := func(l amdtune.Label, path string) {
		if c.Split == "" || l.Split == c.Split {
			list = append(list, recording{l, path})
		}
	}
	if len(c.Files) == 0 {
		for _, l := range labels {
			add(l, filepath.Join(filepath.Dir(c.Labels), filepath.FromSlash(l.File)))
		}
	}
	byName := map[string]amdtune.Label{}
	for _, l := range labels {
		byName[filepath.Base(filepath.FromSlash(l.File))] = l
	}
	for _, path := range c.Files {
		paths := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if paths, err = filepath.Glob(filepath.Join(path, "*.wav")); err != nil {
				return nil, err
			}
		}
		for _, path := range paths {
			l, ok := byName[filepath.Base(path)]
			if !ok {
				return nil, fmt.Errorf("%s names no %s", c.Labels, filepath.Base(path))
			}
			add(l, path)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no recordings: none were named, or no label has that split")
	}
	return list, nil
}

// amdVerdicts are the columns of the table; the last is none.
var amdVerdicts = []string{
	audio.AnsweredHuman, audio.AnsweredMachineStart, audio.AnsweredMachineEndBeep, audio.AnsweredMachineEndSilence,
	audio.AnsweredMachineEndOther, audio.AnsweredFax, audio.AnsweredUnknown, "",
}

func (c *amdTuneCommand) print(w io.Writer, results []amdtune.Result) error {
	rep := amdtune.Sum(results, c.MessageEnd)
	share := func(n amdtune.Score) string {
		return fmt.Sprintf("%d of %d, %.1f %%", n.Right, n.Files, 100*n.Share())
	}
	var columns []string
	for _, v := range amdVerdicts {
		if rep.Times[v].Count > 0 || v == "" {
			columns = append(columns, v)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "LABEL\tFILES")
	for _, v := range columns {
		fmt.Fprint(t, "\t", strings.ToUpper(cmp.Or(v, "none")))
	}
	fmt.Fprintln(t)
	for _, label := range amdtune.Labels {
		row, n := rep.Matrix[label], 0
		for _, count := range row {
			n += count
		}
		fmt.Fprintf(t, "%s\t%d", label, n)
		for _, v := range columns {
			fmt.Fprintf(t, "\t%d", row[v])
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintln(t)
	fmt.Fprintln(t, "VERDICT\tFILES\tMEDIAN\tWORST")
	for _, v := range columns {
		if times := rep.Times[v]; v != "" {
			fmt.Fprintf(t, "%s\t%d\t%v\t%v\n", v, times.Count, times.Median, times.Worst)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nright: %s\n", share(rep.Right))
	if rep.Spoken.Files > 0 {
		fmt.Fprintf(w, "people and machines told apart: %s\n", share(rep.Spoken))
	}
	if rep.ToHuman.Count > 0 {
		fmt.Fprintf(w, "human, after a person's last word: median %v, worst %v\n", rep.ToHuman.Median, rep.ToHuman.Worst)
	}
	if rep.Beeps.Files > 0 {
		fmt.Fprintf(w, "machine_end_beep within %v after the beep: %s\n", amdtune.BeepLimit, share(rep.Beeps))
	}
	if rep.Silences.Files > 0 {
		fmt.Fprintf(w, "machine_end_silence %v to %v after the last word: %s\n", amdtune.SilenceFrom, amdtune.SilenceTo, share(rep.Silences))
	}
	if !c.Wrong {
		return nil
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nFILE\tLABEL\tVERDICT\tAFTER\tRULE\tUTTERANCE")
	for _, r := range results {
		if !r.Right() {
			fmt.Fprintf(t, "%s\t%s\t%s\t%v\t%s\t%v\n", r.File, r.Label.Label, cmp.Or(r.Verdict.AnsweredBy, "none"),
				time.Duration(r.Trace.AfterMs)*time.Millisecond, cmp.Or(r.Verdict.Rule, "-"), time.Duration(r.Trace.UtteranceMs)*time.Millisecond)
		}
	}
	return t.Flush()
}

func amdTSV(w io.Writer, results []amdtune.Result) error {
	var b strings.Builder
	b.WriteString("file\tlabel\tanswered_by\tafter_ms\trule\n")
	for _, r := range results {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%d\t%s\n", oneLine(r.File), r.Label.Label, r.Verdict.AnsweredBy, r.Trace.AfterMs, r.Verdict.Rule)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// amdJSON is results as -o json writes them; times are milliseconds.
func amdJSON(results []amdtune.Result, messageEnd bool) any {
	type score struct {
		Files int `json:"files"`
		Right int `json:"right"`
	}
	type times struct {
		Count    int   `json:"count"`
		MedianMs int64 `json:"median_ms"`
		WorstMs  int64 `json:"worst_ms"`
	}
	type file struct {
		File  string         `json:"file"`
		Label string         `json:"label"`
		Right bool           `json:"right"`
		Trace audio.AMDTrace `json:"trace"`
	}
	rep := amdtune.Sum(results, messageEnd)
	toTimes := func(t amdtune.Times) times {
		return times{t.Count, t.Median.Milliseconds(), t.Worst.Milliseconds()}
	}
	verdicts := map[string]times{}
	for v, t := range rep.Times {
		verdicts[v] = toTimes(t)
	}
	var files []file
	for _, r := range results {
		files = append(files, file{r.File, r.Label.Label, r.Right(), r.Trace})
	}
	return struct {
		Right    score                     `json:"right"`
		Spoken   score                     `json:"human_or_machine"`
		Matrix   map[string]map[string]int `json:"matrix"`
		Verdicts map[string]times          `json:"verdicts"`
		ToHuman  times                     `json:"last_word_to_human"`
		Beeps    score                     `json:"beep_in_time"`
		Silences score                     `json:"silence_in_time"`
		Files    []file                    `json:"files"`
	}{score(rep.Right), score(rep.Spoken), rep.Matrix, verdicts, toTimes(rep.ToHuman), score(rep.Beeps), score(rep.Silences), files}
}
