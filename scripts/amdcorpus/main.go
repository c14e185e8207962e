// Command amdcorpus makes the recordings on which answering-machine detection is tuned and scored: people, voicemails,
// fax machines and what else is heard after an answer, as µ-law WAV files with a labels.csv beside them. Nobody was
// recorded: the built-in voices and espeak-ng speak, sox makes the music. The same files come out every time.
//
// A fifth of the files, split "score", has seeds, texts and espeak-ng voices that no file of split "tune" has.
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/speech"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) == 2 && os.Args[1] == "speech-worker" {
		if err := speech.RunChild(ctx, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir := flag.String("dir", "", "folder to write to, made if missing")
	split := flag.String("split", "", "make only the files of this split, tune or score")
	list := flag.Bool("list", false, "say how many files of each kind there are, and make none")
	flag.Parse()
	if *list {
		for _, k := range kinds {
			fmt.Printf("%-22s %3d  %s\n", k.name, k.files, k.about)
		}
		return
	}
	if *dir == "" || flag.NArg() > 0 || *split != "" && *split != "tune" && *split != "score" {
		flag.Usage()
		os.Exit(2)
	}
	if err := generate(ctx, *dir, *split); err != nil {
		fmt.Fprintln(os.Stderr, "amdcorpus:", err)
		os.Exit(1)
	}
}

// A job is one file to be made.
type job struct {
	kind  kind
	name  string
	split string
	seed  uint64
}

// jobs is every file there is. The fifth of a kind is scored.
func jobs(split string) (list []job) {
	for i, k := range kinds {
		for n := range k.files {
			j := job{kind: k, name: fmt.Sprintf("%s-%03d.wav", k.name, n), split: "tune", seed: uint64(1000*i + n)}
			if n%5 == 4 {
				j.split, j.seed = "score", j.seed+1_000_000
			}
			if split == "" || split == j.split {
				list = append(list, j)
			}
		}
	}
	return list
}

// generate makes the files and, at last, the labels.
func generate(ctx context.Context, dir, split string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	studio, err := newStudio()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, studio.close()) }()
	todo := jobs(split)
	labels := make([]label, len(todo))
	errs := make([]error, len(todo))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				labels[i], errs[i] = make1(ctx, studio, dir, todo[i])
			}
		}()
	}
	for i := range todo {
		next <- i
	}
	close(next)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "labels.csv"))
	if err != nil {
		return err
	}
	return errors.Join(writeLabels(f, labels), f.Close())
}

// make1 makes one file.
func make1(ctx context.Context, studio *studio, dir string, j job) (label, error) {
	s := &scene{ctx: ctx, studio: studio, split: j.split, rng: rand.New(rand.NewPCG(j.seed, 6))}
	s.label = label{file: j.name, label: j.kind.label, kind: j.kind.name, split: j.split}
	s.level = between(s.rng, -28, -14)
	j.kind.play(s)
	if s.err != nil {
		return label{}, fmt.Errorf("%s: %w", j.name, s.err)
	}
	pcm := s.overTheLine()
	if s.err != nil {
		return label{}, fmt.Errorf("%s: %w", j.name, s.err)
	}
	clip := audio.NewClip(audio.EncodeULaw(pcm))
	return s.label, os.WriteFile(filepath.Join(dir, j.name), clip.WAV(), 0o644)
}

// A label is what is known of a file. Times are in samples of it; -1 is none.
type label struct {
	file  string
	label string // human, machine, fax or unknown
	kind  string
	split string // tune or score
	end   string // of a machine's message: beep, silence or other
	voice string

	speechStart, speechEnd int
	beepStart, beepEnd     int
	beepHz                 float64
	noise                  float64 // dBm0, 0 for none
	loss                   float64 // percent
}

var columns = []string{"file", "label", "kind", "split", "end", "voice", "speech_start_ms", "speech_end_ms",
	"beep_start_ms", "beep_end_ms", "beep_hz", "noise_dbm0", "loss_percent"}

func writeLabels(w io.Writer, labels []label) error {
	ms := func(samples int) string {
		if samples <= 0 {
			return ""
		}
		return strconv.Itoa(samples * 1000 / audio.SampleRate)
	}
	number := func(v float64) string {
		if v == 0 {
			return ""
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	out := csv.NewWriter(w)
	rows := [][]string{columns}
	for _, l := range labels {
		rows = append(rows, []string{l.file, l.label, l.kind, l.split, l.end, l.voice, ms(l.speechStart), ms(l.speechEnd),
			ms(l.beepStart), ms(l.beepEnd), number(l.beepHz), number(l.noise), number(l.loss)})
	}
	return out.WriteAll(slices.Clip(rows))
}

// newStudio starts the voices.
func newStudio() (*studio, error) {
	if !speech.Builtin() {
		return nil, errors.New("built without the voices: go run -tags flite ./scripts/amdcorpus (make voice fetches them)")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	v, err := speech.New(speech.Config{
		Engine: speech.EngineBuiltin, Executable: []string{self, "speech-worker"}, Workers: runtime.NumCPU(),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, err
	}
	return &studio{voices: v}, nil
}
