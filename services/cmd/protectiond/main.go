// Command protectiond is a node's protection service: units, workers, cases, consent, dossiers.
package main

import (
	"context"
	"errors"
	"os"

	"amanat.example/services/kit/process"
	"amanat.example/services/protection"
)

func main() {
	os.Exit(process.Main("protectiond", os.Args[1:], os.Environ(), os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, c protection.Config) error {
	s, err := protection.New(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), s.Close())
}
