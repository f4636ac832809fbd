package app_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
)

type federalLetters struct {
	sent  []post.Outgoing
	fails error
}

func (l *federalLetters) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	if err := o.Check(); err != nil {
		return err
	}
	if l.fails != nil {
		return l.fails
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
	letters.fails = post.ErrAbsent
	if next, err := teller.Report(t.Context()); err != nil || !next.Equal(b.clock.now.Add(time.Minute)) {
		t.Errorf("without the federal cell it looks again at %v, %v", next, err)
	}
	letters.fails = nil
	report(1)
	if o, d := letters.sent[0], day(); o.To.GetNode() != "federal" || o.To.GetService() != "federal" || o.Kind != flow.SheltersKind ||
		d.GetShelters() != 1 || d.GetTotal() != 10 || d.GetHeld() != 0 || d.GetDay() != "2026-03-01" {
		t.Fatalf("told %v: %v", o, d)
	}
	b.mustPlace(t, 2, "one")
	b.clock.now = b.clock.now.Add(59 * time.Minute)
	report(1)
	if next, err := teller.Report(t.Context()); err != nil || !next.Equal(b.clock.now.Add(time.Minute)) {
		t.Errorf("it looks again at %v, %v", next, err)
	}
	b.clock.now = b.clock.now.Add(time.Minute)
	report(2)
	if d := day(); d.GetHeld() != 2 || d.GetOccupied() != 0 {
		t.Errorf("told %v", d)
	}
	b.clock.now = b.clock.now.Add(time.Minute)
	report(2)
	b.clock.now = b.clock.now.Add(time.Hour)
	report(2) // an hour later nothing is different
	b.clock.now = b.clock.now.Add(24 * time.Hour)
	report(3)
	if d := day(); d.GetDay() != "2026-03-02" {
		t.Errorf("told %v", d)
	}
	b.clock.now = b.clock.now.Add(-48 * time.Hour) // a clock that was set back
	report(4)
}

// The sums are of all shelters and groups: what is there, out of service, occupied and held.
func TestSumsOfBeds(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 10)
	for _, id := range []string{"multan-girls", "quetta-road-girls"} {
		_, err := b.CreateShelter(ctx, &shelterv1.CreateShelterRequest{
			Parent: "nodes/punjab", ShelterId: id,
			Shelter: &shelterv1.Shelter{DisplayName: "Girls", District: "PK617", Groups: []*shelterv1.Group{
				{Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 5},
				{Name: "boys", Genders: []string{"Masculine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 7},
			}},
		}, manager)
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 { // more groups than are read at once
		groups := make([]*shelterv1.Group, 50)
		for i := range groups {
			groups[i] = &shelterv1.Group{Name: fmt.Sprint("room-", i), Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1}
		}
		_, err := b.CreateShelter(ctx, &shelterv1.CreateShelterRequest{
			Parent: "nodes/punjab", ShelterId: fmt.Sprint("many-rooms-", n), Shelter: &shelterv1.Shelter{DisplayName: "Girls", District: "PK617", Groups: groups},
		}, manager)
		if err != nil {
			t.Fatal(err)
		}
	}
	h := b.mustPlace(t, 1, "one")
	b.confirm(t, h)
	if _, err := b.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: h.GetName()}); err != nil {
		t.Fatal(err)
	}
	b.mustPlace(t, 2, "two")
	if _, err := b.CreateOutage(ctx, &shelterv1.CreateOutageRequest{
		Parent: groupName, RequestId: "request-out", Outage: &shelterv1.Outage{Quantity: 3, Reason: "REPAIR"},
	}); err != nil {
		t.Fatal(err)
	}
	letters := &federalLetters{}
	if _, err := (&app.FederalTeller{App: b.App, Federal: "federal", Post: letters}).Report(ctx); err != nil {
		t.Fatal(err)
	}
	d := letters.sent[0].Body.(*federalv1.ShelterDay)
	want := &federalv1.ShelterDay{Day: "2026-03-01", CountTime: d.GetCountTime(), Shelters: 13, Total: 534, OutOfService: 3, Occupied: 1, Held: 2}
	if !proto.Equal(d, want) {
		t.Errorf("told %v, want %v", d, want)
	}
}
