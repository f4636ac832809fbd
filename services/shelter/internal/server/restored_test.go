package server_test

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

// restored makes the store one that was restored and not compared.
func (w *world) restored(t *testing.T) {
	t.Helper()
	err := w.db.Update(t.Context(), func(tx *kitstore.Tx) error {
		return store.Fences.Put(tx, store.ReconciledKey, wrapperspb.UInt64(1))
	})
	if err == nil {
		w.app.Gate, err = app.OpenGate(t.Context(), w.db, w.now())
	}
	if err != nil {
		t.Fatal(err)
	}
	w.gate.Store(w.app.Gate)
}

// A restored shelter service that waits for other nodes promises no bed and shows none as free. Who stands at the door is let in, whoever asks
// for it, and what people see and count is put down.
func TestBeforeARestoredStoreIsCompared(t *testing.T) {
	w := newWorld(t)
	group := w.create(t, "lahore-girls", 3)
	h, err := w.hold(t.Context(), group, "before")
	if err != nil {
		t.Fatal(err)
	}
	w.restored(t)
	manager, shelter := w.token("shelter-manager"), group[:len(group)-len("/groups/girls")]
	needs := &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9}
	var stays []string
	for what, call := range map[string]func() error{
		"hold": func() error { _, err := w.hold(t.Context(), group, "since"); return err },
		"confirm": func() error {
			_, err := w.referral.ConfirmHold(t.Context(), &shelterv1.ConfirmHoldRequest{Name: h.GetName()})
			return err
		},
		"release": func() error {
			_, err := w.referral.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: h.GetName()})
			return err
		},
		"find places": func() error {
			_, err := w.gateway.FindPlaces(manager, &shelterv1.FindPlacesRequest{Parent: "nodes/punjab", People: []*custodyv1.Needs{needs}})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, by := range []string{"referral", "gateway"} {
		call := w.referral.AdmitWalkIn
		ctx := t.Context()
		if by == "gateway" {
			call, ctx = w.gateway.AdmitWalkIn, manager
		}
		stay, err := call(ctx, &shelterv1.AdmitWalkInRequest{Group: group, Quantity: 1, Needs: needs, RequestId: "at-the-door-" + by})
		if err != nil {
			t.Fatalf("%s: %v", by, err)
		}
		stays = append(stays, stay.GetName())
	}
	if _, err := w.gateway.DischargeStay(manager, &shelterv1.DischargeStayRequest{Name: stays[0], Reason: "REUNIFIED"}); err != nil {
		t.Error(err)
	}
	if _, err := w.gateway.CreateHeadcount(manager, &shelterv1.CreateHeadcountRequest{
		Parent: shelter, RequestId: "headcount-1", Headcount: &shelterv1.Headcount{Counts: []*shelterv1.Count{{Group: "girls", Present: 1}}},
	}); err != nil {
		t.Error(err)
	}
	list, err := w.gateway.ListShelters(manager, &shelterv1.ListSheltersRequest{Parent: "nodes/punjab"})
	if err != nil || len(list.GetShelters()) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if g := list.GetShelters()[0].GetGroups()[0]; g.GetOccupied() != 1 || g.GetHeld() != 1 || g.GetAvailable() != 0 {
		t.Errorf("it shows %v", g)
	}
	current, err := w.gateway.ListStays(manager, &shelterv1.ListStaysRequest{Parent: "nodes/punjab", Filter: &shelterv1.ListStaysRequest_Filter{Shelter: shelter, Current: true}})
	if err != nil || !slices.ContainsFunc(current.GetStays(), func(s *shelterv1.Stay) bool { return s.GetName() == stays[1] }) {
		t.Errorf("%v, %v", current, err)
	}
}

// What people said after the backup, they can say again at once: what is out of service, full or suspended, and that it is so no more.
func TestWhatPeopleSayBeforeARestoredStoreIsCompared(t *testing.T) {
	w := newWorld(t)
	group := w.create(t, "lahore-girls", 3)
	w.restored(t)
	manager, shelter := w.token("shelter-manager"), group[:len(group)-len("/groups/girls")]
	outage, err := w.gateway.CreateOutage(manager, &shelterv1.CreateOutageRequest{Parent: group, RequestId: "outage-1", Outage: &shelterv1.Outage{Quantity: 1, Reason: "REPAIR"}})
	if err == nil {
		_, err = w.gateway.EndOutage(manager, &shelterv1.EndOutageRequest{Name: outage.GetName()})
	}
	if err != nil {
		t.Error(err)
	}
	for what, say := range map[string]func() error{
		"full, and not": func() error {
			_, err := w.gateway.DeclareFull(manager, &shelterv1.DeclareFullRequest{Name: shelter})
			_, back := w.gateway.WithdrawFull(manager, &shelterv1.WithdrawFullRequest{Name: shelter})
			return errors.Join(err, back)
		},
		"suspended, and not": func() error {
			_, err := w.gateway.SuspendShelter(manager, &shelterv1.SuspendShelterRequest{Name: shelter, Reason: "REPAIR"})
			_, back := w.gateway.ReopenShelter(manager, &shelterv1.ReopenShelterRequest{Name: shelter})
			return errors.Join(err, back)
		},
	} {
		if err := say(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
