// Command federald is the federal cell's service: flows between nodes, never names.
package main

import (
	"context"
	"errors"
	"os"

	"amanat.example/services/federal"
	"amanat.example/services/kit/process"
)

func main() {
	os.Exit(process.Main("federald", os.Args[1:], os.Environ(), os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, c federal.Config) error {
	s, err := federal.New(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), s.Close())
}
