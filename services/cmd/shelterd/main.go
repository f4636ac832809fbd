// Command shelterd is a node's shelter service: shelters, beds, holds, stays.
package main

import (
	"context"
	"errors"
	"os"

	"amanat.example/services/kit/process"
	"amanat.example/services/shelter"
)

func main() {
	os.Exit(process.Main("shelterd", os.Args[1:], os.Environ(), os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, c shelter.Config) error {
	s, err := shelter.New(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), s.Close())
}
