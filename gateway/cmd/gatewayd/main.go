// Command gatewayd is a node's gateway: REST/JSON over HTTPS, and the pages that say how the node is.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"google.golang.org/grpc/grpclog"

	"amanat.example/gateway"
	"amanat.example/services/kit/process"
)

func main() {
	// What the libraries would write to standard error can quote requests; our own log says it without.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	os.Exit(process.Main("gatewayd", os.Args[1:], os.Environ(), os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, c gateway.Config) error {
	s, err := gateway.New(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), s.Close())
}
