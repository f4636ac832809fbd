//go:build mutants

package simulation

import (
	"slices"
	"strings"
	"testing"

	"amanat.example/services/kit/mutant"
)

// Each rule, taken away, is missed: in a scenario that holds with it (TestExplore), a named invariant does not hold.
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
		{"drop", "a shelter is restored to when a bed was held", "PROMISE (kept)"},
	} {
		t.Run(m.rule, func(t *testing.T) {
			mutant.Set(m.rule)
			defer mutant.Set("")
			i := slices.IndexFunc(scenarios, func(sc Scenario) bool { return sc.Name == m.scenario })
			sc := scenarios[i]
			sc.Most, sc.HealEvery = usual, healed
			if !strings.HasPrefix(m.broken, "HEAL") && !strings.HasPrefix(m.broken, "TOLD") {
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
