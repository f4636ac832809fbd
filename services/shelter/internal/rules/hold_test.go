package rules_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/shelter/internal/rules"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// Every state against every action: where it leads, or why it does not.
func TestEveryStateEveryAction(t *testing.T) {
	type result struct {
		to     shelterv1.Hold_State
		reason fault.Reason
	}
	const (
		held, confirmed   = shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_CONFIRMED
		occupied          = shelterv1.Hold_STATE_OCCUPIED
		released, expired = shelterv1.Hold_STATE_RELEASED, shelterv1.Hold_STATE_EXPIRED
	)
	actions := map[string]func(h *shelterv1.Hold) error{
		"confirm": func(h *shelterv1.Hold) error { _, err := rules.Confirm(h, nil, now); return err },
		"release": func(h *shelterv1.Hold) error { return rules.Release(h, rules.ByHolder, now) },
		"admit": func(h *shelterv1.Hold) error {
			_, err := rules.Admit(h, []*shelterv1.Part{{Group: "g", Quantity: 1}}, []string{"nodes/punjab/stays/s"}, 0, now)
			return err
		},
	}
	table := map[shelterv1.Hold_State]map[string]result{
		held:      {"confirm": {to: confirmed}, "release": {to: released}, "admit": {reason: fault.WrongState}},
		confirmed: {"confirm": {to: confirmed}, "release": {to: released}, "admit": {to: occupied}},
		occupied:  {"confirm": {reason: fault.WrongState}, "release": {reason: fault.WrongState}, "admit": {reason: fault.WrongState}},
		released:  {"confirm": {reason: fault.HoldEnded}, "release": {reason: fault.HoldEnded}, "admit": {reason: fault.HoldEnded}},
		expired:   {"confirm": {reason: fault.HoldEnded}, "release": {reason: fault.HoldEnded}, "admit": {reason: fault.HoldEnded}},
	}
	if want := shelterv1.Hold_STATE_HELD.Descriptor().Values().Len() - 1; len(table) != want {
		t.Fatalf("the table has %d states of %d", len(table), want)
	}
	for from, row := range table {
		for name, act := range actions {
			h := &shelterv1.Hold{Name: "nodes/punjab/holds/h", State: from, Quantity: 1, ExpireTime: timestamppb.New(now.Add(time.Hour))}
			before := proto.CloneOf(h)
			err := act(h)
			want := row[name]
			if fault.ReasonOf(err) != want.reason {
				t.Errorf("%s of a hold that is %v: %v", name, from, err)
			}
			if err != nil && !proto.Equal(h, before) {
				t.Errorf("%s of a hold that is %v was refused and changed it", name, from)
			}
			if err == nil && h.GetState() != want.to {
				t.Errorf("%s of a hold that is %v leads to %v", name, from, h.GetState())
			}
		}
	}
}

func TestConfirmComparesTheFence(t *testing.T) {
	fence := func(incarnation, number uint64) *custodyv1.Fence {
		return &custodyv1.Fence{Incarnation: incarnation, Number: number}
	}
	for name, c := range map[string]struct {
		given *custodyv1.Fence
		want  fault.Reason
	}{
		"none given":          {nil, 0},
		"its own":             {fence(7, 3), 0},
		"another hold's":      {fence(7, 4), fault.StaleFence},
		"another incarnation": {fence(6, 3), fault.StaleFence},
	} {
		h := &shelterv1.Hold{State: shelterv1.Hold_STATE_HELD, Fence: fence(7, 3)}
		_, err := rules.Confirm(h, c.given, now)
		if fault.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFits(t *testing.T) {
	shelter := &shelterv1.Shelter{District: "PK617"}
	group := &shelterv1.Group{Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12}
	for name, c := range map[string]struct {
		needs *custodyv1.Needs
		need  string
	}{
		"fits":              {&custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9}, ""},
		"whole range":       {&custodyv1.Needs{Gender: "Feminine", AgeFrom: 6, AgeTo: 12}, ""},
		"boy":               {&custodyv1.Needs{Gender: "Masculine", AgeFrom: 9, AgeTo: 9}, "gender"},
		"perhaps too young": {&custodyv1.Needs{Gender: "Feminine", AgeFrom: 5, AgeTo: 7}, "age"},
		"perhaps too old":   {&custodyv1.Needs{Gender: "Feminine", AgeFrom: 12, AgeTo: 13}, "age"},
		"wheelchair":        {&custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Wheelchair: true}, "wheelchair"},
		"kept away":         {&custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9, ExcludedDistricts: []string{"PK617"}}, "excluded_districts"},
	} {
		err := rules.Fits(shelter, group, c.needs)
		if (err == nil) != (c.need == "") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err == nil {
			continue
		}
		refusal, ok := err.(*fault.Error)
		if !ok || refusal.Reason() != fault.CannotMeetNeeds || refusal.Metadata()["need"] != c.need {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHoldUntil(t *testing.T) {
	for name, c := range map[string]struct {
		asked *timestamppb.Timestamp
		want  time.Duration
	}{
		"not asked":   {nil, 90 * time.Minute},
		"an hour":     {timestamppb.New(now.Add(time.Hour)), time.Hour},
		"shortest":    {timestamppb.New(now.Add(time.Minute)), time.Minute},
		"longest":     {timestamppb.New(now.Add(168 * time.Hour)), 168 * time.Hour},
		"in the past": {timestamppb.New(now.Add(-time.Hour)), 0},
		"too short":   {timestamppb.New(now.Add(59 * time.Second)), 0},
		"too long":    {timestamppb.New(now.Add(169 * time.Hour)), 0},
	} {
		until, err := rules.HoldUntil(c.asked, now)
		if c.want == 0 {
			if fault.ReasonOf(err) != fault.Field {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil || until.Sub(now) != c.want {
			t.Errorf("%s: %v, %v", name, until, err)
		}
	}
}
