package app

import (
	"slices"
	"testing"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// What begins to wait goes behind what waits already of the same node and referral, also when some of that is done by then.
func TestWhatWaitsStaysInOrder(t *testing.T) {
	db, err := kitstore.Open(t.Context(), kitstore.Options{Engine: kitstore.NewMemory(), Schema: store.Schema})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	a := &App{DB: db, Node: "balochistan"}
	const referral = "nodes/balochistan/referrals/01a21b97-0eab-7c27-ae8a-26ea2116e0fe"
	var got []string
	err = db.Update(t.Context(), func(tx *kitstore.Tx) error {
		wait := func(id string) error {
			return a.waitFor(tx, &referralv1.WaitingRecord{FromNode: "punjab", Referral: referral, LetterId: []byte(id)})
		}
		for _, id := range []string{"1", "2", "3", "4"} {
			if err := wait(id); err != nil {
				return err
			}
		}
		for number := range uint64(3) {
			if err := store.Waiting.Delete(tx, kitstore.K("punjab", referral, number+1)); err != nil {
				return err
			}
		}
		if err := wait("5"); err != nil {
			return err
		}
		return store.Waiting.Scan(tx, kitstore.Range{}, func(_ kitstore.Key, w *referralv1.WaitingRecord) error {
			got = append(got, string(w.GetLetterId()))
			return nil
		})
	})
	if err != nil || !slices.Equal(got, []string{"4", "5"}) {
		t.Errorf("they are done in the order %q: %v", got, err)
	}
}
