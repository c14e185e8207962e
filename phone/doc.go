// Package phone is a scripted SIP phone and the simulated numbers of dev mode.
//
// A [Phone] calls and answers, presses keys, plays and hears audio; tests drive it with methods that
// block on what really happened ([Call.WaitTone], [Call.WaitDigits], …), people with one-line scripts
// ([ParseScript]). A [Simulator] is a phone that answers every number, each in its own way: a person,
// a voicemail, a fax, a busy line (see [Numbers]).
//
// It is the peer the product is tested against, so it shares no code with it: RTP, G.711, SDP, tones
// and digest are its own, and only SIP parsing, transport and transactions come from sipgo. It is
// built for clarity, not for load: a call costs three goroutines. Unlike the rest of the project it
// reads the wall clock directly, because it stands for the world outside.
package phone
