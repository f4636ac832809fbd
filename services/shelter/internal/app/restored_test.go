package app_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/store"
)

// restored is a shelter service that was restored from a copy of what make made in it.
func restored(t *testing.T, before func(*bench)) *bench {
	t.Helper()
	options := kitstore.Options{Path: filepath.Join(t.TempDir(), "shelter.db"), Schema: store.Schema}
	keys := t.TempDir()
	b, end := openApp(t, options, keys)
	before(b)
	var backup bytes.Buffer
	if err := b.DB.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	end()
	if err := kitstore.Restore(t.Context(), &backup, options, true); err != nil {
		t.Fatal(err)
	}
	b, end = openApp(t, options, keys)
	t.Cleanup(end)
	return b
}

func (b *bench) group(t *testing.T, id string, g *shelterv1.Group) {
	t.Helper()
	if _, err := b.CreateGroup(t.Context(), &shelterv1.CreateGroupRequest{Parent: shelterName, GroupId: id, Group: g}, manager); err != nil {
		t.Fatal(err)
	}
}

func teenager() *custodyv1.Needs { return &custodyv1.Needs{Gender: "Feminine", AgeFrom: 15, AgeTo: 15} }

// unplaced is a live offer of which the group is known to nobody.
func unplaced(n int, stage shelterv1.LiveOffer_Stage, needs ...*custodyv1.Needs) *shelterv1.LiveOffer {
	o := live(n, stage, nil)
	o.Hold, o.Parts, o.Unplaced = "nodes/punjab/holds/01920000-0000-7000-8000-00000000000"+string(rune('0'+n)), nil, needs
	return o
}

// Who is here, or was promised a place, and of whom both stores have lost in which group: a bed is taken that fits, where most are free; nobody
// else's; and it is said where there is none. Those of one hold are in one shelter.
func TestPeopleOfWhomNobodyKnowsTheGroup(t *testing.T) {
	const promised, arrived = shelterv1.LiveOffer_STAGE_PROMISED, shelterv1.LiveOffer_STAGE_ARRIVED
	b := restored(t, func(b *bench) {
		b.shelter(t, 2)
		b.group(t, "older", anotherGroup()) // one bed
		_, err := b.CreateShelter(t.Context(), &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "large", Shelter: &shelterv1.Shelter{
			DisplayName: "Large", District: "PK617", Groups: []*shelterv1.Group{{
				Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 4,
			}},
		}}, manager)
		if err != nil {
			t.Fatal(err)
		}
	})
	fence := b.begin(t).GetFence()
	sister := live(7, promised, nil)
	sister.Hold, sister.Unplaced = "nodes/punjab/holds/01920000-0000-7000-8000-000000000007", []*custodyv1.Needs{teenager()}
	lost := b.compare(t, fence, "", "",
		unplaced(1, arrived, girl()), unplaced(2, promised, girl()), unplaced(3, arrived, girl()), unplaced(4, arrived, girl(), girl()),
		unplaced(5, arrived, girl()), unplaced(6, promised, teenager()), sister,
	)
	// 7 asks for the last two beds of Lahore, but arrivals go first, and 6 has taken the older girl's bed.
	if !slices.Equal(lost, []string{offerName(7)}) {
		t.Errorf("lost %v", lost)
	}
	taken := map[string]int32{}
	shelters, err := b.ListShelters(t.Context(), &shelterv1.ListSheltersRequest{Parent: "nodes/punjab"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shelters.GetShelters() {
		for _, g := range s.GetGroups() {
			taken[g.GetName()] = 10*g.GetOccupied() + g.GetHeld()
		}
	}
	// Arrivals 1, 3, 4 (two in one shelter) and 5, then promises 2 and 6.
	if large, girls, older := taken["nodes/punjab/shelters/large/groups/girls"], taken[groupName], taken[shelterName+"/groups/older"]; large+girls != 51 || older != 1 {
		t.Errorf("occupied and held: %v", taken)
	}
	if b.Gate.Closed() != nil {
		t.Error("the gate is closed")
	}
}

// A restored shelter asks for a headcount until every group that there was is counted, before it was compared or after; one that was made since
// needs none. Somebody who came in by the door after the backup is found by it.
func TestARestoredShelterAsksForAHeadcount(t *testing.T) {
	b := restored(t, func(b *bench) {
		b.shelter(t, 2)
		b.group(t, "older", anotherGroup())
		b.holdFor(t, 1)
	})
	wanted := func(what string, want bool) {
		t.Helper()
		s, err := b.GetShelter(t.Context(), shelterName, true)
		if err != nil || s.GetHeadcountWanted() != want {
			t.Errorf("%s: a headcount is wanted: %v, %v", what, s.GetHeadcountWanted(), err)
		}
		told := &statusv1.Status{Incarnation: b.DB.Incarnation()}
		err = b.DB.View(t.Context(), func(r kitstore.Reader) error { return store.Status(r, told) })
		if err != nil || told.GetUncountedShelters() > 0 != want {
			t.Errorf("%s: the operator is told of %d, %v", what, told.GetUncountedShelters(), err)
		}
	}
	count := func(id, group string, present int32) *shelterv1.Headcount {
		t.Helper()
		b.clock.Add(time.Minute)
		h, err := b.CreateHeadcount(t.Context(), &shelterv1.CreateHeadcountRequest{
			Parent: shelterName, RequestId: id, Headcount: &shelterv1.Headcount{Counts: []*shelterv1.Count{{Group: group, Present: present}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	wanted("right after the restore", true)
	h := count("count-001", "girls-6-12", 1)
	if !h.GetOpen() || h.GetCounts()[0].GetDifference() != 1 {
		t.Errorf("somebody is here whom the store has lost, and the count says %v", h)
	}
	if _, err := b.AdmitWalkIn(t.Context(), &shelterv1.AdmitWalkInRequest{Group: groupName, Quantity: 1, Needs: girl(), RequestId: "found-by-count"}); err != nil {
		t.Fatal(err)
	}
	wanted("with a group left out", true)
	if lost := b.compare(t, b.begin(t).GetFence(), "", "", unplaced(1, shelterv1.LiveOffer_STAGE_PROMISED, girl())); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	if got := b.free(t); got != "1 1 0" {
		t.Errorf("held, occupied and available: %s", got)
	}
	count("count-002", "older", 0)
	wanted("when all are counted", false)
	b.group(t, "new", anotherGroup())
	wanted("with a group that was made since", false)
	if b := newApp(t); true {
		b.shelter(t, 1)
		if s, err := b.GetShelter(t.Context(), shelterName, true); err != nil || s.GetHeadcountWanted() {
			t.Errorf("a store that was never restored asks for a headcount, %v", err)
		}
	}
}

// What is past its end takes no bed of a restored store, though its clock stands still: an outage and a local hold are over when somebody stands at the
// door, and when a promise is entered anew. What serves an offer is for the list to judge.
func TestWhatHasRunOutTakesNoBedOfARestoredStore(t *testing.T) {
	var held, local string
	beds := func() *bench {
		b := restored(t, func(b *bench) {
			b.shelter(t, 3)
			local, held = b.holdFor(t, 0).GetName(), b.holdFor(t, 2).GetName()
			_, err := b.CreateOutage(t.Context(), &shelterv1.CreateOutageRequest{Parent: groupName, RequestId: "repairs-1", Outage: &shelterv1.Outage{
				Quantity: 1, Reason: "REPAIR", UntilTime: timestamppb.New(b.clock.Now().Add(time.Hour)),
			}})
			if err != nil {
				t.Fatal(err)
			}
		})
		b.clock.Add(100 * time.Minute)
		return b
	}
	b := beds()
	if _, err := b.AdmitWalkIn(t.Context(), &shelterv1.AdmitWalkInRequest{Group: groupName, Quantity: 2, Needs: girl(), RequestId: "at-the-door"}); err != nil {
		t.Errorf("at the door: %v", err)
	}
	if got := b.stateOf(t, held); got != shelterv1.Hold_STATE_HELD {
		t.Errorf("what no list has judged is %v", got)
	}
	b = beds()
	promise := unplaced(1, shelterv1.LiveOffer_STAGE_PROMISED)
	promise.Parts = []*shelterv1.Part{{Group: groupName, Quantity: 3, Needs: girl()}}
	if lost := b.compare(t, b.begin(t).GetFence(), "", "", promise); len(lost) > 0 || b.stateOf(t, local) != shelterv1.Hold_STATE_EXPIRED {
		t.Errorf("lost %v, the local hold is %v", lost, b.stateOf(t, local))
	}
	outages, err := b.ListOutages(t.Context(), &shelterv1.ListOutagesRequest{Parent: groupName, Filter: &shelterv1.ListOutagesRequest_Filter{Current: true}})
	if err != nil || len(outages.GetOutages()) > 0 {
		t.Errorf("the outage is not over: %v, %v", outages, err)
	}
}

// A promise on the first page wants a bed that a hold on the last keeps for nobody, or that somebody needs who is there. Of a list that comes again the
// shelter frees the beds and brings people in first, and the gate stays shut; of the second nothing is left to mend but promises.
func TestALaterPageFreesTheBedOfAPromise(t *testing.T) {
	const promised, arrived = shelterv1.LiveOffer_STAGE_PROMISED, shelterv1.LiveOffer_STAGE_ARRIVED
	b := restored(t, func(b *bench) {
		b.shelter(t, 2)
		b.confirm(t, b.holdFor(t, 8)) // its offer is over
	})
	list := []*shelterv1.LiveOffer{unplaced(1, promised, girl()), unplaced(2, promised, girl()), unplaced(7, arrived, girl())}
	fence := b.begin(t).GetFence()
	send := func(again bool) (lost []string) {
		t.Helper()
		for _, page := range []*shelterv1.ReconcileOffersRequest{{Until: offerName(2), Offers: list[:2]}, {After: offerName(2), Offers: list[2:]}} {
			page.Parent, page.Fence, page.Again = "nodes/punjab", fence, again
			for range 2 { // the second time nothing is left to do
				response, err := b.ReconcileOffers(t.Context(), page)
				if err != nil {
					t.Fatal(err)
				}
				lost = append(lost, response.GetLost()...)
				if page.GetUntil() == "" {
					break
				}
			}
		}
		return lost
	}
	if lost := send(true); len(lost) > 0 || b.Gate.Closed() == nil || b.free(t) != "0 1 0" {
		t.Errorf("first: lost %v, the gate is closed: %v; held, occupied and available: %s", lost, b.Gate.Closed(), b.free(t))
	}
	lost := send(false)
	if !slices.Equal(lost, []string{offerName(2), offerName(2)}) || b.Gate.Closed() != nil || b.free(t) != "1 1 0" {
		t.Errorf("then: lost %v, the gate is closed: %v; held, occupied and available: %s", lost, b.Gate.Closed(), b.free(t))
	}
}

// A suspension that went with a restore is said again before the comparison is over. It ends local holds, and leaves what serves an offer to the list: who
// is there has a bed; a promise ends, whether the store knows it, has lost it, or the shelter was suspended between two pages. One that was made since the
// backup is kept in a shelter that was suspended then: it had been reopened, unless somebody says again that it is suspended.
func TestAShelterSuspendedBeforeTheComparison(t *testing.T) {
	const promised, arrived = shelterv1.LiveOffer_STAGE_PROMISED, shelterv1.LiveOffer_STAGE_ARRIVED
	const large, reopened, again = "nodes/punjab/shelters/large", "nodes/punjab/shelters/reopened", "nodes/punjab/shelters/again"
	suspend := func(b *bench, name string) {
		t.Helper()
		if _, err := b.SuspendShelter(t.Context(), &shelterv1.SuspendShelterRequest{Name: name, Reason: "REPAIR"}, true); err != nil {
			t.Fatal(err)
		}
	}
	var local, known, come *shelterv1.Hold
	b := restored(t, func(b *bench) {
		b.shelter(t, 6)
		for _, id := range []string{"large", "reopened", "again"} {
			_, err := b.CreateShelter(t.Context(), &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: id, Shelter: &shelterv1.Shelter{
				DisplayName: id, District: "PK617", Groups: []*shelterv1.Group{{
					Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1,
				}},
			}}, manager)
			if err != nil {
				t.Fatal(err)
			}
		}
		local, known, come = b.holdFor(t, 0), b.holdFor(t, 1), b.holdFor(t, 2)
		for _, h := range []*shelterv1.Hold{local, known, come} {
			b.confirm(t, h)
		}
		suspend(b, reopened)
		suspend(b, again)
	})
	b.clock.Add(time.Minute)
	suspend(b, shelterName)
	suspend(b, again)
	if _, err := b.DeclareFull(t.Context(), &shelterv1.DeclareFullRequest{Name: reopened}, true); err != nil {
		t.Fatal(err)
	}
	if l, k, c := b.stateOf(t, local.GetName()), b.stateOf(t, known.GetName()), b.stateOf(t, come.GetName()); l != shelterv1.Hold_STATE_RELEASED ||
		k != shelterv1.Hold_STATE_CONFIRMED || c != shelterv1.Hold_STATE_CONFIRMED {
		t.Errorf("the local hold is %v, those of offers are %v and %v", l, k, c)
	}
	gone, elsewhere, there, kept := unplaced(3, promised), unplaced(4, promised, girl()), unplaced(5, arrived), unplaced(6, promised)
	gone.Parts, there.Parts = live(3, promised, nil).GetParts(), live(5, arrived, nil).GetParts()
	kept.Parts = []*shelterv1.Part{{Group: reopened + "/groups/girls", Quantity: 1, Needs: girl()}}
	once := unplaced(7, promised)
	once.Parts = []*shelterv1.Part{{Group: again + "/groups/girls", Quantity: 1, Needs: girl()}}
	fence := b.begin(t).GetFence()
	lost := b.compare(t, fence, "", offerName(4), live(1, promised, known), live(2, arrived, come), gone, elsewhere)
	if got := b.stateOf(t, elsewhere.GetHold()); !slices.Equal(lost, []string{offerName(3)}) || got != shelterv1.Hold_STATE_CONFIRMED {
		t.Errorf("lost %v; what has no group yet is %v in the other shelter", lost, got)
	}
	suspend(b, large)
	lost = b.compare(t, fence, offerName(4), "", there, kept, once)
	if got := b.stateOf(t, kept.GetHold()); !slices.Equal(lost, []string{offerName(7)}) || got != shelterv1.Hold_STATE_CONFIRMED || b.Gate.Closed() != nil {
		t.Errorf("lost %v, the promise of since the backup is %v, the gate is closed: %v", lost, got, b.Gate.Closed())
	}
	for _, name := range []string{known.GetName(), elsewhere.GetHold()} {
		h, err := b.GetHold(t.Context(), name, false)
		if err != nil || h.GetReleaseReason() != "SHELTER_SUSPENDED" {
			t.Errorf("promised in a shelter that is suspended: %v, %v", h, err)
		}
	}
	if got := b.free(t); got != "0 2 0" {
		t.Errorf("held, occupied and available: %s", got)
	}
}

// A hold of several that a restored store knows as ended, while one of them is promised a place and another's confirmation is under way: it lives again
// under its own fence, by which that confirmation asks for it.
func TestAHoldThatLivesAgainKeepsItsFence(t *testing.T) {
	var h *shelterv1.Hold
	b := restored(t, func(b *bench) {
		b.shelter(t, 2)
		h = b.holdFor(t, 1)
		b.confirm(t, h)
		if _, err := b.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: h.GetName()}); err != nil {
			t.Fatal(err)
		}
	})
	lost := b.compare(t, b.begin(t).GetFence(), "", "", live(1, shelterv1.LiveOffer_STAGE_PROMISED, h), unplaced(2, shelterv1.LiveOffer_STAGE_PROMISED, girl()))
	again, err := b.ConfirmHold(t.Context(), &shelterv1.ConfirmHoldRequest{Name: h.GetName(), Fence: h.GetFence()})
	if len(lost) > 0 || err != nil || !proto.Equal(again.GetFence(), h.GetFence()) {
		t.Errorf("lost %v; it is confirmed as %v, %v", lost, again, err)
	}
	other, err := b.GetHold(t.Context(), unplaced(2, 0).GetHold(), false)
	if err != nil || other.GetFence().GetIncarnation() != b.DB.Incarnation() || other.GetFence().GetNumber() <= h.GetFence().GetNumber() {
		t.Errorf("one that the store has lost: %v, %v", other, err)
	}
}
