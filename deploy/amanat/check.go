package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/process"
	kitstore "amanat.example/services/kit/store"
)

var errDamaged = errors.New("something is wrong with these files: keep them, stop the node, and restore or ask for help")

// check verifies a stopped node's files.
func check() *cobra.Command {
	var data string
	var asJSON bool
	c := &cobra.Command{
		Use:   "check [NODE...]",
		Short: "Verify the files of nodes that do not run: rows, indexes, audit logs, chains, beds; changes nothing",
		Long: "Verify the files of nodes that do not run, all under the data folder or those named: every row and index, every key file,\n" +
			"every audit log, every custody chain by the roster's keys, and that no bed is promised twice. It changes nothing.\n" +
			"Exit code 0: all is well; 1: something is wrong, or a file could not be read.",
		RunE: func(cmd *cobra.Command, nodes []string) error {
			files, err := network.Check(cmd.Context(), data, nodes...)
			if errors.Is(err, kitstore.ErrLocked) {
				return fmt.Errorf("%w; stop the node first, or check a copy of its data", err)
			}
			if err != nil {
				return err
			}
			return reportFiles(cmd.OutOrStdout(), files, asJSON)
		},
	}
	c.Flags().StringVar(&data, "data", "data", "root folder of the data")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return c
}

// fileResult is a file as --json tells of it.
type fileResult struct {
	Path     string   `json:"path"`
	Rows     uint64   `json:"rows"`
	Problems []string `json:"problems"`
}

func reportFiles(out io.Writer, files []process.Checked, asJSON bool) error {
	result, sound := make([]fileResult, 0, len(files)), true
	for _, f := range files {
		r := fileResult{Path: f.Path, Problems: []string{}}
		for _, b := range f.Buckets {
			if !b.Index {
				r.Rows += b.Rows
			}
		}
		for _, p := range f.Problems {
			r.Problems, sound = append(r.Problems, p.Error()), false
		}
		result = append(result, r)
	}
	if asJSON {
		err := json.NewEncoder(out).Encode(struct {
			Sound bool         `json:"sound"`
			Files []fileResult `json:"files"`
		}{sound, result})
		if err != nil {
			return err
		}
	} else {
		for _, r := range result {
			fmt.Fprintf(out, "%-7s %8d rows  %s\n", map[bool]string{true: "sound", false: "DAMAGED"}[len(r.Problems) == 0], r.Rows, r.Path)
			for _, p := range r.Problems {
				fmt.Fprintf(out, "        %s\n", p)
			}
		}
	}
	if !sound {
		return errDamaged
	}
	return nil
}
