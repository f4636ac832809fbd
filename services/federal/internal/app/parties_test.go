package app_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
)

// word is a fact and the node that tells it.
type word struct {
	node string
	fact *federalv1.Fact
}

func (b *bench) hear(words ...word) {
	b.t.Helper()
	for _, w := range words {
		if err := b.deliver(w.node, "referral", flow.FactsKind, marshal(b.t, &federalv1.Facts{Facts: []*federalv1.Fact{w.fact}})); err != nil {
			b.t.Fatalf("%s: %v: %v", w.node, w.fact, err)
		}
	}
}

// way is one that a referral of sindh's takes, after somebody was identified there, from lines such as `punjab ARRIVED punjab`: who tells what, and of
// whom. Each is ten minutes later.
func way(lines ...string) []word {
	words := []word{{"sindh", fact(1, facts.Identified, "", -60)}}
	for i, line := range lines {
		parts := strings.Split(line+" ", " ")
		words = append(words, word{parts[0], fact(2, parts[1], parts[2], 10*i)})
	}
	words[1].fact.CaseFlowId = flowID(1)
	return words
}

// ways are all that a referral can take from node to node.
var ways = map[string][]word{
	"there": way("sindh REFERRED punjab", "sindh ACCEPTED punjab", "sindh DISPATCHED punjab", "punjab ARRIVED punjab", "punjab COMPLETED punjab", "punjab SERVICE punjab"),
	"on to a third": way("sindh REFERRED punjab", "sindh DECLINED balochistan", "sindh DISPATCHED punjab", "punjab ARRIVED punjab", "punjab ACCEPTED balochistan",
		"punjab DISPATCHED balochistan", "balochistan ARRIVED balochistan", "balochistan COMPLETED balochistan"),
	"and back":           way("sindh REFERRED punjab", "sindh DISPATCHED punjab", "punjab ARRIVED punjab", "sindh RETURNED punjab"),
	"on, then back":      way("sindh REFERRED punjab", "sindh DISPATCHED punjab", "punjab DISPATCHED balochistan", "balochistan ARRIVED balochistan", "sindh RETURNED balochistan"),
	"a handover refused": way("sindh REFERRED punjab", "sindh DISPATCHED punjab", "sindh DISPATCHED balochistan", "balochistan NO_SHOW balochistan", "balochistan ARRIVED balochistan"),
	"an agency outside":  way("sindh REFERRED", "sindh ACCEPTED", "sindh DISPATCHED", "sindh ARRIVED", "sindh COMPLETED"),
	"a service":          way("sindh REFERRED punjab", "sindh ACCEPTED punjab", "sindh COMPLETED punjab", "sindh SERVICE punjab"),
	"within one node":    way("sindh REFERRED sindh", "sindh UNANSWERED sindh", "sindh DISPATCHED sindh", "sindh ARRIVED sindh", "sindh COMPLETED sindh"),
}

// What those tell who have part in a flow counts, in whatever order it comes: as if one had told it all.
func TestAllWaysOfAFlowCount(t *testing.T) {
	for name, words := range ways {
		t.Run(name, func(t *testing.T) {
			alone := newBench(t)
			for _, w := range words {
				alone.hear(word{"sindh", w.fact})
			}
			want := alone.counts()
			chance := rand.New(rand.NewPCG(3, 4))
			for round := range 12 {
				b := newBench(t)
				if words = slices.Clone(words); round == 1 {
					slices.Reverse(words)
				} else if round > 1 {
					chance.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
				}
				b.hear(words...)
				if got := b.counts(); !slices.Equal(got, want) {
					t.Fatalf("in the order %v: %v\nwant %v", words, got, want)
				}
				if err := b.Rebuild(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := b.counts(); !slices.Equal(got, want) {
					t.Fatalf("counted anew: %v\nwant %v", got, want)
				}
			}
		})
	}
}

// What a node tells to which nobody says that the person was handed over does not count until somebody does who has part in the flow.
func TestWhatComesBeforeItsHandover(t *testing.T) {
	b := newBench(t)
	all := ways["on to a third"]
	strays := func(want string) {
		t.Helper()
		if got := fmt.Sprint(b.figures("2026-03").GetStrays()); got != want || len(b.figures("2026-04").GetStrays()) != 0 {
			t.Errorf("strays %s, want %s", got, want)
		}
	}
	b.hear(all[0], all[1])
	want := b.counts()
	strays("[]")
	b.hear(all[7], all[8], all[6]) // the third node has the person, from one that has no part yet
	got := slices.DeleteFunc(b.counts(), func(c string) bool { return strings.HasPrefix(c, rules.FigureStray+" ") })
	if !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	strays(fmt.Sprint([]*federalv1.StrayRow{{Node: "balochistan", Facts: 2}, {Node: "punjab", Facts: 1}}))
	b.hear(all[3])
	if got := strings.Join(b.counts(), "\n"); !strings.Contains(got, "stage 2026-03 sindh>balochistan COMPLETED 1") {
		t.Errorf("after the handover:\n%s", got)
	}
	strays("[]")
}

// ill is what a node can tell that knows all ids of a flow and its case, and has no part in them.
func ill(node string, words []word) (all []word) {
	add := func(id int, kind string, minutes int, change func(f *federalv1.Fact)) {
		f := fact(id, kind, node, minutes)
		change(f)
		all = append(all, word{node, f})
	}
	for i, kind := range []string{
		facts.Accepted, facts.Declined, facts.Unanswered, facts.Dispatched, facts.Arrived, facts.Service, facts.Completed, facts.NoShow, facts.Cancelled,
		facts.Expired, facts.Returned, "MOVED_TO_THE_MOON",
	} {
		for _, minutes := range []int{-500, 500} { // before and after all that happened
			add(2, kind, minutes+i, func(f *federalv1.Fact) { f.Code, f.CaseFlowId = "OTHER", flowID(9) })
		}
		add(8, kind, i, func(f *federalv1.Fact) { f.CaseFlowId = flowID(1) }) // a flow of which its own node has told nothing
	}
	for i, w := range words {
		id := facts.ID(w.node, "referral", w.fact)
		for _, kind := range []string{facts.Retracted, facts.Completed} {
			add(2, kind, 600+i, func(f *federalv1.Fact) { f.Corrects = id })
			add(1, kind, 600+i, func(f *federalv1.Fact) { f.Corrects = id })
		}
	}
	// Who has part in the flow hands over a person of another, under the same id.
	for _, w := range words {
		if w.node != "sindh" {
			f := fact(2, facts.Dispatched, node, 1)
			f.FromNode = w.node
			all = append(all, word{w.node, f})
		}
	}
	// Flows of its own under the same ids, and others of the same case.
	own := func(f *federalv1.Fact) { f.FromNode, f.CaseFlowId = node, flowID(1) }
	add(1, facts.Identified, -700, func(f *federalv1.Fact) { f.FromNode, f.ToNode = node, "" })
	for _, id := range []int{2, 7} {
		add(id, facts.Referred, -600, own)
		add(id, facts.Dispatched, -590, own)
		add(id, facts.Completed, -580, own)
	}
	return all
}

// A node that knows the ids of a flow and of its case, and has no part in it, changes no figure of the node where they begin: not what was reached and
// when, not who waits, not what was told wrong; in whatever order it all comes, and when it is counted anew.
func TestWhoHasNoPartInAFlow(t *testing.T) {
	of := func(b *bench) (all []string) {
		for _, c := range b.counts() {
			if strings.Contains(c, " sindh>") {
				all = append(all, c)
			}
		}
		return all
	}
	for name, honest := range ways {
		t.Run(name, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(5, 6))
			alone := newBench(t)
			alone.hear(honest...)
			want := of(alone)
			for range 6 {
				b := newBench(t)
				b.Member = func(string) bool { return true }
				all := slices.Concat(honest, ill("khyber", honest))
				chance.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				b.hear(all...)
				if got := of(b); !slices.Equal(got, want) {
					t.Fatalf("%v\nwant %v", got, want)
				}
				whole := b.counts()
				if err := b.Rebuild(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := b.counts(); !slices.Equal(got, whole) {
					t.Fatalf("counted anew: %v\nwant %v", got, whole)
				}
			}
		})
	}
}

// Of which case a flow is, no other node says, also not one that has part in the flow.
func TestOfWhichCaseAFlowIs(t *testing.T) {
	for _, minutes := range []int{-30, 30} { // before and after the node itself
		b := newBench(t)
		b.hear(ways["there"]...)
		want := b.figures("all").GetTotal()
		strange := fact(2, facts.Arrived, "punjab", minutes)
		strange.CaseFlowId = flowID(9)
		b.hear(word{"punjab", strange})
		if got := b.figures("all").GetTotal(); !proto.Equal(got, want) || got.GetCompleted() != 1 {
			t.Errorf("told %d minutes after the submission: %v, want %v", minutes, got, want)
		}
	}
}

// What does not count is kept as it was told: the two ends say the same of it.
func TestWhatDoesNotCountIsCompared(t *testing.T) {
	p := newPair(t)
	strange := fact(2, facts.Completed, "sindh", 5)
	strange.FromNode = "punjab"
	p.writes(strange)
	p.settle()
	p.whole(1)
	if got := p.counts(); len(got) != 1 || !strings.HasPrefix(got[0], rules.FigureStray+" ") {
		t.Errorf("counted: %v", got)
	}
}

// Who knows the id of a case cannot keep the case's own node from telling of its referrals.
func TestACaseIsNotFilledByOthers(t *testing.T) {
	b := newBench(t)
	for n := range 150 {
		for _, origin := range []string{"punjab", "sindh"} {
			f := fact(1, facts.Referred, "punjab", n)
			if origin == "sindh" {
				f.Kind = facts.Arrived // no flow of another begins
			}
			f.FlowId, f.FromNode, f.CaseFlowId = fmt.Appendf(nil, "%015d%c", n, origin[0]), origin, flowID(9)
			if err := b.deliver("punjab", "referral", flow.FactsKind, marshal(t, &federalv1.Facts{Facts: []*federalv1.Fact{f}})); err != nil && origin == "sindh" {
				t.Fatal(n, err)
			}
		}
	}
	own := fact(2, facts.Referred, "punjab", 10)
	own.CaseFlowId = flowID(9)
	b.hear(word{"sindh", fact(9, facts.Identified, "", 0)}, word{"sindh", own})
	if got := b.figures("all").GetTotal(); got.GetIdentified() != 1 || got.GetReferred() != 1 || got.GetArrived() != 0 {
		t.Errorf("counted: %v", got)
	}
}
