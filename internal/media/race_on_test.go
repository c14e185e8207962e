//go:build race

package media

// raced: the race detector is at work, which allocates where we do not.
const raced = true
