//go:build mutants

package simulation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"amanat.example/services/kit/mutant"
)

// Each rule, taken away, is missed: a named invariant does not hold in a scenario which with all rules holds as far as that.
//
// Two rules of the models have another name here: `hello` is `hold`, since a restored service takes in nothing of a node that has not answered;
// `ansmax` is `fence`, since an answer is a letter, and none of an earlier life is taken in. `doss` is the protection service's, which is not
// here: its own test takes it away, and the days do.
//
// Rules of the models that have no switch. Switched off they were not missed within these bounds: `own` (only the new owner writes
// ARRIVED), which the model's exhausted states do not miss either: it is evidence of who saw the person; the shelter's fence, since a
// hold's name is never used again; `vec`, which needs a third node that still hears an earlier life. `key` has no one place: a hold is
// named by its offer.
func TestMutants(t *testing.T) {
	farthest := map[string]int{} // states of a scenario
	for _, m := range []struct{ rule, scenario, broken string }{
		{"ready", "one offer", "READY (sent)"},
		{"watch", "one offer", "I7 (deadline)"},
		{"one transaction", "one offer", "I1 (one writer)"},
		{"arr", "the child goes first", "STUCK (letter)"},
		{"ret", "return", "I6 (care)"},
		{"notify", "referred on", "TOLD (chain)"},
		{"fwd", "the child goes first", "HEAL (care)"},
		{"aid", "an old word of an arrival", "HEAL (followed)"},
		{"all ready", "siblings", "PARTED"},
		{"both", "siblings", "PARTED"},
		{"idem", "lost answers of the shelter", "BED FOR TWO HOLDS"},
		{"rec", "a shelter is restored", "READY"},
		{"admitting", "a shelter is away when a child comes and goes", "BED (here)"},
		{"roster", "the origin is restored", "FORK"},
		{"hold", "a handover of a lost life", "FORK"},
		{"earlier life", "both are restored", "FORK"},
		{"fence", "a handover of a lost life", "FORK"},
		{"back", "a promise that the origin took back and forgot", "HEAL (owner)"},
		{"rcptinc", "the origin is restored", "HEAL (letters)"},
		{"letterid", "the origin is restored", "STUCK (letter)"},
		{"retain", "who has promised is restored", "HEAL (owner)"},
		{"resync", "the destination is restored", "HEAL (offer)"},
		{"incuniq", "the origin is restored twice", "HEAL (letters)"},
		{"wait", "who has promised is restored", "READY"},
		{"drop", "a shelter is restored to when a bed was held", "PROMISE (kept)"},
	} {
		t.Run(m.rule, func(t *testing.T) {
			mutant.Set(m.rule)
			defer mutant.Set("")
			sc := scenarioOf(m.scenario)
			if m.broken == "PARTED" {
				sc.HealEvery = 0 // so that it is found where it happens
			}
			r := Explore(t, sc)
			t.Logf("%s: %s\n%s  (%v)", m.scenario, r.Broken, r.Trace, r)
			if !strings.HasPrefix(r.Broken, m.broken) {
				t.Errorf("without the rule %q: %q, want %q", m.rule, r.Broken, m.broken)
				return
			}
			farthest[m.scenario] = max(farthest[m.scenario], r.States)
			tellMutant(m.rule, m.broken, fmt.Sprintf("%d states of %q", r.States, m.scenario))
		})
	}
	for name, states := range farthest {
		t.Run("none, "+name, func(t *testing.T) {
			t.Parallel() // when each rule is there again
			sc := scenarioOf(name)
			sc.Most = states
			if r := Explore(t, sc); r.Broken != "" {
				t.Errorf("with all rules: %s\n%s", r.Broken, r.Trace)
			}
		})
	}
}

func scenarioOf(name string) Scenario {
	return scenarios[slices.IndexFunc(scenarios, func(sc Scenario) bool { return sc.Name == name })].bound()
}
