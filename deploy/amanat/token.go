package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"amanat.example/deploy/network"
	"amanat.example/gateway/session"
	"amanat.example/services/kit/codes"
)

const maxTokenDays = 366

var workerID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,60}$`)

// nodeToken makes an API token, by which a person reaches the gateway of a node that has just joined.
func nodeToken() *cobra.Command {
	var data, node, role, unit string
	var days int
	c := &cobra.Command{
		Use:   "token WORKER --role ROLE",
		Short: "Make an API token for a person at a node's gateway, and print it: it cannot be had again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := chosen(data, node)
			if err != nil {
				return err
			}
			now := time.Now()
			if !workerID.MatchString(args[0]) {
				return errors.New("worker: use up to 61 lower case letters, digits and hyphens, and no person's name")
			}
			if err := codes.CheckOn(codes.Role, role, now); err != nil {
				return fmt.Errorf("role: %w", err)
			}
			if days < 1 || days > maxTokenDays {
				return fmt.Errorf("days: use 1 to %d", maxTokenDays)
			}
			secret, err := session.Create(filepath.Join(data, node, network.Gateway, "tokens.json"), session.Grant{
				Person: "nodes/" + node + "/workers/" + args[0], Roles: []string{role}, Unit: unit, Purpose: "casework",
				ExpireTime: now.AddDate(0, 0, days),
			}, now)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), secret)
			return nil
		},
	}
	dataFlag(c, &data)
	nodeFlag(c, &node)
	c.Flags().StringVar(&role, "role", "", "such as case-worker, supervisor, shelter-manager")
	c.Flags().StringVar(&unit, "unit", "", "resource name of the person's unit or shelter, such as nodes/khyber/units/peshawar")
	c.Flags().IntVar(&days, "days", 90, "how long it is good")
	if err := c.MarkFlagRequired("role"); err != nil {
		panic(err) // the flag is misspelt here
	}
	return c
}
