package app_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
)

// Whatever facts say, also what no honest province tells, counts follow from the facts alone: flows of two cases, cases of each other and of
// themselves, corrections of corrections and of what names the case.
func TestCountsFollowFromAnyFacts(t *testing.T) {
	kinds := []string{
		facts.Identified, facts.Referred, facts.Referred, facts.Accepted, facts.Arrived, facts.Completed, facts.Service, facts.Declined,
		facts.Returned, facts.Retracted, "MOVED_TO_THE_MOON",
	}
	for seed := range uint64(15) {
		chance := rand.New(rand.NewPCG(seed, 2))
		b := newBench(t)
		var all []*federalv1.Fact
		for range 40 {
			f := fact(chance.IntN(4), kinds[chance.IntN(len(kinds))], "punjab", chance.IntN(60*24*60))
			if f.GetKind() == facts.Identified {
				f.ToNode = ""
			} else if chance.IntN(2) == 0 {
				f.CaseFlowId = flowID(chance.IntN(4))
			}
			if len(all) > 0 && (f.GetKind() == facts.Retracted || chance.IntN(3) == 0) {
				other := all[chance.IntN(len(all))]
				f.FlowId, f.Corrects = other.GetFlowId(), facts.ID("sindh", "referral", other)
			} else if f.GetKind() == facts.Retracted {
				continue
			}
			all = append(all, f)
		}
		chance.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for i, f := range all {
			b.tell(f)
			if i%8 != 0 && i < len(all)-1 {
				continue
			}
			got := b.counts()
			if err := b.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := b.counts(); !slices.Equal(got, want) {
				t.Fatalf("seed %d, after %d facts: %v\ncounted anew: %v", seed, i+1, got, want)
			}
		}
	}
}

// A flow, or a case, of so much that each fact would cost a long look is no honest one: what goes beyond is refused.
func TestFlowsWithoutEnd(t *testing.T) {
	b := newBench(t)
	tell := func(node string, f *federalv1.Fact) error {
		t.Helper()
		return b.deliver(node, "referral", flow.FactsKind, marshal(t, &federalv1.Facts{Facts: []*federalv1.Fact{f}}))
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "too-many-facts") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range 200 {
		if err := tell("sindh", fact(1, "MOVED", "punjab", n)); err != nil {
			t.Fatal(n, err)
		}
	}
	refused("fact 201", tell("sindh", fact(1, "MOVED", "punjab", 200)))
	if err := tell("sindh", fact(1, "MOVED", "punjab", 199)); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	if err := tell("punjab", fact(1, facts.Arrived, "punjab", 200)); err != nil {
		t.Errorf("another node's: %v", err)
	}
	referred := func(n int) *federalv1.Fact {
		f := fact(1, facts.Referred, "punjab", n)
		f.FlowId, f.CaseFlowId = fmt.Appendf(nil, "%016d", n), flowID(9)
		return f
	}
	for n := range 100 {
		if err := tell("sindh", referred(n)); err != nil {
			t.Fatal(n, err)
		}
	}
	before := b.counts()
	refused("referral 101", tell("sindh", referred(100)))
	if got := b.counts(); !slices.Equal(got, before) {
		t.Errorf("a refusal changed the counts: %v", got)
	}
}
