package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"amanat.example/deploy/network"
	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/backup"
)

// defaultKeep is how many backups of the data stay: a week, where one is made every night.
const defaultKeep = 7

// backUp takes a backup of a node that runs.
func backUp() *cobra.Command {
	var data string
	var b network.Backup
	var asJSON bool
	c := &cobra.Command{
		Use:   "backup --to FOLDER [--keys-to FOLDER]",
		Short: "Back up a node that runs, data and keys apart, encrypted to the recipients in its backup-recipients file",
		Long: "Back up a node that runs. Its services go on meanwhile. The data go to one folder and the keys, with the node's identity, to another:\n" +
			"data may be kept, of keys only the latest may exist, so that what was erased stays erased. So copy the folder of the data wherever you\n" +
			"like, and let a copy of the folder of the keys replace the one before. All is encrypted with age to the recipients that\n" +
			"<data>/<node>/backup-recipients names; no key on this machine opens it.\n" +
			"Exit code 0: the backup is whole; 1: it is not there, or an older one could not be removed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if b.Node, err = chosen(data, b.Node); err != nil {
				return err
			}
			l, err := network.Load(data)
			if err != nil {
				return err
			}
			if b.KeysTo == "" {
				b.KeysTo = b.To
			}
			began := time.Now()
			done, err := l.BackUp(cmd.Context(), b)
			if err != nil {
				return err
			}
			return reportBackup(cmd.OutOrStdout(), b, done, time.Since(began), asJSON)
		},
	}
	dataFlag(c, &data)
	nodeFlag(c, &b.Node)
	c.Flags().StringVar(&b.To, "to", "", "folder of the backups")
	c.Flags().StringVar(&b.KeysTo, "keys-to", "", "folder of the keys, better on another medium (default: that of --to)")
	c.Flags().IntVar(&b.Keep, "keep", defaultKeep, "how many backups of the data stay in the folder, this one among them; of keys always one")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	if err := c.MarkFlagRequired("to"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// savedFile is a file of a backup as --json tells of it.
type savedFile struct {
	Path        string `json:"path"`
	Bytes       int64  `json:"bytes"`
	Service     string `json:"service,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
}

func savedFiles(dir string, m *backupv1.Manifest) (files []savedFile) {
	for _, a := range m.GetArtefacts() {
		files = append(files, savedFile{filepath.Join(dir, a.GetFile()), a.GetSize(), a.GetLabel().GetService(), a.GetLabel().GetIncarnation()})
	}
	return files
}

func reportBackup(out io.Writer, b network.Backup, done *network.BackedUp, took time.Duration, asJSON bool) error {
	data, keys := savedFiles(b.To, done.Data), savedFiles(b.KeysTo, done.Keys)
	if asJSON {
		return json.NewEncoder(out).Encode(struct {
			Node    string      `json:"node"`
			Time    time.Time   `json:"time"`
			Data    []savedFile `json:"data"`
			Keys    []savedFile `json:"keys"`
			Removed []string    `json:"removed"`
		}{b.Node, done.Data.GetBeginTime().AsTime(), data, keys, append([]string{}, done.Removed...)})
	}
	bytes := int64(0)
	for _, f := range append(data, keys...) {
		fmt.Fprintf(out, "%12d bytes  %s\n", f.Bytes, f.Path)
		bytes += f.Bytes
	}
	fmt.Fprintf(out, "%s is backed up: %d files, %d bytes, in %s; %d older files were removed.\n", b.Node, len(data)+len(keys), bytes, took.Round(time.Millisecond), len(done.Removed))
	return nil
}

// restore brings a node back.
func restore() *cobra.Command {
	var r network.Restoration
	var identity string
	var asJSON bool
	c := &cobra.Command{
		Use:   "restore --from FOLDER [--keys-from FOLDER] --identity FILE",
		Short: "Bring a node back from a backup: its data, the latest keys, and the age key that opens them; changes nothing on an error",
		Long: "Bring a node back from a backup, into a folder of data where it is not, or with --replace into the place of a node that does not run.\n" +
			"All is restored and checked beside its place before anything changes. Every service begins a new life: started, it asks the other\n" +
			"nodes what it lost, and until they have answered, referrals of before the backup stand still; new ones go on.\n" +
			"Exit code 0: the node is there, start it; 1: nothing was changed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if r.Identities, err = backup.ReadIdentities(identity); err != nil {
				return err
			}
			if r.KeysFrom == "" {
				r.KeysFrom = r.From
			}
			done, err := network.Restore(cmd.Context(), r)
			if err != nil {
				return fmt.Errorf("nothing was restored: %w", err)
			}
			return reportRestored(cmd.OutOrStdout(), r, done, asJSON)
		},
	}
	dataFlag(c, &r.Root)
	c.Flags().StringVar(&r.Node, "node", "", "the node to bring back (default: the only one in the folder of the backups)")
	c.Flags().StringVar(&r.From, "from", "", "folder of the backups, as --to of amanat backup")
	c.Flags().StringVar(&r.KeysFrom, "keys-from", "", "folder of the keys (default: that of --from)")
	c.Flags().StringVar(&r.At, "time", "", "which data to take: the time in the name of its manifest, such as 20261126T020000.000Z (default: the latest)")
	c.Flags().StringVar(&identity, "identity", "", "file with the secret age key of one of the recipients")
	c.Flags().BoolVar(&r.Replace, "replace", false, "put it in the place of the node that is there and does not run; its files are moved to <data>/replaced")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	for _, name := range []string{"from", "identity"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag is misspelt here
		}
	}
	return c
}

func reportRestored(out io.Writer, r network.Restoration, done *network.Restored, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(struct {
			Node     string    `json:"node"`
			DataTime time.Time `json:"data_time"`
			KeysTime time.Time `json:"keys_time"`
			Replaced string    `json:"replaced,omitempty"`
		}{done.Node, done.Data.GetBeginTime().AsTime(), done.Keys.GetBeginTime().AsTime(), done.Replaced})
	}
	fmt.Fprintf(out, "%s is there again as of %s, with the keys of %s, and every file is sound.\n", done.Node,
		done.Data.GetBeginTime().AsTime().Format(time.DateTime), done.Keys.GetBeginTime().AsTime().Format(time.DateTime))
	if done.Replaced != "" {
		fmt.Fprintf(out, "What was there before is in %s, keys and all: remove it when %s works again.\n", done.Replaced, done.Node)
	}
	fmt.Fprintf(out, "Start it now: amanat node run %s --data %s; then amanat status tells whose answers it waits for.\n", done.Node, r.Root)
	return nil
}

// compact writes the files of stopped nodes anew.
func compact() *cobra.Command {
	var data string
	var asJSON bool
	c := &cobra.Command{
		Use:   "compact [NODE...]",
		Short: "Give back the room that removed rows have left in the files of nodes that do not run",
		RunE: func(cmd *cobra.Command, nodes []string) error {
			files, err := network.Compact(cmd.Context(), data, nodes...)
			if err != nil {
				return fmt.Errorf("%w; %d files were done before; stop the node first where it runs", err, len(files))
			}
			return reportCompacted(cmd.OutOrStdout(), files, asJSON)
		},
	}
	dataFlag(c, &data)
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return c
}

func reportCompacted(out io.Writer, files []network.Compacted, asJSON bool) error {
	type compacted struct {
		Path   string `json:"path"`
		Before int64  `json:"bytes_before"`
		After  int64  `json:"bytes_after"`
	}
	if asJSON {
		result := []compacted{}
		for _, f := range files {
			result = append(result, compacted(f))
		}
		return json.NewEncoder(out).Encode(struct {
			Files []compacted `json:"files"`
		}{result})
	}
	for _, f := range files {
		fmt.Fprintf(out, "%12d -> %12d bytes  %s\n", f.Before, f.After, f.Path)
	}
	return nil
}
