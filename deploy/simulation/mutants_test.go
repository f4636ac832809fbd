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
// Rules of the models that have no switch here. Switched off they were not missed within these bounds: `own` (only the new owner writes
// ARRIVED), which the model's exhausted states do not miss either: it is evidence of who saw the person; `resync`, since the post repeats
// to a restored receiver what it keeps for 48 hours, besides the recovery; the shelter's fence, since a hold's name is never used again;
// `vec`, which needs a third node that still hears an earlier life. `key` has no one place: a hold is named by its offer. `doss` is the
// protection service's, which is not here. `hello`, `retain`, `incuniq` and `ansmax` are the post's own: kit/post explores them.
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
