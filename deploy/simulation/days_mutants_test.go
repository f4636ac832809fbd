//go:build mutants

package simulation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/privacy"
)

// Rules that are missed in days of life. The seed by which one is missed holds with it. `fence` is missed in one country of many
// alone: TestMutants has it.
func TestDaysMutants(t *testing.T) {
	keys := countryKeys(t)
	for _, m := range []struct{ rule, meaning, broken string }{ // broken is empty where any may be, which is as the seed has it
		{"receipt", "an outbox row is dead when the broker has it", ""},
		{"hold fence", "a hold is confirmed by an older fence", ""},
		{"window", "a duplicate is known for two minutes", ""},
		{"gap", "what is missing is passed over", ""},
		{"commit", "the receipt leaves before the commit", ""},
		{"cancel", "the origin cancels after dispatch", ""},
		{"ended", "an offer that was withdrawn is accepted", ""},
		{"life", "a restored store keeps its incarnation, and its sequences", ""},
		{"watch", "who handed over has no deadline of its own", ""},
		{"hold", "a restored service takes in what a node wrote that has not answered", ""},
		{"beds", "a bed is held that is not free", ""},
		{"ahead", "a store that was rolled back does not mind that a peer knows more of it", ""},
		{"all ready", "those who go together are sent when one of them has a promise", ""},
		{"given up", "a bed is not given back when its offer ends, nor when live offers and holds are compared", ""},
		{"given back", "facts that a service has told and lost are not taken back from the federal cell", ""},
		{"once", "a submission that is repeated begins another referral", "ONCE (referral)"},
		{"told", "that a person arrived is not told to the federal cell", "FEDERAL (flows)"},
		{"unit", "who watches is told to the unit of the owner", "I7 (unit)"},
		{"letterid", "a letter is known by its number alone", "JAM (mail)"},
		{"beside", "what is written beside a deed is stored before the deed is judged", "REFUSED (whole)"},
	} {
		name, seeds := missed(t, keys, m.rule, 1)
		if name == "" || m.broken != "" && name != m.broken {
			t.Errorf("without the rule %q (%s): %q in %d seeds, want %q", m.rule, m.meaning, name, seeds, m.broken)
			continue
		}
		tellMutant(m.rule, name, fmt.Sprintf("%d seeds of TestDays: %s", seeds, m.meaning))
	}
}

// Rules of dossiers, in the seeds that have them.
func TestCaseMutants(t *testing.T) {
	keys := countryKeys(t)
	for _, m := range []struct{ rule, meaning, broken string }{
		{"doss", "a dossier is kept after its offer was taken back", "DOSSIER (duty)"},
		{"consent", "a dossier is kept after consent was withdrawn", "DOSSIER (duty)"},
		{"early", "a dossier is sent with CONFIRM, before READY", "DOSSIER (READY)"},
		{"owed", "a dossier is sent to nobody", "DOSSIER (here)"},
		{"tombstone", "nothing stands of a dossier that was closed", "DOSSIER (tombstone)"},
		{"closed", "that a dossier was closed is told to nobody", "DOSSIER (told)"},
		{"moved", "a dossier is kept by a node from which the child has moved on", "DOSSIER (duty)"},
		{"once", "a submission that is repeated begins another referral", "CASE (one referral)"},
		{"lost", "a referral that nobody holds any more is not missed by its case", "CASE (held)"},
		{"again", "what a node said, and stands in the chain, is written into it again", "CHAIN"},
	} {
		name, seeds := missed(t, keys, m.rule, casesEvery)
		if name != m.broken {
			t.Errorf("without the rule %q (%s): %q in %d seeds, want %q", m.rule, m.meaning, name, seeds, m.broken)
			continue
		}
		tellMutant(m.rule, name, fmt.Sprintf("%d seeds of TestDays with cases: %s", seeds, m.meaning))
	}
}

// What is broken is told with a smaller plan that breaks the same, and the seed.
func TestMutantsAreExplained(t *testing.T) {
	keys := countryKeys(t)
	mutant.Set("watch")
	defer mutant.Set("")
	c := live(t, newPlan(1, smallSize.children, smallSize.days), keys, 0)
	smaller, tries := shrink(t, c.plan, c.invariant(), keys, time.Minute)
	before, after := len(c.plan.arrivals)+len(c.plan.mishaps), len(smaller.arrivals)+len(smaller.mishaps)
	if again := live(t, smaller, keys, 0); c.broken == "" || again.invariant() != c.invariant() || after > before/4 {
		t.Errorf("%q is broken with %d things that come, and %q with %d of them", c.broken, before, again.broken, after)
	}
	t.Logf("%q: %d things that come were made %d by %d tries", c.invariant(), before, after, tries)
	if told := c.explain(t, keys, time.Nanosecond); !strings.HasPrefix(told, "seed 1: "+c.invariant()) {
		t.Errorf("told is %.200s", told)
	}
}

// mutantSeeds are how many seeds are lived at most until a rule is missed.
const mutantSeeds = 16

// tellMutant prints a row of the table of mutants.
func tellMutant(rule, invariant, where string) {
	fmt.Printf("mutant %-13s %-20s %s\n", rule, invariant, where)
}

// sound are the seeds that were lived with all rules, and hold.
var sound = map[uint64]bool{}

// holds has a seed be lived with all rules, once: what breaks then as well is no sign that a rule is missed.
func holds(t *testing.T, keys []*privacy.Keyring, p plan) {
	t.Helper()
	if sound[p.seed] {
		return
	}
	if c := live(t, p, keys, 0); c.broken != "" {
		t.Errorf("with all rules, seed %d: %s", p.seed, c.broken)
	}
	sound[p.seed] = true
}

// missed is the name of the invariant that a rule is missed by, after how many seeds, of which each so many is lived.
func missed(t *testing.T, keys []*privacy.Keyring, rule string, every int) (name string, seeds int) {
	for seeds = 1; seeds <= mutantSeeds; seeds++ {
		p := planOf(seeds*every, seedsUsual, false)
		mutant.Set(rule)
		c := live(t, p, keys, 0)
		mutant.Set("")
		name = c.invariant()
		for _, fault := range []string{"INTERNAL", "OPEN", "WORK", "STORE", "RESTORE"} {
			if strings.HasPrefix(name, fault) {
				t.Logf("without %q, seed %d: %s", rule, seeds, c.broken)
				name = ""
			}
		}
		if name != "" {
			holds(t, keys, p)
			return name, seeds
		}
	}
	return "", mutantSeeds
}
