// Package interop plays a whole server against SIP programs that nobody here wrote: SIPp, a scripted
// peer that can misbehave in every way RFC 3261 allows, and baresip, a softphone with codecs and sound.
// It holds tests only. Everything is on loopback and free ports; every program is started and killed by
// the test that needs it. A missing program skips its tests loudly, and fails them where CI=true.
package interop
