package audio

// Tracks of a Tap.
const (
	Inbound  = 0 // what the party says
	Outbound = 1 // what it hears
)

// Tap gets the sound of a call: a recorder, for one.
type Tap interface {
	// Write gets µ-law samples of a track. at is the place of the first one on a clock that counts samples at
	// 8 kHz and that all tracks of a call share. They come as the network brings them: in any order, and of what
	// stands at a place twice the later counts. Both tracks are silent where nothing comes. Without samples it
	// tells the time: at Outbound, that the clock is there now; at Inbound, that what comes for a place before it
	// is late. It is called by whoever moves the packets: it neither waits nor keeps ulaw.
	Write(track int, at int64, ulaw []byte)
}
