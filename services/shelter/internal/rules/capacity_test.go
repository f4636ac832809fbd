package rules_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/shelter/internal/rules"
)

func TestAvailable(t *testing.T) {
	open := &shelterv1.Shelter{State: shelterv1.Shelter_STATE_ACTIVE}
	group := &shelterv1.Group{Total: 10, Overflow: 5, OverflowOpen: 2}
	for name, c := range map[string]struct {
		shelter *shelterv1.Shelter
		count   rules.Count
		want    int32
	}{
		"empty, with the overflow that is set up": {open, rules.Count{}, 12},
		"each kind takes beds":                    {open, rules.Count{Held: 1, Occupied: 2, Out: 3}, 6},
		"all taken":                               {open, rules.Count{Held: 4, Occupied: 4, Out: 4}, 0},
		"suspended":                               {&shelterv1.Shelter{State: shelterv1.Shelter_STATE_SUSPENDED}, rules.Count{}, 0},
		"says that it is full":                    {&shelterv1.Shelter{State: open.State, FullUntilTime: timestamppb.New(now.Add(time.Second))}, rules.Count{}, 0},
		"said so, until now":                      {&shelterv1.Shelter{State: open.State, FullUntilTime: timestamppb.New(now)}, rules.Count{}, 12},
	} {
		if got := rules.Available(c.shelter, group, c.count, now); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestInventoryIsNotCutBelowWhatIsTaken(t *testing.T) {
	taken := rules.Count{Held: 2, Occupied: 3, Out: 1}
	for total, want := range map[int32]fault.Reason{6: 0, 5: fault.WrongState} {
		if err := rules.CheckInventory(&shelterv1.Group{Total: total}, taken); fault.ReasonOf(err) != want {
			t.Errorf("a total of %d with six taken: %v", total, err)
		}
	}
	if err := rules.CheckInventory(&shelterv1.Group{Total: 4, Overflow: 2, OverflowOpen: 2}, taken); err != nil {
		t.Errorf("the overflow that is set up counts: %v", err)
	}
	if err := rules.CheckInventory(&shelterv1.Group{Total: 9, Overflow: 1, OverflowOpen: 2}, taken); fault.ReasonOf(err) != fault.Field {
		t.Errorf("more overflow set up than there is: %v", err)
	}
}

func TestFreshness(t *testing.T) {
	for age, want := range map[time.Duration]shelterv1.Freshness{
		0:                             shelterv1.Freshness_FRESHNESS_FRESH,
		2*time.Hour - time.Nanosecond: shelterv1.Freshness_FRESHNESS_FRESH,
		2 * time.Hour:                 shelterv1.Freshness_FRESHNESS_AGEING,
		8 * time.Hour:                 shelterv1.Freshness_FRESHNESS_AGEING,
		8*time.Hour + time.Nanosecond: shelterv1.Freshness_FRESHNESS_STALE,
		100 * 24 * time.Hour:          shelterv1.Freshness_FRESHNESS_STALE,
	} {
		if got := rules.Fresh(timestamppb.New(now.Add(-age)), now); got != want {
			t.Errorf("%v old: %v", age, got)
		}
	}
	if got := rules.Fresh(nil, now); got != shelterv1.Freshness_FRESHNESS_STALE {
		t.Errorf("never vouched for: %v", got)
	}
}

// A mother's room takes a boy up to an age, and nobody who comes without a mother's need.
func TestMotherAndChild(t *testing.T) {
	s := &shelterv1.Shelter{BoysWithMotherToAge: 8}
	mothers := &shelterv1.Group{Genders: []string{"Feminine"}, AgeTo: 120, WithMother: true}
	boy := func(age int32, with bool) *custodyv1.Needs {
		return &custodyv1.Needs{Gender: "Masculine", AgeFrom: age, AgeTo: age, WithMother: with}
	}
	for name, c := range map[string]struct {
		group *shelterv1.Group
		needs *custodyv1.Needs
		need  string
	}{
		"a boy of 8 with his mother":       {mothers, boy(8, true), ""},
		"a boy of 9 with his mother":       {mothers, boy(9, true), "gender"},
		"a boy of 8 alone":                 {mothers, boy(8, false), "gender"},
		"a mother":                         {mothers, &custodyv1.Needs{Gender: "Feminine", AgeFrom: 30, AgeTo: 30, WithMother: true}, ""},
		"a mother, no room for children":   {&shelterv1.Group{Genders: []string{"Feminine"}, AgeTo: 120}, &custodyv1.Needs{Gender: "Feminine", AgeFrom: 30, AgeTo: 30, WithMother: true}, "with_mother"},
		"a wheelchair, and steps":          {mothers, &custodyv1.Needs{Gender: "Feminine", AgeFrom: 30, AgeTo: 30, SpecialNeeds: []string{"WHEELCHAIR"}}, "special_needs"},
		"a baby where there is no nursery": {mothers, &custodyv1.Needs{Gender: "Feminine", SpecialNeeds: []string{"INFANT"}}, "special_needs"},
		"a baby where there is one":        {&shelterv1.Group{Genders: []string{"Feminine"}, AgeTo: 1, Needs: []string{"INFANT"}}, &custodyv1.Needs{Gender: "Feminine", SpecialNeeds: []string{"INFANT"}}, ""},
	} {
		err := rules.Fits(s, c.group, c.needs)
		refusal, _ := err.(*fault.Error)
		if (err == nil) != (c.need == "") || err != nil && refusal.Metadata()["need"] != c.need {
			t.Errorf("%s: %v, want %q", name, err, c.need)
		}
	}
}

func TestFamilyAndFull(t *testing.T) {
	if err := rules.FamilyFits(&shelterv1.Shelter{LargestFamily: 3}, 4); fault.ReasonOf(err) != fault.CannotMeetNeeds {
		t.Errorf("four where three are taken: %v", err)
	}
	for quantity, s := range map[int32]*shelterv1.Shelter{3: {LargestFamily: 3}, 40: {}} {
		if err := rules.FamilyFits(s, quantity); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		asked *timestamppb.Timestamp
		want  time.Duration
	}{
		"not said": {nil, 24 * time.Hour}, "an hour": {timestamppb.New(now.Add(time.Hour)), time.Hour}, "a week": {timestamppb.New(now.Add(7 * 24 * time.Hour)), 7 * 24 * time.Hour},
		"past": {timestamppb.New(now), 0}, "more than a week": {timestamppb.New(now.Add(7*24*time.Hour + time.Second)), 0},
	} {
		until, err := rules.FullUntil(c.asked, now)
		if c.want == 0 && fault.ReasonOf(err) != fault.Field || c.want > 0 && (err != nil || until.Sub(now) != c.want) {
			t.Errorf("%s: %v, %v", name, until, err)
		}
	}
}

func TestRenewOnce(t *testing.T) {
	h := &shelterv1.Hold{State: shelterv1.Hold_STATE_HELD, ExpireTime: timestamppb.New(now.Add(time.Hour))}
	if err := rules.Renew(h, timestamppb.New(now.Add(30*time.Minute)), now); fault.ReasonOf(err) != fault.Field {
		t.Errorf("renewed to an earlier end: %v", err)
	}
	if err := rules.Renew(h, nil, now); err != nil || h.GetExpireTime().AsTime().Sub(now) != rules.UsualHold {
		t.Fatalf("%v, %v", h, err)
	}
	if err := rules.Renew(h, timestamppb.New(now.Add(5*time.Hour)), now); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("renewed twice: %v", err)
	}
	for _, state := range []shelterv1.Hold_State{shelterv1.Hold_STATE_CONFIRMED, shelterv1.Hold_STATE_RELEASED, shelterv1.Hold_STATE_EXPIRED, shelterv1.Hold_STATE_OCCUPIED} {
		if err := rules.Renew(&shelterv1.Hold{State: state}, nil, now); err == nil {
			t.Errorf("renewed a hold that is %v", state)
		}
	}
}
