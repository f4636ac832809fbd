package shelter

import (
	"context"

	"amanat.example/services/kit/process"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

// Check verifies the files of a node's shelter service, which must not run: also that no bed is promised twice and that
// holds and stays belong together. It changes nothing.
func Check(ctx context.Context, data, node string) ([]process.Checked, error) {
	return process.Check(ctx, data, node, process.Checks{
		Name: "shelter", Schema: store.Schema, Audit: store.Audit, Rules: []kitstore.Rule{app.CheckBeds},
	})
}
