package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"amanat.example/services/federal"
	"amanat.example/services/kit/process"
	"amanat.example/services/protection"
	"amanat.example/services/referral"
	"amanat.example/services/shelter"
)

var checks = map[string]func(ctx context.Context, data, node string) ([]process.Checked, error){
	Federal: federal.Check, Protection: protection.Check, Referral: referral.Check, Shelter: shelter.Check,
}

// Check verifies the files of every service of the nodes under a root, or of the nodes named alone. None of them may run. The
// error is of the check; what is wrong is in the reports.
func Check(ctx context.Context, root string, nodes ...string) (checked []process.Checked, err error) {
	all := len(nodes) == 0
	if all {
		if nodes, err = NodesIn(root); err != nil {
			return nil, err
		}
	}
	for _, node := range nodes {
		found := 0
		for _, service := range []string{Protection, Referral, Shelter, Federal} {
			if _, err := os.Stat(filepath.Join(root, node, service, service+".db")); err != nil {
				continue // this node has no such service, or it never ran
			}
			found++
			files, err := checks[service](ctx, root, node)
			if err != nil {
				return nil, fmt.Errorf("%s/%s cannot be checked: %w", node, service, err)
			}
			checked = append(checked, files...)
		}
		if found == 0 && !all { // of all, one may not have run yet
			return nil, fmt.Errorf("there is no service's file of node %q under %s: name the folder of the data with --data", node, root)
		}
	}
	if len(checked) == 0 {
		return nil, fmt.Errorf("there is no service's file under %s: name the folder of the data with --data", root)
	}
	return checked, nil
}

// NodesIn are the nodes that have an identity under a root.
func NodesIn(root string) (nodes []string, err error) {
	folders, err := filepath.Glob(filepath.Join(root, "*", "identity"))
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		nodes = append(nodes, filepath.Base(filepath.Dir(f)))
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("there is no node under %s: name the folder of the data with --data", root)
	}
	slices.Sort(nodes)
	return nodes, nil
}
