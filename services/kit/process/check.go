package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Checked is a file that was checked.
type Checked struct {
	// Path of the file.
	Path string
	store.Report
}

// Checks say what to check of a service. Name, Schema and Audit are needed.
type Checks struct {
	// Name, Schema and Audit are those of Options.
	Name   string
	Schema *store.Schema
	Audit  *audit.Log
	// Rules are the service's own, beside those of every service.
	Rules []store.Rule
}

// Check verifies the files of a service that does not run, under the folder of the data: its keys, its store with all rows, indexes and
// counts, the chain of its audit log, and the service's own rules. It changes nothing. The error is of the check, such as
// store.ErrLocked where the service runs; what is wrong is in the reports.
func Check(ctx context.Context, data, node string, c Checks) ([]Checked, error) {
	dir := filepath.Join(data, node, c.Name)
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	keys, err := privacy.CheckKeys(ctx, dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, c.Name+".db")
	audited := func(_ context.Context, r store.Reader, report func(string)) error {
		_, err := c.Audit.Verify(r)
		if errors.Is(err, audit.ErrBroken) {
			report(err.Error())
			return nil
		}
		return err
	}
	rows, err := store.CheckFile(ctx, path, c.Schema, append([]store.Rule{audited}, c.Rules...)...)
	if err != nil {
		return nil, err
	}
	return []Checked{{filepath.Join(dir, "keys.db"), keys}, {path, rows}}, nil
}
