// Command referrald is a node's referral service: referrals, offers, the custody chain.
package main

import (
	"context"
	"errors"
	"os"

	"amanat.example/services/kit/process"
	"amanat.example/services/referral"
)

func main() {
	os.Exit(process.Main("referrald", os.Args[1:], os.Environ(), os.Stdout, os.Stderr, run))
}

func run(ctx context.Context, c referral.Config) error {
	s, err := referral.New(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), s.Close())
}
