package federal

import (
	"context"
	"io"

	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/process"
)

// Restore makes the files of a node's federal service from its backup, where there are none. See process.Restore.
func Restore(ctx context.Context, data, node string, rows, keys io.Reader) error {
	return process.Restore(ctx, data, node, "federal", store.Schema, rows, keys)
}
