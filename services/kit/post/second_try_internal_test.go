package post

import (
	"context"
	"testing"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
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
