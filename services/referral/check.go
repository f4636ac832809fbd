package referral

import (
	"context"

	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/process"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// Check verifies the files of a node's referral service, which must not run: also every custody chain, by the keys of the node's
// roster, and that no referral is without a deadline. It changes nothing.
func Check(ctx context.Context, data, node string) ([]process.Checked, error) {
	roster, err := identity.LoadRoster(data, node)
	if err != nil {
		return nil, err
	}
	return process.Check(ctx, data, node, process.Checks{
		Name: "referral", Schema: store.Schema, Audit: store.Audit,
		Rules: []kitstore.Rule{app.CheckChains(node, roster, rules.DefaultLimits())},
	})
}
