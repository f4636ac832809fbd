package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

func sumOf(t testing.TB, m *kitstore.Memory) []byte {
	h := sha256.New()
	if err := m.Each(func(bucket string, key, payload []byte) { fmt.Fprintf(h, "%s %x %x\n", bucket, key, payload) }); err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil)
}

// Whatever a node writes in place of a letter, it is counted or refused; what is refused has changed nothing, nothing that is written makes
// the cell try for ever, every row is sound afterwards, and the counts are what they are when all is counted anew.
func FuzzLetters(f *testing.F) {
	engine := kitstore.NewMemory()
	b := newBenchOn(f, kitstore.Options{Engine: engine, Inline: true, Schema: store.Schema})
	b.tell(fact(1, facts.Identified, "", 0), fact(2, facts.Referred, "punjab", 5), fact(2, facts.Accepted, "punjab", 9))
	kept, first := engine.Clone(), b.DB
	at := timestamppb.New(begin)
	bodies := map[string]proto.Message{
		flow.FactsKind: &federalv1.Facts{Facts: []*federalv1.Fact{fact(2, facts.Arrived, "punjab", 20), fact(3, facts.Identified, "", 1)}},
		app.OldFlowKind: &federalv1.FlowFact{
			FlowId: flowID(4), Stage: federalv1.Stage_STAGE_IDENTIFIED, FromNode: "sindh", Time: at,
		},
		flow.DaysKind:     &federalv1.FlowDays{Days: []*federalv1.FlowDay{{Day: "2026-03-01", Facts: 9, Digest: make([]byte, 32)}}},
		flow.SheltersKind: &federalv1.ShelterDay{Day: "2026-03-01", CountTime: at, Total: 50, Occupied: 3},
		flow.LinksKind:    &federalv1.LinkStates{LookTime: at},
		late.Kind:         &federalv1.LateCounts{CountTime: at, Counts: []*federalv1.LateCount{{Step: "ANSWER", Age: federalv1.LateAge(1), Count: 1}}},
	}
	for kind := range b.Handlers() {
		if bodies[kind] == nil {
			f.Fatalf("nothing is made of %s", kind)
		}
	}
	var kinds []string
	for kind := range bodies {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for i := range kinds {
		f.Add(byte(i), false, []byte{}, []byte{})
		f.Add(byte(i), false, []byte{0, 3, 1, 2, 0, 1, 4, 5}, []byte{})
		f.Add(byte(i), true, []byte{}, marshal(f, bodies[kinds[i]]))
		f.Add(byte(i), false, []byte{}, []byte("\xff\xff"))
	}
	f.Fuzz(func(t *testing.T, which byte, stranger bool, choices, raw []byte) {
		b.t = t
		defer func() { b.t = f }()
		kind := kinds[int(which)%len(kinds)]
		body := proto.Clone(bodies[kind])
		fuzztest.Mutate(body, fuzztest.NewChoices(choices))
		written, err := proto.Marshal(body)
		if err != nil {
			return
		}
		if len(raw) > 0 {
			written = raw
		}
		from := &postv1.Address{Node: "sindh", Service: "referral"}
		if kind == flow.SheltersKind {
			from.Service = "shelter"
		}
		if stranger {
			from.Node = "nowhere"
		}
		before := sumOf(t, engine)
		err = b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
			return b.Handlers()[kind](tx, from, &postv1.Letter{Kind: kind, Body: written})
		})
		changed := !bytes.Equal(sumOf(t, engine), before)
		if err != nil && (changed || !strings.HasPrefix(err.Error(), post.Refuse("").Error()) || strings.Contains(err.Error(), fuzztest.Canary)) {
			t.Errorf("%s: %v; changed: %v", kind, err, changed)
		}
		if stranger && err == nil {
			t.Errorf("%s of a node that takes no part is taken", kind)
		}
		report, err := b.DB.Check(context.Background())
		if err := errors.Join(err, report.Err()); err != nil {
			t.Error(err)
		}
		if !changed {
			return
		}
		told := b.counts()
		if err := b.Recount(t.Context()); err != nil || !slices.Equal(b.counts(), told) {
			t.Errorf("counted %v, anew %v: %v", told, b.counts(), err)
		}
		if b.DB != first {
			if err := b.DB.Close(); err != nil {
				t.Error(err)
			}
		}
		engine = kept.Clone()
		if b.DB, err = kitstore.Open(context.Background(), kitstore.Options{Engine: engine, Inline: true, Schema: store.Schema}); err != nil {
			t.Fatal(err)
		}
	})
}
