package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"amanat.example/deploy/network"
)

// hubFlags are what both commands must agree on.
type hubFlags struct {
	data, address string
	bytes         int64
}

func (f *hubFlags) add(c *cobra.Command, address string) {
	c.Flags().StringVar(&f.data, "data", "data", "root folder of the federal node's data")
	c.Flags().StringVar(&f.address, "address", "", address+" (default: what init noted)")
	c.Flags().Int64Var(&f.bytes, "max-bytes", network.DefaultHubBytes, "bound of the letters on the hub's disk; give both commands the same")
}

func (f *hubFlags) fill() error {
	if f.bytes < 64<<20 {
		return errors.New("--max-bytes must be at least 67108864: mail of 64 MiB")
	}
	if f.address != "" {
		return nil
	}
	l, err := network.Load(f.data)
	if err == nil {
		f.address = l.Address(network.FederalNode, network.Hub)
	}
	return err
}

// writeHubConfig readies a nats-server of its own to be the hub.
func writeHubConfig() *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use:   "hub-config",
		Short: "Write nats-server.conf for a hub that is a nats-server of its own, from the federal node's roster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.fill(); err != nil {
				return err
			}
			path, err := network.WriteHubConfig(f.data, f.address, f.bytes)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", path)
			return nil
		},
	}
	f.add(c, "host:port on which the hub listens")
	return c
}

// provisionHub makes what the services may not make themselves.
func provisionHub() *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use:   "hub-provision",
		Short: "Make the streams and the mailboxes at a hub that runs, or bring them up to date; loses no letter",
		Long: "Make the streams and the mailboxes at a hub that runs with what hub-config wrote, or bring them up to date. Do it after\n" +
			"the first start, after each new version of the roster, and whenever the hub has lost its store. It throws away what lies\n" +
			"there for or from who takes no part any more. No letter is lost: its sender has kept it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.fill(); err != nil {
				return err
			}
			return network.ProvisionHub(cmd.Context(), f.data, f.address, f.bytes)
		},
	}
	f.add(c, "host:port of the hub")
	return c
}
