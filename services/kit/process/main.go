package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"amanat.example/services/kit/config"
)

// Exit codes of a service's program.
const (
	// ExitDone: it ended because it was told to, or printed its help.
	ExitDone = 0
	// ExitFailed: it could not start, or could not go on; standard error says why.
	ExitFailed = 1
	// ExitUsage: a setting is missing or wrong; standard error names it.
	ExitUsage = 2
)

// Main is the program of a service: it reads the settings, runs until SIGINT or SIGTERM, and
// says how it ended. run gets the settings and ends when its context does.
func Main[T any](program string, args, environ []string, out, errs io.Writer, run func(ctx context.Context, settings T) error) int {
	settings, err := config.Load[T](program, args, environ, out)
	if errors.Is(err, config.ErrHelp) {
		return ExitDone
	}
	if err != nil {
		fmt.Fprintf(errs, "%s: %v\n", program, err)
		return ExitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, settings); err != nil {
		fmt.Fprintf(errs, "%s: %v\n", program, err)
		return ExitFailed
	}
	return ExitDone
}
