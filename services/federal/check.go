package federal

import (
	"context"

	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/process"
)

// Check verifies the files of a node's federal service, which must not run. It changes nothing.
func Check(ctx context.Context, data, node string) ([]process.Checked, error) {
	return process.Check(ctx, data, node, process.Checks{Name: "federal", Schema: store.Schema, Audit: store.Audit})
}
