package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"amanat.example/deploy/network"
	postv1 "amanat.example/proto/amanat/post/v1"
)

// parcelFlags say at which node parcels are exported or imported.
type parcelFlags struct {
	data, node string
	json       bool
}

// parcels carries letters by hand where no network is.
func parcels() *cobra.Command {
	c := &cobra.Command{
		Use:   "parcels",
		Short: "Carry letters and receipts between nodes by hand, as a file, where the hub is out of reach",
		Long: "Carry letters and receipts between nodes by hand, as a file, where the hub is out of reach. What is in the file is sealed\n" +
			"to its receivers and signed. Export at one node, import at the other; then export there and import here, which\n" +
			"brings the receipts back. What is carried twice, or comes over the hub as well, is applied once.",
	}
	c.AddCommand(exportParcels(), importParcels())
	return c
}

func (f *parcelFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.data, "data", "data", "root folder of the data")
	c.Flags().StringVar(&f.node, "node", "", "own node; needed where the data holds more than one")
	c.Flags().BoolVar(&f.json, "json", false, "print the result as one JSON object")
}

func (f *parcelFlags) layout() (*network.Layout, error) {
	l, err := network.Load(f.data)
	if err != nil {
		return nil, err
	}
	if f.node == "" {
		nodes, err := network.NodesIn(f.data)
		if err != nil {
			return nil, err
		}
		if len(nodes) != 1 {
			return nil, fmt.Errorf("the data of %d nodes lies under %s: name the own one with --node", len(nodes), f.data)
		}
		f.node = nodes[0]
	}
	return l, nil
}

func exportParcels() *cobra.Command {
	var f parcelFlags
	var to string
	c := &cobra.Command{
		Use:   "export --to NODE FILE",
		Short: "Write what every service of this node has for another, and what it owes it, into one file",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.layout()
			if err != nil {
				return err
			}
			count, err := writeParcels(cmd.Context(), l, f.node, to, args[0])
			if err != nil {
				return fmt.Errorf("nothing was exported: %w", err)
			}
			return f.report(cmd.OutOrStdout(), "exported", count, nil)
		},
	}
	f.add(c)
	c.Flags().StringVar(&to, "to", "", "node that the file is for")
	if err := c.MarkFlagRequired("to"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// writeParcels writes the file so that it is there whole or not at all. It overwrites nothing: what lies there may be the only copy.
func writeParcels(ctx context.Context, l *network.Layout, node, to, path string) (count *postv1.CarriedCount, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there already, or cannot be looked at; name another file: %w", path, errors.Join(err, fs.ErrExist))
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".parcels-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	buffered := bufio.NewWriter(file)
	if count, err = l.ExportParcels(ctx, node, to, buffered); err != nil {
		return nil, err
	}
	if err = errors.Join(buffered.Flush(), file.Sync()); err != nil {
		return nil, err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return nil, err
	}
	return count, file.Close()
}

func importParcels() *cobra.Command {
	var f parcelFlags
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Take in a file that was exported at another node for this one",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.layout()
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			reply, err := l.ImportParcels(cmd.Context(), f.node, file)
			if err != nil {
				return errors.Join(err, file.Close())
			}
			applied := reply.GetAppliedLetters()
			return errors.Join(f.report(cmd.OutOrStdout(), "imported", reply.GetCount(), &applied), file.Close())
		},
	}
	f.add(c)
	return c
}

func (f *parcelFlags) report(out io.Writer, done string, c *postv1.CarriedCount, applied *uint64) error {
	if f.json {
		return json.NewEncoder(out).Encode(struct {
			Parcels  uint64  `json:"parcels"`
			Letters  uint64  `json:"letters"`
			Receipts uint64  `json:"receipts"`
			Applied  *uint64 `json:"applied,omitempty"`
		}{c.GetParcels(), c.GetLetters(), c.GetReceipts(), applied})
	}
	fmt.Fprintf(out, "%s: %d letters in %d parcels, %d receipts", done, c.GetLetters(), c.GetParcels(), c.GetReceipts())
	if applied != nil {
		fmt.Fprintf(out, "; %d letters are new here", *applied)
	}
	fmt.Fprintln(out)
	return nil
}
