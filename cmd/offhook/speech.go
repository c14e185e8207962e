package main

import (
	"context"

	"github.com/offhook/offhook/internal/speech"
)

// speechWorkerCommand is the main of a child process that turns text into samples for a server.
type speechWorkerCommand struct{}

func (speechWorkerCommand) Run(ctx context.Context, a *app) error {
	return speech.RunChild(ctx, a.in, a.out)
}
