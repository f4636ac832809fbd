package app_test

import (
	"testing"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Where a shelter is, is told with a promise until the last who came on it has left: it may have moved since, and who has left need
// not know where to.
func TestLocationIsToldWhileSomebodyStays(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 2)
	h, err := b.PlaceHold(ctx, &shelterv1.PlaceHoldRequest{
		Group: groupName, Quantity: 1, Needs: girl(), RequestId: "request-sisters",
		Also: []*shelterv1.Part{{Group: groupName, Quantity: 1, Needs: girl()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	told := func(what, want string) {
		t.Helper()
		if got, err := b.GetHold(ctx, h.GetName(), true); err != nil || got.GetLocation().GetAddress() != want {
			t.Errorf("%s: told %q, want %q, %v", what, got.GetLocation().GetAddress(), want, err)
		}
	}
	told("before the promise", "")
	if _, err := b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName()}); err != nil {
		t.Fatal(err)
	}
	told("with the promise", "canary-address")
	first, err := b.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: h.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	leave := func(stay string) {
		t.Helper()
		if _, err := b.DischargeStay(ctx, &shelterv1.DischargeStayRequest{Name: stay, Reason: "REUNIFIED"}); err != nil {
			t.Fatal(err)
		}
	}
	told("while both stay", "canary-address")
	leave(first.GetName())
	told("while the sister stays", "canary-address")
	leave(first.GetCompanions()[0])
	if _, err := b.UpdateShelter(ctx, &shelterv1.UpdateShelterRequest{Shelter: &shelterv1.Shelter{Name: shelterName, Address: "canary-elsewhere", Confidential: true}}, true); err != nil {
		t.Fatal(err)
	}
	told("when both have left", "")
}
