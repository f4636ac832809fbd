package referral

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/store"
)

// secret is all that newApp asks of a service's keys.
type secret struct{ post.Keys }

func (secret) Sign(string, []byte) []byte { return []byte("secret") }

// told is what was queued.
type told struct {
	app.Post
	kinds []string
}

func (t *told) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	tx.AfterCommit(func() { t.kinds = append(t.kinds, o.Kind) })
	return o.Check()
}

// The post is made of the handlers, and only then does the service have it: a letter that is answered by letters finds it all the same.
func TestFederalCellAsksForADay(t *testing.T) {
	db, err := kitstore.Open(t.Context(), kitstore.Options{Engine: kitstore.NewMemory(), Inline: true, Schema: store.Schema})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	a := newApp(standing{node: "punjab", federal: "federal", db: db, crypto: secret{}, now: func() time.Time { return at }, log: logging.Discard()})
	take := handlers(a)[flow.WantedKind]
	out := &told{}
	a.Post = out
	wanted, err := proto.Marshal(&federalv1.FlowsWanted{Days: []string{facts.Day(at)}})
	if err != nil {
		t.Fatal(err)
	}
	fact := &federalv1.Fact{FlowId: bytes.Repeat([]byte{1}, 16), Kind: facts.Referred, FromNode: "punjab", EventTime: timestamppb.New(at)}
	for _, step := range []func(*kitstore.Tx) error{
		func(tx *kitstore.Tx) error { return a.Flows().Tell(tx, fact) },
		func(tx *kitstore.Tx) error {
			return take(tx, &postv1.Address{Node: "federal", Service: "federal"}, &postv1.Letter{Kind: flow.WantedKind, Body: wanted})
		},
	} {
		if err := db.Update(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.kinds) != 2 || out.kinds[1] != flow.FactsKind {
		t.Errorf("a day was asked for, and after it was told first %v went out", out.kinds)
	}
}
