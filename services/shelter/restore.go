package shelter

import (
	"context"
	"io"

	"amanat.example/services/kit/process"
	"amanat.example/services/shelter/internal/store"
)

// Restore makes the files of a node's shelter service from its backup, where there are none. See process.Restore.
func Restore(ctx context.Context, data, node string, rows, keys io.Reader) error {
	return process.Restore(ctx, data, node, "shelter", store.Schema, rows, keys)
}
