package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/zone"
)

var errNotSound = errors.New("this chain is not sound: do not act on it, and tell both nodes' operators")

// verify checks a handover file, offline.
func verify() *cobra.Command {
	var data, node string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify the custody chain in a handover file by the roster's keys, offline, and say what it says",
		Long: "Verify the custody chain in a handover file, as it travels with an escort: that every event is legal, and signed by whom it says, by\n" +
			"the keys of the roster that a node of this network holds. It needs no network and no running node, and it changes nothing.\n" +
			"Exit code 0: the chain is sound; 1: it is not, or the file could not be read.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := readHandover(args[0])
			if err != nil {
				return err
			}
			roster, err := identity.LoadRoster(data, node)
			if err != nil {
				return fmt.Errorf("%w; name a folder of data and a node in it with --data and --node", err)
			}
			chain, fault := custody.VerifyAll(roster, file.GetChain().GetEvents())
			if fault == nil && (len(chain.Links()) == 0 || chain.State().Referral != file.GetReferral()) {
				fault = errors.New("the chain is not that of the referral the file names")
			}
			if err := reportChain(cmd.OutOrStdout(), file, chain, fault, asJSON); err != nil {
				return err
			}
			if fault != nil {
				return errNotSound
			}
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", "data", "root folder of the data")
	c.Flags().StringVar(&node, "node", "federal", "the node whose roster to go by")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return c
}

func readHandover(path string) (*referralv1.HandoverFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, custody.MaxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	file := &referralv1.HandoverFile{}
	if err := custody.DecodeFile(raw, file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// stepResult is an event as --json tells of it.
type stepResult struct {
	Sequence uint64    `json:"sequence"`
	Epoch    uint32    `json:"epoch"`
	Time     time.Time `json:"time"`
	Node     string    `json:"node"`
	What     string    `json:"what"`
	By       string    `json:"reply_node,omitempty"`
	Hash     string    `json:"hash"`
}

type chainResult struct {
	Sound     bool         `json:"sound"`
	Problem   string       `json:"problem,omitempty"`
	Referral  string       `json:"referral"`
	Reference string       `json:"reference"`
	State     string       `json:"state"`
	Owner     string       `json:"owner_node"`
	Care      string       `json:"care_node"`
	Head      string       `json:"head"`
	Steps     []stepResult `json:"steps"`
}

// printable shows what a file says of itself without what steers a terminal: nothing may hide the verdict.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func reportChain(out io.Writer, file *referralv1.HandoverFile, chain *custody.Chain, fault error, asJSON bool) error {
	s := chain.State()
	r := chainResult{
		Sound: fault == nil, Referral: file.GetReferral(), Reference: s.Submitted.GetReference(), Steps: []stepResult{},
		Owner: s.Owner, Care: s.Care, Head: s.Head.String(),
	}
	if s.State != custodyv1.ReferralState_REFERRAL_STATE_UNSPECIFIED {
		r.State = custody.StateName(s.State)
	}
	if fault != nil {
		r.Problem = fault.Error()
	}
	for _, l := range chain.Links() {
		step := stepResult{
			Sequence: l.Event.GetSequence(), Epoch: l.Event.GetEpoch(), Time: l.Event.GetTime().AsTime(), Node: l.Event.GetOwner(), Hash: l.Hash.String(),
		}
		step.What, step.By = custody.Said(l)
		r.Steps = append(r.Steps, step)
	}
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	fmt.Fprintf(out, "%s  %s\n\n", printable(r.Reference), printable(r.Referral))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, step := range r.Steps {
		by := step.Node
		if step.By != "" {
			by = step.By + ", taken in by " + step.Node
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", step.Sequence, step.Time.In(zone.Karachi).Format("2006-01-02 15:04"), step.What, by, step.Hash[:12])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if fault != nil {
		fmt.Fprintf(out, "\nNOT SOUND behind event %d: %s\n", len(r.Steps), r.Problem)
		return nil
	}
	fmt.Fprintf(out, "\nSound: every event is signed by whom it says. The referral is %s; %s owns it, and %s has the duty of care.\nHead %s: whoever reads out the same one holds the same chain.\n",
		r.State, r.Owner, r.Care, r.Head[:16])
	return nil
}
