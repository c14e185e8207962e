package media

// A timeline's numbers, in packets and samples.
const (
	// timelineWindow is how many packets say how the sender's clock stands against ours: 1 s. The one that came
	// soonest counts, since a network only delays.
	timelineWindow = 50
	// timelineSlack is what is left alone, 2 ms: more than a quiet network's jitter.
	timelineSlack = 16
	// timelineJump is what no clock that is a little off comes to, 100 ms: the sender paused, or its time stamps did.
	timelineJump = 800
	// timelineEarly is how far ahead of our clock a packet may stand, 200 ms, when the first one came late. What is
	// further begins anew, as does what comes more than timelineGone behind its place, 1 s.
	timelineEarly = 1600
	timelineGone  = 8000
	// timelineLate is more than a recording takes, 450 ms. What is later is late of a network that stood still when
	// it comes at once; when it keeps coming for timelineRun, 80 ms, the sender has paused.
	timelineLate = 3600
	timelineRun  = 640
	// timelineStep is how many packets share the correction of one sample: 0.16 %, which nobody hears, and a
	// hundred times more than good clocks are apart. Each corrects one when there is more to do than timelineFar,
	// maxSlip in the first second, and all of it where it does no harm.
	timelineStep = 4
	timelineFar  = 160
)

// silentPower is the mean power of a frame in which nothing is lost when it is cut: -60 dBFS of a sine.
const silentPower = 32767 * 32767 / 2 * 1e-6

// timeline gives the packets of one source their places on our own clock, which counts samples. Places follow the
// time stamps, so that neither jitter nor a machine that is busy moves anything; that the sender's clock runs faster
// or slower than ours is made good a sample at a time. It is pure and not for concurrent use.
type timeline struct {
	begun   bool
	ssrc    uint32
	ts      uint32 // of the newest packet
	at      int64  // its place
	packets int    // since it began anew
	least   int64  // of this window: how far the soonest packet came behind its place
	adjust  int64  // samples that are still to be made good
	silent  bool   // the newest packet was
	hush    int64  // samples of silence before the place of the next, as far as they are known
	lateAt  int64  // since when all that comes is later than timelineLate; 0 for what is not
}

// place is where a packet of audio stands that came when our clock was at arrived. silent says that nothing is lost
// when it is cut, since it is silence or nobody listens; nobody has to know while t.adjust is 0.
func (t *timeline) place(ssrc, ts uint32, arrived int64, silent bool) int64 {
	step := int64(int32(ts - t.ts))
	at := t.at + step
	behind := arrived - at
	if behind <= timelineLate {
		t.lateAt = 0
	} else if t.lateAt == 0 {
		t.lateAt = arrived
	}
	paused := t.lateAt != 0 && arrived-t.lateAt > timelineRun
	if !t.begun || ssrc != t.ssrc || behind < -timelineEarly || behind > timelineGone || paused {
		*t = timeline{begun: true, ssrc: ssrc, ts: ts, at: arrived, least: timelineGone}
		return arrived
	}
	t.least = min(t.least, behind)
	if behind < -timelineSlack {
		t.adjust = min(t.adjust, behind)
	}
	if t.packets++; t.packets%timelineWindow == 0 {
		switch {
		case t.least > timelineJump:
			t.at, at, t.adjust = t.at+t.least, at+t.least, 0
		case t.least > timelineSlack || t.least < -timelineSlack:
			t.adjust = t.least
		default:
			t.adjust = 0
		}
		t.least = timelineGone
	}
	if step <= 0 { // it was overtaken
		return at
	}
	if t.hush += step; !t.silent {
		t.hush = 0
	}
	by := t.correction(silent)
	t.adjust, t.least, at = t.adjust-by, t.least-by, at+by
	t.ts, t.at, t.silent, t.hush = ts, at, silent, max(0, t.hush+by)
	return at
}

// move says that our clock is by so many samples ahead of what it was.
func (t *timeline) move(by int64) {
	t.at += by
	if t.lateAt != 0 {
		t.lateAt += by
	}
}

// correction is what the next packet makes good. A place that is further back lies on what came before: a silent packet
// goes back as far as that is silent too.
func (t *timeline) correction(silent bool) int64 {
	most := int64(0)
	switch {
	case t.adjust == 0:
		return 0
	case silent && (t.adjust > 0 || t.hush > 0):
		return max(t.adjust, -t.hush)
	case t.packets < timelineWindow:
		most = maxSlip
	case t.adjust > timelineFar || t.adjust < -timelineFar || t.packets%timelineStep == 0:
		most = 1
	}
	return max(-most, min(most, t.adjust))
}
