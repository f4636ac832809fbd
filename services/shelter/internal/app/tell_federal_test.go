package app_test

import (
	"testing"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
)

type federalLetters struct{ sent []post.Outgoing }

func (l *federalLetters) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	if err := o.Check(); err != nil {
		return err
	}
	tx.AfterCommit(func() { l.sent = append(l.sent, o) })
	return nil
}

// The federal cell hears sums: at once, then at most once an hour and only where something is different or another day has begun.
func TestTheFederalCellHearsOfBeds(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 10)
	letters := &federalLetters{}
	teller := &app.FederalTeller{App: b.App, Federal: "federal", Post: letters}
	report := func(want int) {
		t.Helper()
		next, err := teller.Report(t.Context())
		if err != nil || len(letters.sent) != want || !next.After(b.Now()) {
			t.Fatalf("%d letters, next %v, %v; want %d", len(letters.sent), next, err, want)
		}
	}
	day := func() *federalv1.ShelterDay { return letters.sent[len(letters.sent)-1].Body.(*federalv1.ShelterDay) }
	report(1)
	if o, d := letters.sent[0], day(); o.To.GetNode() != "federal" || o.To.GetService() != "federal" || o.Kind != flow.SheltersKind ||
		d.GetShelters() != 1 || d.GetTotal() != 10 || d.GetHeld() != 0 || d.GetDay() != "2026-03-01" {
		t.Fatalf("told %v: %v", o, d)
	}
	b.mustPlace(t, 2, "one")
	b.clock.now = b.clock.now.Add(59 * time.Minute)
	report(1)
	b.clock.now = b.clock.now.Add(time.Minute)
	report(2)
	if d := day(); d.GetHeld() != 2 || d.GetOccupied() != 0 {
		t.Errorf("told %v", d)
	}
	b.clock.now = b.clock.now.Add(time.Minute)
	report(2)
	b.clock.now = b.clock.now.Add(24 * time.Hour)
	report(3)
	if d := day(); d.GetDay() != "2026-03-02" {
		t.Errorf("told %v", d)
	}
	b.clock.now = b.clock.now.Add(-48 * time.Hour) // a clock that was set back
	report(4)
}
