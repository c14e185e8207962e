package audio

// Tracks of a Tap.
const (
	Inbound  = 0 // what the party says
	Outbound = 1 // what it hears
)

// Tap gets the sound of a call: a recorder, for one. It is called by whoever moves the packets: it neither waits nor
// keeps what it gets.
type Tap interface {
	// Write gets µ-law samples of a track. at is the place of the first one on a clock that counts samples at
	// 8 kHz and that all tracks of a call share. They come as the network brings them: in any order, and of what
	// stands at a place twice the later counts. Both tracks are silent where nothing comes. Without samples it
	// says that what comes for a place of the track before at is late.
	Write(track int, at int64, ulaw []byte)
	// Tick says that the clock has gone on by a frame, from at. sent is what of it the party was sent that is nobody
	// else's and so does not come by Write, nil for nothing. What the party says before in is late from now on.
	Tick(at int64, sent []byte, in int64)
}
