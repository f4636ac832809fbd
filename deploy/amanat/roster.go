package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/identity"
)

func roster() *cobra.Command {
	c := &cobra.Command{
		Use:   "roster",
		Short: "Change who is in the network: draft, sign and publish versions of the roster",
		Long: "Change who is in the network. A member drafts the next version of the roster into a file (draft, suspend, readmit, retire). The\n" +
			"file goes round by e-mail or memory stick; each member looks at it and signs it (sign). When a majority of the members\n" +
			"has signed, each operator installs it at the own node (publish), the one of the federal node first.",
	}
	c.AddCommand(rosterDraft(), rosterState("suspend", "Draft a version in which nodes take no part until they are readmitted",
		func(d *identity.Draft, nodes []string) { d.Suspend = nodes }),
		rosterState("readmit", "Draft a version in which suspended nodes take part again",
			func(d *identity.Draft, nodes []string) { d.Readmit = nodes }),
		rosterState("retire", "Draft a version in which nodes have left for good",
			func(d *identity.Draft, nodes []string) { d.Retire = nodes }),
		rosterSign(), rosterPublish(), rosterExport(), rosterShow())
	return c
}

// rosterFlags are what the commands about the roster have in common.
type rosterFlags struct {
	data, node string
	json       bool
}

func (f *rosterFlags) add(c *cobra.Command) {
	dataFlag(c, &f.data)
	nodeFlag(c, &f.node)
	c.Flags().BoolVar(&f.json, "json", false, "print the result as one JSON object")
}

func (f *rosterFlags) at() (string, error) { return chosen(f.data, f.node) }

func rosterDraft() *cobra.Command {
	var f rosterFlags
	var out string
	var replace bool
	c := &cobra.Command{
		Use:   "draft REQUEST...",
		Short: "Draft a version that lets in the nodes which wrote these requests",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			d := identity.Draft{Replace: replace}
			for _, path := range paths {
				request, err := readRequest(path)
				if err != nil {
					return err
				}
				d.Requests = append(d.Requests, request)
			}
			return f.draft(cmd, d, out)
		},
	}
	f.add(c)
	outFlag(c, &out)
	c.Flags().BoolVar(&replace, "replace", false, "a request may replace the keys of a node in the roster that lost its own")
	return c
}

func rosterState(verb, short string, set func(*identity.Draft, []string)) *cobra.Command {
	var f rosterFlags
	var out string
	c := &cobra.Command{
		Use:   verb + " NODE...",
		Short: short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, nodes []string) error {
			var d identity.Draft
			set(&d, nodes)
			return f.draft(cmd, d, out)
		},
	}
	f.add(c)
	outFlag(c, &out)
	return c
}

func outFlag(c *cobra.Command, out *string) {
	c.Flags().StringVar(out, "out", "roster.pem", "the file to write; never overwritten")
}

func (f *rosterFlags) draft(cmd *cobra.Command, d identity.Draft, out string) error {
	node, err := f.at()
	if err != nil {
		return err
	}
	file, err := identity.Propose(f.data, node, time.Now(), d)
	if err != nil {
		return err
	}
	return f.create(cmd, file, out, "Drafted in "+out+"; each member signs it: amanat roster sign "+out)
}

// create writes a roster into a new file, and reports what is in it.
func (f *rosterFlags) create(cmd *cobra.Command, file *identityv1.RosterFile, out, next string) error {
	text, err := identity.EncodeRoster(file)
	if err != nil {
		return err
	}
	review, err := identity.Examine(file)
	if err != nil {
		return err
	}
	if err := durable.Create(out, text); err != nil {
		return err
	}
	return f.report(cmd.OutOrStdout(), review, next)
}

func rosterSign() *cobra.Command {
	var f rosterFlags
	var yes, instead bool
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "Show what a drafted version changes, and sign it in the file",
		Long: "Show what a drafted version changes, and sign it in the file. At a terminal it asks first; elsewhere it signs with --yes alone.\n" +
			"Compare the fingerprint of a request with who wrote it, by telephone, before you sign.",
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
			review, err := identity.Examine(file)
			if err != nil {
				return err
			}
			if !yes {
				if err := f.report(cmd.OutOrStdout(), review, ""); err != nil {
					return err
				}
				if err := confirm(cmd, node); err != nil {
					return err
				}
			}
			if review, err = identity.Sign(f.data, node, file, instead); err != nil {
				return err
			}
			text, err := identity.EncodeRoster(file)
			if err != nil {
				return err
			}
			if err := durable.Replace(args[0], text); err != nil {
				return err
			}
			next := "Signed by " + node + "; pass the file on to the next member"
			if review.Complete() {
				next = "Signed by " + node + "; enough have signed: each operator installs it, the federal node's first: amanat roster publish " + args[0]
			}
			return f.report(cmd.OutOrStdout(), review, next)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "sign without asking")
	c.Flags().BoolVar(&instead, "instead", false, "another version of this number was signed here and then given up everywhere; sign this one in its place")
	return c
}

var errNobody = errors.New("nothing is signed: nobody can be asked here; look at the file with amanat roster show, and sign with --yes")

// confirm asks at a terminal, and nowhere else.
func confirm(cmd *cobra.Command, node string) error {
	in := cmd.InOrStdin()
	if !terminal(in) {
		return errNobody
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Sign as %s? Type yes: ", node)
	answer, err := bufio.NewReader(in).ReadString('\n')
	switch {
	case err != nil: // such as /dev/null
		return errNobody
	case strings.TrimSpace(answer) != "yes":
		return errors.New("nothing is signed")
	}
	return nil
}

func rosterPublish() *cobra.Command {
	var f rosterFlags
	c := &cobra.Command{
		Use:   "publish FILE...",
		Short: "Install a version that enough members have signed at a node; its services take it up by themselves",
		Long: "Install a version that enough members have signed at a node. Its services, and the hub at the federal node, take it up by\n" +
			"themselves. Several files are copies of one draft that were signed apart. A version travels by these files alone:\n" +
			"each operator installs it, and until then the node knows the version before.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			node, err := f.at()
			if err != nil {
				return err
			}
			var files []*identityv1.RosterFile
			for _, path := range paths {
				file, err := readRoster(path)
				if err != nil {
					return err
				}
				files = append(files, file)
			}
			file, err := identity.Merge(files...)
			if err != nil {
				return err
			}
			review, err := identity.Examine(file)
			if err != nil {
				return err
			}
			if _, err := identity.LoadRoster(f.data, node); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("node %s is in no network yet: amanat join %s", node, paths[0])
			}
			if err := identity.InstallRoster(f.data, node, file.GetLog()); err != nil {
				return err
			}
			return f.report(cmd.OutOrStdout(), review, fmt.Sprintf("Version %d is installed at %s", review.Version, node))
		},
	}
	f.add(c)
	return c
}

func rosterExport() *cobra.Command {
	var f rosterFlags
	var out string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the roster installed at a node into a file, for a node that joins or has missed versions",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := f.at()
			if err != nil {
				return err
			}
			installed, err := identity.LoadRoster(f.data, node)
			if err != nil {
				return err
			}
			return f.create(cmd, &identityv1.RosterFile{Log: installed.Log()}, out, "Written to "+out)
		},
	}
	f.add(c)
	outFlag(c, &out)
	return c
}

// reviewResult is a roster as --json tells of it.
type reviewResult struct {
	Network     string   `json:"network"`
	Version     uint64   `json:"version"`
	Fingerprint string   `json:"fingerprint"`
	Changes     []string `json:"changes"`
	Signed      []string `json:"signed"`
	Missing     []string `json:"missing"`
	Needed      int      `json:"needed"`
	Complete    bool     `json:"complete"`
}

func (f *rosterFlags) report(out io.Writer, r *identity.Review, next string) error {
	if f.json {
		if next == "" {
			return nil // the answer is still to come
		}
		some := func(lines []string) []string { return append([]string{}, lines...) }
		return json.NewEncoder(out).Encode(reviewResult{
			Network: r.Network, Version: r.Version, Fingerprint: r.Fingerprint, Changes: some(r.Changes),
			Signed: some(r.Signed), Missing: some(r.Missing), Needed: r.Needed, Complete: r.Complete(),
		})
	}
	fmt.Fprintf(out, "Roster version %d, fingerprint %s\nof the network        %s\n", r.Version, r.Fingerprint, r.Network)
	for _, change := range r.Changes {
		fmt.Fprintf(out, "  %s\n", change)
	}
	fmt.Fprintf(out, "Signed by %s (%d needed)", orNobody(r.Signed), r.Needed)
	if !r.Complete() {
		fmt.Fprintf(out, "; still to sign: %s", orNobody(r.Missing))
	}
	fmt.Fprintln(out)
	if next != "" {
		fmt.Fprintln(out, next)
	}
	return nil
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

func readRequest(path string) (*identityv1.NodeRequest, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	request, err := identity.DecodeRequest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return request, nil
}

func readRoster(path string) (*identityv1.RosterFile, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	file, err := identity.DecodeRoster(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}
