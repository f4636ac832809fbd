package protection

import (
	"context"

	"amanat.example/services/kit/process"
	"amanat.example/services/protection/internal/store"
)

// Check verifies the files of a node's protection service, which must not run. It changes nothing.
func Check(ctx context.Context, data, node string) ([]process.Checked, error) {
	return process.Check(ctx, data, node, process.Checks{Name: "protection", Schema: store.Schema, Audit: store.Audit})
}
