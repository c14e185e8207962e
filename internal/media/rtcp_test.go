package media

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/offhook/offhook/internal/clock"
)

func TestReportsGoBothWays(t *testing.T) {
	const us, them = 0x11111111, 0x22222222
	now := clock.System.Now()
	var ours, theirs reporter
	ours.cname, theirs.cname = "us", "them"

	var rx reception
	rx.ssrc = them
	for s := range uint16(10) {
		if s != 4 {
			rx.packet(s)
		}
	}
	p, err := theirs.write(now, sent{ssrc: them, packets: 10, recently: true}, new(reception))
	if err != nil || !ours.read(p, now, us, them) {
		t.Fatal("sender report not understood", err)
	}
	if ours.lastSR != shortNTP(now) {
		t.Errorf("last SR %x, want %x", ours.lastSR, shortNTP(now))
	}

	p, err = ours.write(now.Add(time.Second), sent{ssrc: us, timestamp: 77, packets: 9, octets: 1440, recently: true}, &rx)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := rtcp.Unmarshal(p)
	if err != nil {
		t.Fatal(err)
	}
	sr := packets[0].(*rtcp.SenderReport)
	if sr.SSRC != us || sr.RTPTime != 77 || sr.PacketCount != 9 || sr.OctetCount != 1440 || sr.NTPTime != ntp(now.Add(time.Second)) {
		t.Errorf("sender report %+v", sr)
	}
	if b := sr.Reports[0]; b.SSRC != them || b.TotalLost != 1 || b.FractionLost != 25 || b.LastSequenceNumber != 9 || b.Delay != 1<<16 {
		t.Errorf("report block %+v", b)
	}
	if err := rtcp.CompoundPacket(packets).Validate(); err != nil {
		t.Error(err)
	}

	// They get our report 1.25 s after their own was written: 250 ms of that is the way.
	if !theirs.read(p, now.Add(1250*time.Millisecond), them, us) {
		t.Fatal("report not understood")
	}
	if theirs.lost != 1 || theirs.fraction != 25 || (theirs.roundTrip-250*time.Millisecond).Abs() > time.Millisecond {
		t.Errorf("reporter %+v", theirs)
	}
}

func TestReceiverReportWhenNothingIsSent(t *testing.T) {
	r := reporter{cname: "us"}
	p, err := r.write(clock.System.Now(), sent{ssrc: 1}, &reception{ssrc: 2, started: true})
	if err != nil {
		t.Fatal(err)
	}
	packets, err := rtcp.Unmarshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if rr, ok := packets[0].(*rtcp.ReceiverReport); !ok || rr.SSRC != 1 || len(rr.Reports) != 1 {
		t.Errorf("first packet %+v", packets[0])
	}
}

func TestNegativeLossIsSigned(t *testing.T) {
	r := reporter{}
	r.blocks([]rtcp.ReceptionReport{{SSRC: 1, TotalLost: 0xFFFFFF}}, clock.System.Now(), 1)
	if r.lost != -1 {
		t.Errorf("lost %d, want -1", r.lost)
	}
}

func FuzzRTCP(f *testing.F) {
	now := clock.System.Now()
	r := reporter{cname: "us"}
	p, err := r.write(now, sent{ssrc: 1, recently: true}, &reception{ssrc: 2, started: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	bye, err := (&rtcp.Goodbye{Sources: []uint32{2}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(p, bye...))
	f.Fuzz(func(_ *testing.T, p []byte) {
		var r reporter
		r.read(p, now, 1, 2)
	})
}
