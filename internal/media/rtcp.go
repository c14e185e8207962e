package media

import (
	"math/rand/v2"
	"time"

	"github.com/pion/rtcp"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// rtcpInterval is the mean time between our reports, RFC 3550 section 6.2: two members always
	// need less than 5 % of the bandwidth, so the minimum of 5 s holds.
	rtcpInterval = 5 * time.Second
	// rtcpPoll is how often the RTCP port is looked at.
	rtcpPoll = 500 * time.Millisecond

	framesPerPoll = int(rtcpPoll / audio.FrameDuration)
)

// nextReport is the time to the next report in frames, random within half and one and a half intervals.
func nextReport() int {
	mean := int(rtcpInterval / audio.FrameDuration)
	return mean/2 + rand.IntN(mean+1)
}

// ntp is t in the 64-bit format of RFC 5905: seconds since 1900 and their 2^-32 parts.
func ntp(t time.Time) uint64 {
	const seventyYears = 2_208_988_800 // 1900 to 1970, in seconds
	return uint64(t.Unix()+seventyYears)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// shortNTP is the middle 32 bits of t's NTP time, in 1/65536 s, as LSR and DLSR count.
func shortNTP(t time.Time) uint32 { return uint32(ntp(t) >> 16) }

// reporter is the RTCP side of a stream, RFC 3550 section 6.
type reporter struct {
	cname string
	// The peer's last sender report: its middle NTP bits, and when it came by ours.
	lastSR   uint32
	lastSRAt uint32
	// How the peer hears us, from its latest report block.
	lost      int32 // packets since the beginning
	fraction  uint8 // since the report before, in 1/256
	jitter    uint32
	roundTrip time.Duration
}

// read takes a compound packet: reports about ssrc, and the sender reports of peer. BYE, SDES and
// whatever else are ignored: signalling ends a call. False means that p is no RTCP.
func (r *reporter) read(p []byte, now time.Time, ssrc, peer uint32) bool {
	packets, err := rtcp.Unmarshal(p)
	if err != nil {
		return false
	}
	known := false
	for _, packet := range packets {
		switch packet := packet.(type) {
		case *rtcp.SenderReport:
			known = true
			if packet.SSRC == peer {
				r.lastSR, r.lastSRAt = uint32(packet.NTPTime>>16), shortNTP(now)
			}
			r.blocks(packet.Reports, now, ssrc)
		case *rtcp.ReceiverReport:
			known = true
			r.blocks(packet.Reports, now, ssrc)
		}
	}
	return known
}

func (r *reporter) blocks(blocks []rtcp.ReceptionReport, now time.Time, ssrc uint32) {
	for _, b := range blocks {
		if b.SSRC != ssrc {
			continue
		}
		r.lost = int32(b.TotalLost<<8) >> 8 // 24 bits, signed
		r.fraction, r.jitter = b.FractionLost, b.Jitter
		if b.LastSenderReport != 0 { // section 6.4.1
			if d := int32(shortNTP(now) - b.LastSenderReport - b.Delay); d >= 0 {
				r.roundTrip = time.Duration(d) * time.Second >> 16
			}
		}
	}
}

// sent is the sending side's part of a report.
type sent struct {
	ssrc            uint32
	timestamp       uint32 // RTP time of now
	packets, octets uint32
	recently        bool // since the report before
}

// write is the next compound packet: a sender report, or a receiver report when nothing was sent
// lately, then our CNAME.
func (r *reporter) write(now time.Time, tx sent, rx *reception) ([]byte, error) {
	var reports []rtcp.ReceptionReport
	if rx.started {
		b := rtcp.ReceptionReport{
			SSRC:               rx.ssrc,
			FractionLost:       rx.fraction(),
			TotalLost:          uint32(rx.lost()) & 0xFFFFFF,
			LastSequenceNumber: rx.extended(),
			Jitter:             rx.jitterUnits(),
			LastSenderReport:   r.lastSR,
		}
		if r.lastSR != 0 {
			b.Delay = shortNTP(now) - r.lastSRAt
		}
		reports = append(reports, b)
	}
	var first rtcp.Packet = &rtcp.ReceiverReport{SSRC: tx.ssrc, Reports: reports}
	if tx.recently {
		first = &rtcp.SenderReport{
			SSRC: tx.ssrc, NTPTime: ntp(now), RTPTime: tx.timestamp,
			PacketCount: tx.packets, OctetCount: tx.octets, Reports: reports,
		}
	}
	return rtcp.Marshal([]rtcp.Packet{first, rtcp.NewCNAMESourceDescription(tx.ssrc, r.cname)})
}
