package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/identity"
)

func rosterShow() *cobra.Command {
	var f rosterFlags
	c := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the roster installed at a node, or what a file holds: a request, or a roster and what it changes",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return f.showFile(cmd.OutOrStdout(), args[0])
			}
			node, err := f.at()
			if err != nil {
				return err
			}
			installed, err := identity.LoadRoster(f.data, node)
			if err != nil {
				return err
			}
			return f.showMembers(cmd.OutOrStdout(), installed)
		},
	}
	f.add(c)
	return c
}

func (f *rosterFlags) showFile(out io.Writer, path string) error {
	file, err := readRoster(path)
	if err == nil {
		review, err := identity.Examine(file)
		if err != nil {
			return err
		}
		return f.report(out, review, "Nothing is changed by looking")
	}
	request, wrong := readRequest(path)
	if wrong != nil {
		return err
	}
	asks, err := identity.OpenRequest(request)
	if err != nil {
		return err
	}
	shown := member(asks)
	shown.State, shown.Fingerprint = "", identity.RequestFingerprint(request)
	if f.json {
		return json.NewEncoder(out).Encode(shown)
	}
	fmt.Fprintf(out, "Request of %s: %q, %s, services %s\nFingerprint of the request: %s\n",
		shown.Node, shown.DisplayName, shown.Province, strings.Join(shown.Services, ", "), shown.Fingerprint)
	return nil
}

// memberResult is a node as --json tells of it.
type memberResult struct {
	Node        string   `json:"node"`
	DisplayName string   `json:"display_name"`
	Province    string   `json:"province,omitempty"`
	State       string   `json:"state,omitempty"`
	Services    []string `json:"services"`
	Fingerprint string   `json:"fingerprint,omitempty"`
}

func member(n *identityv1.RosterNode) memberResult {
	m := memberResult{
		Node: n.GetNode(), DisplayName: n.GetDisplayName(), Province: n.GetProvince(), Services: []string{},
		State: strings.ToLower(strings.TrimPrefix(n.GetState().String(), "STATE_")),
	}
	for _, s := range n.GetServices() {
		m.Services = append(m.Services, s.GetService())
	}
	return m
}

func (f *rosterFlags) showMembers(out io.Writer, r *identity.Roster) error {
	members := []memberResult{}
	for _, n := range r.Nodes() {
		members = append(members, member(n))
	}
	if f.json {
		return json.NewEncoder(out).Encode(struct {
			Network string         `json:"network"`
			Version uint64         `json:"version"`
			Nodes   []memberResult `json:"nodes"`
		}{r.Fingerprint(), r.Version(), members})
	}
	fmt.Fprintf(out, "Roster version %d\nof the network %s\n", r.Version(), r.Fingerprint())
	for _, m := range members {
		fmt.Fprintf(out, "  %-16s %-6s %-10s %q\n", m.Node, m.Province, m.State, m.DisplayName)
	}
	return nil
}
