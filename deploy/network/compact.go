package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"amanat.example/services/kit/store"
)

// Compacted is a file that was written anew without its free pages.
type Compacted struct {
	Path string
	// Before and After are its size in bytes.
	Before, After int64
}

// Compact writes the files of every service of the nodes named anew, or of all nodes under a root. None of them may run. Every row is
// verified on the way. A file that fails stays as it is, with the error; those before it are done.
func Compact(ctx context.Context, root string, nodes ...string) (all []Compacted, err error) {
	every := len(nodes) == 0
	if every {
		if nodes, err = NodesIn(root); err != nil {
			return nil, err
		}
	}
	for _, node := range nodes {
		found := len(all)
		for _, service := range []string{Protection, Referral, Shelter, Federal} {
			for _, file := range []string{"keys.db", service + ".db"} {
				c := Compacted{Path: filepath.Join(root, node, service, file)}
				info, err := os.Stat(c.Path)
				if err != nil {
					continue // this node has no such service, or it never ran
				}
				c.Before = info.Size()
				if err := store.Compact(ctx, c.Path); err != nil {
					return all, err
				}
				if info, err = os.Stat(c.Path); err != nil {
					return all, err
				}
				c.After = info.Size()
				all = append(all, c)
			}
		}
		if len(all) == found && !every { // of all, one may not have run yet
			return all, fmt.Errorf("there is no service's file of node %q under %s: name the folder of the data with --data", node, root)
		}
	}
	return all, nil
}
