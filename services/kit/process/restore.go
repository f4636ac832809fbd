package process

import (
	"context"
	"io"
	"path/filepath"

	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Restore makes the files of a service under the folder of the data, where there are none: its keys first, then its store, which begins
// a new life. The errors are those of store.Restore; after one, what was made is of no use.
func Restore(ctx context.Context, data, node, name string, schema *store.Schema, rows, keys io.Reader) error {
	dir := filepath.Join(data, node, name)
	if err := durable.MakeFolder(dir); err != nil {
		return err
	}
	if err := privacy.RestoreKeys(ctx, dir, keys); err != nil {
		return err
	}
	return store.Restore(ctx, rows, store.Options{Path: filepath.Join(dir, name+".db"), Schema: schema}, false)
}
