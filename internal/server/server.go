package server

import (
	"context"
	"errors"
)

// Run starts a server and serves until ctx is done.
func Run(ctx context.Context, cfg Config) error {
	return errors.New("server: not wired yet")
}
