package app_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
)

// reasons keeps what events of shelters and of holds give as their reason.
type reasons map[string]string

func (r reasons) Append(_ *kitstore.Tx, kind, _ string, _ time.Time, data proto.Message) error {
	switch changed := data.(type) {
	case *shelterv1.ShelterChanged:
		r[kind] = changed.GetReason()
	case *shelterv1.HoldChanged:
		r[kind] = changed.GetReleaseReason()
	}
	return nil
}

// The event of a suspension says why; no other event does, also while the shelter is suspended.
func TestOnlyASuspensionGivesAReason(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	said := reasons{}
	b.Events = said
	if _, err := b.SuspendShelter(ctx, &shelterv1.SuspendShelterRequest{Name: shelterName, Reason: "SECURITY_THREAT"}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := b.UpdateShelter(ctx, &shelterv1.UpdateShelterRequest{Shelter: &shelterv1.Shelter{Name: shelterName, DisplayName: "Girls"}}, true); err != nil {
		t.Fatal(err)
	}
	if said["shelter.shelter.suspended.v1"] != "SECURITY_THREAT" || said["shelter.shelter.updated.v1"] != "" || len(said) != 2 {
		t.Errorf("said %v", said)
	}
}

// A holder learns from the event, from the hold and from what it is refused that the shelter ended it, not somebody who gave it back.
func TestAHolderLearnsThatItWasTheShelter(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 2)
	given, lost := b.mustPlace(t, 1, "given"), b.mustPlace(t, 1, "lost")
	said := reasons{}
	b.Events = said
	if _, err := b.ReleaseHold(ctx, &shelterv1.ReleaseHoldRequest{Name: given.GetName()}); err != nil || said["shelter.hold.released.v1"] != "RELEASED" {
		t.Errorf("given back: said %v, %v", said, err)
	}
	if _, err := b.SuspendShelter(ctx, &shelterv1.SuspendShelterRequest{Name: shelterName, Reason: "REPAIR"}, true); err != nil || said["shelter.hold.released.v1"] != "SHELTER_SUSPENDED" {
		t.Errorf("suspended: said %v, %v", said, err)
	}
	for h, reason := range map[*shelterv1.Hold]string{given: "RELEASED", lost: "SHELTER_SUSPENDED"} {
		if got, err := b.GetHold(ctx, h.GetName(), true); err != nil || got.GetReleaseReason() != reason || got.GetExpireTime() != nil {
			t.Errorf("want %s: %v, %v", reason, got, err)
		}
	}
	_, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: lost.GetName()})
	if want(t, "confirm", err, fault.HoldEnded); !strings.Contains(err.Error(), "suspended") {
		t.Error(err)
	}
}

// Who says that a shelter is full, or no longer, has just spoken for its numbers.
func TestFullOrNotIsAWordForTheNumbers(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 1)
	for what, call := range map[string]func() (*shelterv1.Shelter, error){
		"full": func() (*shelterv1.Shelter, error) {
			return b.DeclareFull(ctx, &shelterv1.DeclareFullRequest{Name: shelterName}, true)
		},
		"not full": func() (*shelterv1.Shelter, error) {
			if _, err := b.DeclareFull(ctx, &shelterv1.DeclareFullRequest{Name: shelterName}, true); err != nil {
				return nil, err
			}
			b.clock.Add(9 * time.Hour)
			return b.WithdrawFull(ctx, &shelterv1.WithdrawFullRequest{Name: shelterName}, true)
		},
	} {
		b.clock.Add(9 * time.Hour)
		s, err := call()
		if err != nil {
			t.Fatal(err)
		}
		if g := s.GetGroups()[0]; g.GetFreshness() != shelterv1.Freshness_FRESHNESS_FRESH || !g.GetVouchTime().AsTime().Equal(b.clock.Now()) {
			t.Errorf("%s: %v", what, g)
		}
	}
}
