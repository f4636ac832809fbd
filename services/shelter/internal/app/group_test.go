package app_test

import (
	"fmt"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/shelter/internal/rules"
)

func anotherGroup() *shelterv1.Group {
	return &shelterv1.Group{Genders: []string{"Feminine"}, AgeFrom: 13, AgeTo: 17, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1}
}

// A shelter never has more groups than its advert may: one group too many would silence the whole shelter at all other nodes.
func TestAShelterHasAsManyGroupsAsItsAdvertMay(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	add := func(n int) error {
		_, err := b.CreateGroup(ctx, &shelterv1.CreateGroupRequest{Parent: shelterName, GroupId: fmt.Sprint("group-", n), Group: anotherGroup()}, manager)
		return err
	}
	for n := 2; n <= 50; n++ {
		if err := add(n); err != nil {
			t.Fatalf("group %d: %v", n, err)
		}
	}
	want(t, "one group too many", add(51), fault.WrongState)
	s, err := b.GetShelter(ctx, shelterName, true)
	if err != nil || len(s.GetGroups()) != 50 {
		t.Fatalf("%d groups, %v", len(s.GetGroups()), err)
	}
	if err := protovalidate.Validate(rules.AdvertOf("punjab", 1, s, b.clock.Now())); err != nil {
		t.Errorf("no other node believes its advert: %v", err)
	}
}

// A capacity claim is dated when it was made, never ahead; and a clock that is set back does not forbid to change a group.
func TestACapacityClaimIsNotOfTheFuture(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	later := timestamppb.New(b.clock.Now().Add(time.Second))
	_, err := b.CreateShelter(ctx, &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "another", Shelter: &shelterv1.Shelter{
		DisplayName: "Another", District: "PK617", Groups: []*shelterv1.Group{{
			Name: "girls", Genders: []string{"Feminine"}, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1, CapacityTime: later,
		}},
	}}, manager)
	want(t, "with a shelter", err, fault.Field)
	claimed := anotherGroup()
	claimed.CapacityTime = later
	_, err = b.CreateGroup(ctx, &shelterv1.CreateGroupRequest{Parent: shelterName, GroupId: "older", Group: claimed}, manager)
	want(t, "with a group", err, fault.Field)
	_, err = b.UpdateGroup(ctx, &shelterv1.UpdateGroupRequest{Group: &shelterv1.Group{Name: groupName, CapacityTime: later}}, manager)
	want(t, "with an update", err, fault.Field)
	b.clock.Add(-time.Hour)
	if _, err := b.UpdateGroup(ctx, &shelterv1.UpdateGroupRequest{Group: &shelterv1.Group{Name: groupName, Overflow: 3}}, manager); err != nil {
		t.Errorf("after the clock was set back: %v", err)
	}
}

// A new number is a new claim, of who gives it and of now; what is not a number leaves the claim as it is, and a source and a date
// that are given with the number are kept.
func TestANewNumberIsANewClaim(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 4)
	surveyed := timestamppb.New(b.clock.Now().Add(-24 * time.Hour))
	change := func(g *shelterv1.Group) *shelterv1.Group {
		t.Helper()
		g.Name = groupName
		changed, err := b.UpdateGroup(ctx, &shelterv1.UpdateGroupRequest{Group: g}, manager)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	survey := func() {
		t.Helper()
		g := change(&shelterv1.Group{CapacitySource: "survey", CapacityTime: surveyed, Total: 4, Overflow: 4, OverflowOpen: 1})
		if g.GetCapacitySource() != "survey" || !g.GetCapacityTime().AsTime().Equal(surveyed.AsTime()) {
			t.Fatalf("given with the number: %v", g)
		}
		surveyed = timestamppb.New(surveyed.AsTime().Add(time.Minute)) // so that the next is another one
	}
	for what, g := range map[string]*shelterv1.Group{
		"beds": {Total: 5}, "overflow": {Overflow: 5}, "overflow set up": {OverflowOpen: 2},
	} {
		survey()
		b.clock.Add(time.Hour)
		change(&shelterv1.Group{CapacitySource: "survey"})
		if changed := change(g); changed.GetCapacitySource() != manager || !changed.GetCapacityTime().AsTime().Equal(b.clock.Now()) {
			t.Errorf("%s: %v", what, changed)
		}
		change(&shelterv1.Group{CapacitySource: "another"})
	}
	survey()
	if g := change(&shelterv1.Group{Needs: []string{"INFANT"}}); g.GetCapacitySource() != "survey" {
		t.Errorf("needs: %v", g)
	}
}
