package post

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/store"
)

// A letter that is tried a second time may have gone meanwhile, or stand no more, since its writer said so: then nothing is done, and nothing stops.
func TestWhatNoLongerStandsIsNotTried(t *testing.T) {
	schema := store.NewSchema("tried", 1)
	p := &Post{tables: Declare(schema)}
	db, err := store.Open(context.Background(), store.Options{Engine: store.NewMemory(), Inline: true, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	p.db = db
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	letter := &postv1.Letter{LetterId: []byte("0123456789abcdef"), Kind: "a kind that nobody handles"}
	q := &postv1.QuarantinedLetter{Letter: letter, Link: &postv1.Link{From: &postv1.Address{Node: "sindh", Service: "referral"}}, Stands: true}
	key := store.K("a letter")
	for name, there := range map[string]*postv1.QuarantinedLetter{"gone": nil, "fallen": {Letter: letter, Link: q.GetLink()}} {
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			if there == nil {
				return nil
			}
			return p.tables.quarantine.Put(tx, key, there)
		})
		if err != nil {
			t.Fatal(err)
		}
		applied, err := p.tryOne(context.Background(), store.Row[*postv1.QuarantinedLetter]{Key: key, Value: q}, time.Now())
		if applied || err != nil {
			t.Errorf("%s: applied %t, %v", name, applied, err)
		}
	}
}

// goneOnce are keys by whose roster a node is there at the first look, and not at the next.
type goneOnce struct {
	Keys
	node string
	seen bool
}

func (k *goneOnce) Active(node, _ string) bool {
	if node != k.node {
		return true
	}
	defer func() { k.seen = true }()
	return !k.seen
}

// A sender that becomes absent between the look and the question ends nothing, and keeps no other from being asked.
func TestWhoBecomesAbsentIsNotAsked(t *testing.T) {
	schema := store.NewSchema("asked", 1)
	gone := &goneOnce{node: "punjab"}
	p := &Post{
		tables: Declare(schema), keys: gone, self: &postv1.Address{Node: "sindh", Service: "referral"}, rand: rand.Reader, clock: time.Now,
		flights: map[end]*protocol.Flight{}, wakeRelay: make(chan struct{}, 1), wakeSelf: make(chan struct{}, 1), counts: newCounts(),
	}
	db, err := store.Open(context.Background(), store.Options{Engine: store.NewMemory(), Inline: true, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	p.db = db
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	asked := 0
	err = db.Update(context.Background(), func(tx *store.Tx) error {
		for i, node := range []string{"balochistan", "punjab", "khyber"} {
			from := &postv1.Address{Node: node, Service: "referral"}
			letter := &postv1.Letter{LetterId: []byte("0123456789abcdef"), Kind: "a kind", Subject: "s", Sequence: uint64(i) + 1}
			q := &postv1.QuarantinedLetter{Letter: letter, Link: &postv1.Link{From: from, To: p.self, Lane: postv1.Lane_LANE_BULK}}
			if err := p.tables.quarantine.Put(tx, quarantineKey(from, postv1.Lane_LANE_BULK, 1, letter), q); err != nil {
				return err
			}
		}
		if err := p.askStand(tx); err != nil {
			return err
		}
		return p.tables.outbox.Scan(tx, store.Range{}, func(_ store.Key, l *postv1.Letter) error {
			asked++
			return nil
		})
	})
	if err != nil || !gone.seen || asked != 2 {
		t.Errorf("%d are asked: %v", asked, err)
	}
}
