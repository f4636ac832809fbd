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

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

func sumOf(t testing.TB, m *kitstore.Memory) []byte {
	h := sha256.New()
	if err := m.Each(func(bucket string, key, payload []byte) { fmt.Fprintf(h, "%s %x %x\n", bucket, key, payload) }); err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil)
}

// fuzzed is a letter that the service takes, as its writer would write it.
type fuzzed struct {
	kind string
	from *postv1.Address
	body proto.Message
}

// Whatever another node's protection service, or the federal cell, writes in place of a letter, it is applied or refused; what is refused
// has changed nothing, nothing that is written makes the receiver try for ever, and every row is sound afterwards.
func FuzzLetters(f *testing.F) {
	engine := kitstore.NewMemory()
	b := newAppOn(f, away, engine)
	b.unit()
	b.hear("ready", ready)
	b.hear("dispatched", inTransit)
	kept, first := engine.Clone(), b.DB
	from := &postv1.Address{Node: home, Service: "protection"}
	cell := &postv1.Address{Node: "federal", Service: "federal"}
	letters := []fuzzed{
		{"protection.dossier.v1", from, &protectionv1.Dossier{
			Referral: referral, Offer: referral + "/offers/aa", Urgency: custodyv1.Urgency_URGENCY_HIGH, Narrative: canary,
			Person: &protectionv1.Person{GivenName: canary, Gender: "Feminine"},
		}},
		{"protection.dossier_wanted.v1", from, &protectionv1.DossierWanted{Referral: referral}},
		{flow.WantedKind, cell, &federalv1.FlowsWanted{AllDays: true}},
		{flow.FactsKind, cell, &federalv1.Facts{Facts: []*federalv1.Fact{{
			FlowId: make([]byte, 16), Kind: "identified", FromNode: away, EventTime: timestamppb.New(begin),
		}}}},
	}
	for kind := range b.Handlers() {
		if !slices.ContainsFunc(letters, func(l fuzzed) bool { return l.kind == kind }) {
			f.Fatalf("nobody writes %s here", kind)
		}
	}
	for i := range letters {
		f.Add(byte(i), false, []byte{}, []byte{})
		f.Add(byte(i), false, []byte{0, 3, 1, 2, 0, 1, 4, 5}, []byte{})
		f.Add(byte(i), true, []byte{}, []byte("\xff\xff"))
	}
	f.Fuzz(func(t *testing.T, which byte, stranger bool, choices, raw []byte) {
		l := letters[int(which)%len(letters)]
		handler := b.Handlers()[l.kind]
		if handler == nil {
			t.Fatalf("nobody takes %s", l.kind)
		}
		body := proto.Clone(l.body)
		fuzztest.Mutate(body, fuzztest.NewChoices(choices))
		written, err := proto.Marshal(body)
		if err != nil {
			return
		}
		if len(raw) > 0 {
			written = raw
		}
		sender := l.from
		if stranger {
			sender = &postv1.Address{Node: "sindh", Service: "referral"}
		}
		before := sumOf(t, engine)
		err = b.DB.Update(context.Background(), func(tx *kitstore.Tx) error {
			return handler(tx, sender, &postv1.Letter{Kind: l.kind, Body: written})
		})
		changed := !bytes.Equal(sumOf(t, engine), before)
		if err != nil && (changed || !strings.HasPrefix(err.Error(), post.Refuse("").Error()) || strings.Contains(err.Error(), fuzztest.Canary)) {
			t.Errorf("%s: %v; changed: %v", l.kind, err, changed)
		}
		if stranger && changed {
			t.Errorf("%s of a service that does not write it changes something", l.kind)
		}
		report, err := b.DB.Check(context.Background())
		if err := errors.Join(err, report.Err()); err != nil {
			t.Error(err)
		}
		if !changed {
			return
		}
		if b.DB != first { // the outbox has the first
			must(t, b.DB.Close())
		}
		engine = kept.Clone()
		b.DB, err = kitstore.Open(context.Background(), kitstore.Options{Engine: engine, Inline: true, Schema: store.Schema})
		must(t, err)
	})
}
