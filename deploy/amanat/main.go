// Command amanat is the operator's command: it makes identities, lets provinces join, runs nodes and a demo network, and plays
// a referral through it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "amanat:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "amanat",
		Short:         "Hand a child's protection on from one province to another, and lose nobody",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(demo(), initNetwork(), node(), join(), roster(), part(), status(), figures(), check(), backUp(), restore(), compact(), verify(), parcels(), writeHubConfig(), provisionHub())
	return c
}
