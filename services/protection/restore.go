package protection

import (
	"context"
	"io"

	"amanat.example/services/kit/process"
	"amanat.example/services/protection/internal/store"
)

// Restore makes the files of a node's protection service from its backup, where there are none. See process.Restore.
func Restore(ctx context.Context, data, node string, rows, keys io.Reader) error {
	return process.Restore(ctx, data, node, "protection", store.Schema, rows, keys)
}
