//go:build mutants

package simulation

import (
	"slices"
	"strings"
	"testing"

	"amanat.example/services/kit/mutant"
)

// Each rule, taken away, is missed: in a scenario that holds with it (TestExplore), a named invariant does not hold.
//
// Rules of the models that have no switch, and why: `own` (only the new owner writes ARRIVED) broke nothing in the model's exhausted
// states either; it is there as evidence of who saw the person. `key` and the shelter's fence: a hold has a name that is never used again
// and names its offer, so that one of another offer or life is not found. `doss` is protection's, which is not here. `resync`, `retain`
// and `hello` do the same twice: what a restored node lacks is told by the post, which repeats what it keeps for 48 hours, and by the
// recovery. `vec`, `ansmax` and `incuniq` need a third node that still hears an earlier life, and three restores: beyond these bounds.
func TestMutants(t *testing.T) {
	for _, m := range []struct{ rule, scenario, broken string }{
		{"ready", "one offer", "READY (sent)"},
		{"watch", "one offer", "I7 (deadline)"},
		{"arr", "the child goes first", "STUCK (letter)"},
		{"ret", "return", "I6 (care)"},
		{"notify", "referred on", "TOLD (chain)"},
		{"fwd", "the child goes first", "HEAL (care)"},
		{"aid", "an old word of an arrival", "HEAL (followed)"},
		{"all ready", "siblings", "PARTED"},
		{"both", "siblings", "PARTED"},
		{"idem", "lost answers of the shelter", "BED FOR TWO HOLDS"},
		{"rec", "a shelter is restored", "READY"},
		{"roster", "the origin is restored", "FORK"},
		{"hold", "a handover of a lost life", "FORK"},
		{"earlier life", "both are restored", "FORK"},
		{"fence", "a handover of a lost life", "HEAL"},
		{"back", "a promise that the origin took back and forgot", "HEAL"},
		{"rcptinc", "the origin is restored", "HEAL"},
		{"letterid", "the origin is restored", "STUCK (letter)"},
		{"wait", "who has promised is restored", "READY"},
		{"drop", "a shelter is restored to when a bed was held", "PROMISE (kept)"},
	} {
		t.Run(m.rule, func(t *testing.T) {
			mutant.Set(m.rule)
			defer mutant.Set("")
			i := slices.IndexFunc(scenarios, func(sc Scenario) bool { return sc.Name == m.scenario })
			sc := scenarios[i].bound()
			if m.broken == "PARTED" {
				sc.HealEvery = 0 // so that it is found where it happens
			}
			r := Explore(t, sc)
			t.Logf("%s: %s\n%s  (%v)", m.scenario, r.Broken, r.Trace, r)
			if !strings.HasPrefix(r.Broken, m.broken) {
				t.Errorf("without the rule %q: %q, want %q", m.rule, r.Broken, m.broken)
			}
		})
	}
}
