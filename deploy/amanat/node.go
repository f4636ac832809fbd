package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/identity"
)

// maxRead is a little more than the largest file that is read, so that a larger one is told as such.
const maxRead = identity.MaxFile + 1

func node() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Make one node that joins a network, run it, and let people in"}
	c.AddCommand(nodeInit(), nodeRun(), nodeToken())
	return c
}

func nodeInit() *cobra.Command {
	var data, hub string
	n := network.Node{}
	c := &cobra.Command{
		Use:   "init NODE --province PK-KP --display-name NAME --hub HOST:PORT",
		Short: "Make a node's identity alone, and the request by which it joins a network; never overwrites",
		Long: "Make a node's identity alone: its certificate authority, its keys, and the request by which it joins a network. Nothing is sent:\n" +
			"give the request file to a member by e-mail or on a memory stick, and read its fingerprint to the members by telephone.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			if err := network.AddNode(data, n, hub); err != nil {
				return err
			}
			path := identity.RequestPath(data, n.Name)
			request, err := readRequest(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is made under %s.\nIts request: %s\nFingerprint of the request: %s\n"+
				"Give the file to a member of the network, and read the fingerprint to the members by telephone.\n",
				n.Name, filepath.Join(data, n.Name), path, identity.RequestFingerprint(request))
			return nil
		},
	}
	dataFlag(c, &data)
	c.Flags().StringVar(&n.DisplayName, "display-name", "", "what people call it, such as \"Khyber Pakhtunkhwa Child Protection Commission\"")
	c.Flags().StringVar(&n.Province, "province", "", "ISO 3166-2 code of the province it serves, such as PK-KP")
	c.Flags().StringVar(&hub, "hub", "", "address of the network's hub, host:port")
	c.Flags().IntVar(&n.Number, "number", network.FirstNumber, "gives the node's ports on this machine: gateway 808n, protection 9n01 and so on")
	for _, name := range []string{"display-name", "province", "hub"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag is misspelt here
		}
	}
	return c
}

func nodeRun() *cobra.Command {
	var data, level string
	c := &cobra.Command{
		Use:   "run [NODE...]",
		Short: "Run the nodes under the data folder, or those named, until interrupted; each part a process kept up",
		RunE: func(cmd *cobra.Command, nodes []string) error {
			l, err := network.Load(data)
			if err != nil {
				return err
			}
			if len(nodes) > 0 {
				if l, err = l.Only(nodes...); err != nil {
					return err
				}
			}
			if err := l.CheckPorts(); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			for _, n := range l.Nodes {
				fmt.Fprintf(cmd.OutOrStdout(), "%s runs; its gateway is at https://%s, its logs are in %s\n",
					n.Name, l.Address(n.Name, network.Gateway), filepath.Join(data, "log"))
			}
			return network.NewSupervisor(l, func(p network.Part) []string {
				return []string{self, "part", "--data", data, "--log-level", level, p.Node, p.Name}
			}).Run(cmd.Context())
		},
	}
	dataFlag(c, &data)
	c.Flags().StringVar(&level, "log-level", "info", "least severe lines that are logged: debug, info, warn or error")
	return c
}

func dataFlag(c *cobra.Command, data *string) {
	c.Flags().StringVar(data, "data", "data", "root folder of the data")
}

// nodeFlag says at which node a command acts; chosen answers its name.
func nodeFlag(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "node", "", "the node at which this is done (default: the only one under the data folder)")
}

func chosen(data, name string) (string, error) {
	folders, err := filepath.Glob(filepath.Join(data, "*", "identity"))
	if err != nil {
		return "", err
	}
	var all []string
	for _, f := range folders {
		all = append(all, filepath.Base(filepath.Dir(f)))
	}
	switch {
	case len(all) == 0:
		return "", fmt.Errorf("there is no node under %s: name the folder of the data with --data", data)
	case name == "" && len(all) == 1:
		return all[0], nil
	case name == "":
		return "", fmt.Errorf("several nodes lie under %s: say with --node at which this is done: %s", data, strings.Join(all, ", "))
	}
	for _, n := range all {
		if n == name {
			return name, nil
		}
	}
	return "", fmt.Errorf("there is no node %q under %s: name with --node one of %s", name, data, strings.Join(all, ", "))
}

// readFile reads a file that came from elsewhere.
func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxRead))
}
