package app_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
)

// reasons keeps what events of shelters give as their reason.
type reasons map[string]string

func (r reasons) Append(_ *kitstore.Tx, kind, _ string, _ time.Time, data proto.Message) error {
	if changed, ok := data.(*shelterv1.ShelterChanged); ok {
		r[kind] = changed.GetReason()
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
