package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"amanat.example/services/kit/identity"
)

func join() *cobra.Command {
	var f rosterFlags
	var fingerprint string
	c := &cobra.Command{
		Use:   "join FILE --network FINGERPRINT",
		Short: "Join the network whose members have let this node in: verify its whole roster and install it",
		Long: "Join the network whose members have let this node in. FILE is the roster that enough of them have signed. The whole history in\n" +
			"it is verified from the first version on, and the first by the network's fingerprint, 30 digits that a member reads to\n" +
			"you by telephone (amanat roster show). Join nothing whose fingerprint you know from the file's sender alone.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := f.at()
			if err != nil {
				return err
			}
			file, err := readRoster(args[0])
			if err != nil {
				return err
			}
			if err := identity.JoinNetwork(f.data, node, file.GetLog(), fingerprint); err != nil {
				return err
			}
			review, err := identity.Examine(file)
			if err != nil {
				return err
			}
			return f.report(cmd.OutOrStdout(), review, fmt.Sprintf("%s is in the network; run it: amanat node run --data %s %s", node, f.data, node))
		},
	}
	f.add(c)
	c.Flags().StringVar(&fingerprint, "network", "", "the network's fingerprint, as a member read it to you; spaces and hyphens do not count")
	if err := c.MarkFlagRequired("network"); err != nil {
		panic(err) // the flag is misspelt here
	}
	return c
}
