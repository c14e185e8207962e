package recording

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

// disk makes spools; tests have one that fails.
type disk interface {
	create(path string) (file, error)
}

type file interface {
	io.WriterAt
	io.Closer
	Sync() error
}

type osDisk struct{}

func (osDisk) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return f, nil
}

// finish has the spool write what is left of w.
func (r *Recorder) finish(w *Writer) {
	r.mu.Lock()
	r.ending = append(r.ending, w)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// spool is the goroutine that writes all recordings.
func (r *Recorder) spool() {
	t := r.cfg.Clock.NewTimer(time.Hour)
	defer t.Stop()
	var p pen
	for {
		select {
		case b := <-r.queue:
			r.write(&p, b)
			t.Reset(gather)
			select {
			case <-t.C():
			case <-r.wake:
			case <-r.quit:
			}
		case <-r.wake:
		case <-r.quit:
			r.drain(&p)
			return
		}
		r.drain(&p)
	}
}

// drain writes what is queued, then what is left of the recordings that were stopped before that.
func (r *Recorder) drain(p *pen) {
	r.mu.Lock()
	ending := r.ending
	r.ending = nil
	r.mu.Unlock()
	for range len(r.queue) { // what comes meanwhile waits for the next turn
		r.write(p, <-r.queue)
	}
	p.headers()
	for _, w := range ending {
		w.mu.Lock()
		blocks, length := w.blocks, w.position()
		w.blocks = [2]*block{}
		w.mu.Unlock()
		for _, b := range blocks {
			if b != nil {
				b.n = int(min(blockSamples, max(0, length-b.at)))
				r.write(p, b)
			}
		}
		r.fill(p, w, length)
		p.headers()
		close(w.written)
	}
}

// pen is what the spool needs to write.
type pen struct {
	touched []*Writer // their headers are to be written
	silence []byte
	pairs   []byte
	pcm     []int16
	mixed   []byte
}

// write appends a block to its file, and gives it back.
func (r *Recorder) write(p *pen, b *block) {
	w, data := b.w, b.data[0][:b.n]
	r.fill(p, w, b.at)
	if w.spec.Tracks == 2 {
		data = p.interleave(data, b.data[1][:b.n])
	}
	if w.spec.Tracks > w.spec.Channels {
		data = p.mix(data)
	}
	r.append(p, w, data)
	b.w = nil
	r.free.Put(b)
}

// fill appends silence up to a place.
func (r *Recorder) fill(p *pen, w *Writer, to int64) {
	if p.silence == nil {
		p.silence = make([]byte, 1<<16)
		for i := range p.silence {
			p.silence[i] = silence
		}
	}
	for w.samples < to && !w.broken {
		n := min((to-w.samples)*int64(w.spec.Channels), int64(len(p.silence)))
		r.append(p, w, p.silence[:n])
	}
}

// append writes whole samples behind what is there. A disk that refuses ends the recording; what it took stays.
func (r *Recorder) append(p *pen, w *Writer, data []byte) {
	if w.broken || len(data) == 0 {
		return
	}
	began := r.cfg.Clock.Now()
	n, err := w.file.WriteAt(data, headerSize+w.samples*int64(w.spec.Channels))
	r.stats.writing.Add(int64(r.cfg.Clock.Now().Sub(began)))
	r.stats.bytes.Add(int64(n))
	w.samples += int64(n / w.spec.Channels)
	w.dirty.Store(true)
	if len(p.touched) == 0 || p.touched[len(p.touched)-1] != w {
		p.touched = append(p.touched, w)
	}
	if err != nil {
		r.broke(w, err)
	}
}

func (r *Recorder) broke(w *Writer, err error) {
	w.broken = true
	r.stats.failed.Add(1)
	r.cfg.Log.Error("recording ended by the disk", "recording_sid", w.spec.SID, "err", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(fmt.Errorf("recording: spool %s: %w", w.spec.SID, err))
}

// headers makes the headers of what was written right. It writes over what is there, so it needs no room.
func (p *pen) headers() {
	for i, w := range p.touched {
		p.touched[i] = nil
		if _, err := w.file.WriteAt(spoolHeader(w.spec.Channels, w.samples), 0); err != nil && !w.broken {
			w.r.broke(w, err)
		}
	}
	p.touched = p.touched[:0]
}

// interleave makes pairs of two tracks. The result is p's until the next one.
func (p *pen) interleave(a, b []byte) []byte {
	p.pairs = slices.Grow(p.pairs[:0], 2*len(a))[:2*len(a)]
	pairs, b := p.pairs, b[:len(a)]
	for i, s := range a {
		pairs[2*i], pairs[2*i+1] = s, b[i]
	}
	return pairs
}

// mix makes one channel of two tracks. The result is p's until the next mix.
func (p *pen) mix(pairs []byte) []byte {
	p.pcm = audio.AppendDecodedULaw(p.pcm[:0], pairs)
	p.pcm = sum(p.pcm)
	p.mixed = audio.AppendULaw(p.mixed[:0], p.pcm)
	return p.mixed
}

// sum adds the samples of two interleaved channels in place.
func sum(pcm []int16) []int16 {
	for i := range len(pcm) / 2 {
		pcm[i] = int16(max(-1<<15, min(1<<15-1, int32(pcm[2*i])+int32(pcm[2*i+1]))))
	}
	return pcm[:len(pcm)/2]
}

// sync syncs what runs, one after the other, beside the spool. Without recordings it sleeps.
func (r *Recorder) sync() {
	t := r.cfg.Clock.NewTimer(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-r.begun:
		case <-r.quit:
			return
		}
		for running := r.running(); len(running) > 0; running = r.running() {
			t.Reset(r.cfg.SyncEvery)
			select {
			case <-t.C():
			case <-r.quit:
				return
			}
			for _, w := range running {
				w.sync()
			}
			if err := syncDir(r.cfg.Dir); err != nil {
				r.cfg.Log.Warn("spool of recordings not synced", "err", err)
			}
		}
	}
}

func (r *Recorder) running() []*Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Writer, 0, len(r.open))
	for _, w := range r.open {
		if w.file != nil {
			list = append(list, w)
		}
	}
	return list
}

// sync does nothing when the result is there: Stop has synced.
func (w *Writer) sync() {
	if !w.dirty.Swap(false) {
		return
	}
	w.syncing.Lock()
	defer w.syncing.Unlock()
	if err := w.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		w.r.cfg.Log.Warn("recording not synced; a loss of power may take its newest part", "recording_sid", w.spec.SID, "err", err)
	}
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
