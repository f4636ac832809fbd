package server_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/rpc/rpctest"
)

// What only the state or another field makes wrong.
func TestRefusals(t *testing.T) {
	r, s := newSuite(t)
	ctx, manager := t.Context(), r.token("shelter-manager")
	const nobody = "nodes/punjab/holds/0192f0a1-0000-7000-8000-000000000001"
	place := func(change func(*shelterv1.PlaceHoldRequest)) func() error {
		request := r.placeHold()
		change(request)
		return func() error { _, err := r.referral.PlaceHold(ctx, request); return err }
	}
	confirm := func(request *shelterv1.ConfirmHoldRequest) func() error {
		return func() error { _, err := r.referral.ConfirmHold(ctx, request); return err }
	}
	release := func(request *shelterv1.ReleaseHoldRequest) func() error {
		return func() error { _, err := r.referral.ReleaseHold(ctx, request); return err }
	}
	admit := func(request *shelterv1.AdmitHoldRequest) func() error {
		return func() error { _, err := r.referral.AdmitHold(ctx, request); return err }
	}
	create := func(change func(*shelterv1.CreateShelterRequest)) func() error {
		request := r.create()
		change(request)
		return func() error { _, err := r.gateway.CreateShelter(manager, request); return err }
	}
	held, promised, released, admitted := r.held(t), r.confirmed(t), r.held(t), r.confirmed(t)
	if err := release(&shelterv1.ReleaseHoldRequest{Name: released.GetName()})(); err != nil {
		t.Fatal(err)
	}
	if err := admit(&shelterv1.AdmitHoldRequest{Name: admitted.GetName()})(); err != nil {
		t.Fatal(err)
	}
	used := r.placeHold()
	if _, err := r.referral.PlaceHold(ctx, used); err != nil {
		t.Fatal(err)
	}
	// A shelter of its own for what a shelter's state forbids.
	closed, full := r.made1(t), r.made1(t)
	lost, err := r.referral.PlaceHold(ctx, &shelterv1.PlaceHoldRequest{Group: closed.GetGroups()[0].GetName(), Quantity: 1, RequestId: r.next(), Needs: r.placeHold().GetNeeds()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.gateway.SuspendShelter(manager, &shelterv1.SuspendShelterRequest{Name: closed.GetName(), Reason: "REPAIR"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.gateway.DeclareFull(manager, &shelterv1.DeclareFullRequest{Name: full.GetName()}); err != nil {
		t.Fatal(err)
	}
	renewed := r.held(t)
	if _, err := r.referral.RenewHold(ctx, &shelterv1.RenewHoldRequest{Name: renewed.GetName(), ExpireTime: in(2 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	gone, away := r.stay(t), r.stay(t)
	if _, err := r.gateway.DischargeStay(manager, &shelterv1.DischargeStayRequest{Name: gone.GetName(), Reason: "REUNIFIED"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.gateway.StartAbsence(manager, &shelterv1.StartAbsenceRequest{Name: away.GetName(), Reason: "COURT", ReturnTime: in(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	entry := r.waiting(t)
	if _, err := r.gateway.CloseWaitlistEntry(manager, &shelterv1.CloseWaitlistEntryRequest{Name: entry.GetName(), Reason: "WITHDRAWN"}); err != nil {
		t.Fatal(err)
	}
	walkIn := func(change func(*shelterv1.AdmitWalkInRequest)) func() error {
		request := r.walkIn()
		change(request)
		return func() error { _, err := r.gateway.AdmitWalkIn(manager, request); return err }
	}
	outage := func(o *shelterv1.Outage) func() error {
		request := &shelterv1.CreateOutageRequest{Parent: r.group, RequestId: r.next(), Outage: o}
		return func() error { _, err := r.gateway.CreateOutage(manager, request); return err }
	}
	absence := func(request *shelterv1.StartAbsenceRequest) func() error {
		return func() error { _, err := r.gateway.StartAbsence(manager, request); return err }
	}
	renew := func(request *shelterv1.RenewHoldRequest) func() error {
		return func() error { _, err := r.referral.RenewHold(ctx, request); return err }
	}
	move := func(request *shelterv1.MoveStayRequest) func() error {
		return func() error { _, err := r.gateway.MoveStay(manager, request); return err }
	}
	counted := func(change func(*shelterv1.Headcount)) func() error {
		request := r.headcount()
		change(request.GetHeadcount())
		return func() error { _, err := r.gateway.CreateHeadcount(manager, request); return err }
	}
	waiting := func(change func(*shelterv1.WaitlistEntry)) func() error {
		request := r.entry()
		change(request.GetWaitlistEntry())
		return func() error { _, err := r.gateway.CreateWaitlistEntry(manager, request); return err }
	}
	inventory := func(total int32) func() error {
		return func() error {
			_, err := r.gateway.UpdateGroup(manager, &shelterv1.UpdateGroupRequest{Group: &shelterv1.Group{Name: r.group, Total: total}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"total"}}})
			return err
		}
	}
	invalid := func(field string) rpctest.Refusal {
		return rpctest.Refusal{Code: codes.InvalidArgument, Reason: "INVALID_FIELD", Names: field}
	}
	missing := func(names string) rpctest.Refusal {
		return rpctest.Refusal{Code: codes.NotFound, Reason: "NOT_FOUND", Names: names}
	}
	state := func(reason, names string) rpctest.Refusal {
		return rpctest.Refusal{Code: codes.FailedPrecondition, Reason: reason, Names: names}
	}
	stale := rpctest.Refusal{Code: codes.Aborted, Reason: "STALE_ETAG"}
	for name, c := range map[string]struct {
		call func() error
		want rpctest.Refusal
	}{
		"reversed ages of a group":           {create(func(c *shelterv1.CreateShelterRequest) { c.Shelter.Groups[0].AgeTo = 3 }), invalid("shelter.groups[0]")},
		"more overflow set up than there is": {create(func(c *shelterv1.CreateShelterRequest) { c.Shelter.Groups[0].OverflowOpen = 2 }), invalid("shelter.groups[0]")},
		"groups with a shelter's update": {func() error {
			_, err := r.gateway.UpdateShelter(manager, &shelterv1.UpdateShelterRequest{Shelter: &shelterv1.Shelter{Name: r.shelter, Groups: r.create().GetShelter().GetGroups()}})
			return err
		}, invalid("shelter.groups")},
		"a group twice": {create(func(c *shelterv1.CreateShelterRequest) {
			c.Shelter.Groups = append(c.Shelter.Groups, c.Shelter.Groups[0])
		}), invalid("shelter.groups[1].name")},
		"a shelter's id that is taken": {create(func(c *shelterv1.CreateShelterRequest) { c.ShelterId = "lahore" }), invalid("shelter_id")},
		"a shelter at another node":    {create(func(c *shelterv1.CreateShelterRequest) { c.Parent = "nodes/sindh" }), missing("field=parent")},
		"a shelter that is not there": {func() error {
			_, err := r.gateway.GetShelter(manager, &shelterv1.GetShelterRequest{Name: "nodes/punjab/shelters/none"})
			return err
		}, missing("kind=shelter")},
		"shelters of another node": {func() error {
			_, err := r.gateway.ListShelters(manager, &shelterv1.ListSheltersRequest{Parent: "nodes/sindh"})
			return err
		}, missing("field=parent")},

		"reversed ages":                {place(func(p *shelterv1.PlaceHoldRequest) { p.Needs.AgeTo = 3 }), invalid("needs")},
		"an absurd quantity":           {place(func(p *shelterv1.PlaceHoldRequest) { p.Quantity = 1 << 30 }), invalid("quantity")},
		"a hold that ends in the past": {place(func(p *shelterv1.PlaceHoldRequest) { p.ExpireTime = timestamppb.New(time.Now().Add(-time.Hour)) }), invalid("expire_time")},
		"a hold that ends too late": {place(func(p *shelterv1.PlaceHoldRequest) {
			p.ExpireTime = timestamppb.New(time.Now().Add(8 * 24 * time.Hour))
		}), invalid("expire_time")},
		"a group that is not there": {place(func(p *shelterv1.PlaceHoldRequest) { p.Group = "nodes/punjab/shelters/lahore/groups/none" }), missing("kind=group")},
		"a group at another node":   {place(func(p *shelterv1.PlaceHoldRequest) { p.Group = "nodes/sindh/shelters/lahore/groups/girls" }), missing("field=group")},
		"a key with another body":   {place(func(p *shelterv1.PlaceHoldRequest) { p.RequestId, p.Quantity = used.GetRequestId(), 2 }), rpctest.Refusal{Code: codes.AlreadyExists, Reason: "IDEMPOTENCY_MISMATCH", Names: ""}},
		"another gender":            {place(func(p *shelterv1.PlaceHoldRequest) { p.Needs.Gender = "Masculine" }), state("CANNOT_MEET_NEEDS", "need=gender")},
		"too old":                   {place(func(p *shelterv1.PlaceHoldRequest) { p.Needs.AgeTo = 30 }), state("CANNOT_MEET_NEEDS", "need=age")},
		"steps":                     {place(func(p *shelterv1.PlaceHoldRequest) { p.Needs.Wheelchair = true }), state("CANNOT_MEET_NEEDS", "need=wheelchair")},
		"an excluded district":      {place(func(p *shelterv1.PlaceHoldRequest) { p.Needs.ExcludedDistricts = []string{"PK617"} }), state("CANNOT_MEET_NEEDS", "need=excluded_districts")},
		"more beds than are free": {place(func(p *shelterv1.PlaceHoldRequest) {
			p.Quantity = 50
			for range 9 {
				p.Also = append(p.Also, &shelterv1.Part{Group: p.GetGroup(), Quantity: 50, Needs: p.GetNeeds()})
			}
		}), state("NO_CAPACITY", "group="+r.group)},

		"a hold on a suspended shelter":                {place(func(p *shelterv1.PlaceHoldRequest) { p.Group, p.Also = closed.GetGroups()[0].GetName(), nil }), state("WRONG_STATE", "state=SUSPENDED")},
		"a hold on a full shelter":                     {place(func(p *shelterv1.PlaceHoldRequest) { p.Group, p.Also = full.GetGroups()[0].GetName(), nil }), state("NO_CAPACITY", "shelter="+full.GetName())},
		"a family torn apart":                          {place(func(p *shelterv1.PlaceHoldRequest) { p.Also[0].Group = full.GetGroups()[0].GetName() }), invalid("also[0].group")},
		"a brother where girls are":                    {place(func(p *shelterv1.PlaceHoldRequest) { p.Also[0].Needs.Gender = "Masculine" }), state("CANNOT_MEET_NEEDS", "need=gender")},
		"a mother where there is no room for children": {place(func(p *shelterv1.PlaceHoldRequest) { p.Needs.WithMother = true }), state("CANNOT_MEET_NEEDS", "need=with_mother")},
		"confirm a hold that ended with its shelter":   {confirm(&shelterv1.ConfirmHoldRequest{Name: lost.GetName()}), state("HOLD_ENDED", "state=RELEASED")},
		"renew twice":                                  {renew(&shelterv1.RenewHoldRequest{Name: renewed.GetName(), ExpireTime: in(3 * time.Hour)}), state("WRONG_STATE", "state=HELD")},
		"renew a promise":                              {renew(&shelterv1.RenewHoldRequest{Name: promised.GetName()}), state("WRONG_STATE", "state=CONFIRMED")},
		"renew to an earlier end":                      {renew(&shelterv1.RenewHoldRequest{Name: held.GetName(), ExpireTime: in(10 * time.Minute)}), invalid("expire_time")},
		"suspend for another reason": {func() error {
			_, err := r.gateway.SuspendShelter(manager, &shelterv1.SuspendShelterRequest{Name: closed.GetName(), Reason: "ILLNESS"})
			return err
		}, state("WRONG_STATE", "state=SUSPENDED")},
		"full for a month": {func() error {
			_, err := r.gateway.DeclareFull(manager, &shelterv1.DeclareFullRequest{Name: full.GetName(), UntilTime: in(30 * 24 * time.Hour)})
			return err
		}, invalid("until_time")},
		"inventory cut below what is taken": {inventory(2), state("WRONG_STATE", "group="+r.group)},
		"negative inventory":                {inventory(-1), invalid("group.total")},
		"a field that callers do not write": {func() error {
			_, err := r.gateway.UpdateGroup(manager, &shelterv1.UpdateGroupRequest{Group: &shelterv1.Group{Name: r.group, Held: 1}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"held"}}})
			return err
		}, invalid("update_mask.paths[0]")},
		"an outage with its dates reversed": {outage(&shelterv1.Outage{Quantity: 1, Reason: "REPAIR", FromTime: in(-time.Hour), UntilTime: in(-2 * time.Hour)}), invalid("outage")},
		"an outage that lies ahead":         {outage(&shelterv1.Outage{Quantity: 1, Reason: "REPAIR", FromTime: in(time.Hour)}), invalid("outage.from_time")},
		"more out of service than is free":  {outage(&shelterv1.Outage{Quantity: 600, Reason: "REPAIR"}), state("NO_CAPACITY", "group="+r.group)},
		"an absurd outage":                  {outage(&shelterv1.Outage{Quantity: -1, Reason: "REPAIR"}), invalid("outage.quantity")},
		"in at a suspended shelter":         {walkIn(func(w *shelterv1.AdmitWalkInRequest) { w.Group = closed.GetGroups()[0].GetName() }), state("WRONG_STATE", "state=SUSPENDED")},
		"in at another node":                {walkIn(func(w *shelterv1.AdmitWalkInRequest) { w.Group = "nodes/sindh/shelters/lahore/groups/girls" }), missing("field=group")},
		"move out of the shelter":           {move(&shelterv1.MoveStayRequest{Name: away.GetName(), ToGroup: full.GetGroups()[0].GetName()}), invalid("to_group")},
		"move who has gone":                 {move(&shelterv1.MoveStayRequest{Name: gone.GetName(), ToGroup: r.group}), state("WRONG_STATE", "state=DISCHARGED")},
		"away twice":                        {absence(&shelterv1.StartAbsenceRequest{Name: away.GetName(), Reason: "COURT", ReturnTime: in(time.Hour)}), state("WRONG_STATE", "state=ABSENT")},
		"back before going":                 {absence(&shelterv1.StartAbsenceRequest{Name: r.stay(t).GetName(), Reason: "COURT", ReturnTime: in(-time.Hour)}), invalid("return_time")},
		"discharged for another reason": {func() error {
			_, err := r.gateway.DischargeStay(manager, &shelterv1.DischargeStayRequest{Name: gone.GetName(), Reason: "LEFT"})
			return err
		}, state("WRONG_STATE", "state=DISCHARGED")},
		"a group counted twice":                   {counted(func(h *shelterv1.Headcount) { h.Counts = append(h.Counts, h.Counts[0]) }), invalid("headcount.counts[1].group")},
		"a group that is not there counted":       {counted(func(h *shelterv1.Headcount) { h.Counts[0].Group = "boys" }), invalid("headcount.counts[0].group")},
		"a count of tomorrow":                     {counted(func(h *shelterv1.Headcount) { h.CountTime = in(time.Hour) }), invalid("headcount.count_time")},
		"waiting without end":                     {waiting(func(e *shelterv1.WaitlistEntry) { e.ReviewTime = in(90 * 24 * time.Hour) }), invalid("waitlist_entry.review_time")},
		"waiting where nobody like this is taken": {waiting(func(e *shelterv1.WaitlistEntry) { e.Needs.Gender = "Masculine" }), state("CANNOT_MEET_NEEDS", "need=gender")},
		"review a closed entry": {func() error {
			_, err := r.gateway.ReviewWaitlistEntry(manager, &shelterv1.ReviewWaitlistEntryRequest{Name: entry.GetName(), ReviewTime: in(time.Hour)})
			return err
		}, state("WRONG_STATE", "state=CLOSED")},

		"no such hold to read":         {func() error { _, err := r.referral.GetHold(ctx, &shelterv1.GetHoldRequest{Name: nobody}); return err }, missing("kind=hold")},
		"no such hold to confirm":      {confirm(&shelterv1.ConfirmHoldRequest{Name: nobody}), missing("kind=hold")},
		"no such hold to release":      {release(&shelterv1.ReleaseHoldRequest{Name: nobody}), missing("kind=hold")},
		"no such hold to admit":        {admit(&shelterv1.AdmitHoldRequest{Name: nobody}), missing("kind=hold")},
		"confirm what another changed": {confirm(&shelterv1.ConfirmHoldRequest{Name: held.GetName(), Etag: "7"}), stale},
		"release what another changed": {release(&shelterv1.ReleaseHoldRequest{Name: held.GetName(), Etag: "7"}), stale},
		"admit what another changed":   {admit(&shelterv1.AdmitHoldRequest{Name: promised.GetName(), Etag: "7"}), stale},
		"another's fence":              {confirm(&shelterv1.ConfirmHoldRequest{Name: held.GetName(), Fence: promised.GetFence()}), state("STALE_FENCE", "")},
		"confirm what was given back":  {confirm(&shelterv1.ConfirmHoldRequest{Name: released.GetName()}), state("HOLD_ENDED", "state=RELEASED")},
		"release what was given back":  {release(&shelterv1.ReleaseHoldRequest{Name: released.GetName()}), state("HOLD_ENDED", "state=RELEASED")},
		"admit what was given back":    {admit(&shelterv1.AdmitHoldRequest{Name: released.GetName()}), state("HOLD_ENDED", "state=RELEASED")},
		"admit before the promise":     {admit(&shelterv1.AdmitHoldRequest{Name: held.GetName()}), state("WRONG_STATE", "state=HELD")},
		"release an occupied bed":      {release(&shelterv1.ReleaseHoldRequest{Name: admitted.GetName()}), state("WRONG_STATE", "state=OCCUPIED")},
		"confirm an occupied bed":      {confirm(&shelterv1.ConfirmHoldRequest{Name: admitted.GetName()}), state("WRONG_STATE", "state=OCCUPIED")},
	} {
		t.Run(name, func(t *testing.T) { s.Refused(t, s.Unchanged(t, c.call), c.want) })
	}
}

// What only the service may say is not taken from a caller: beds are free because rows say so.
func TestOutputFieldsAreNotTaken(t *testing.T) {
	r, _ := newSuite(t)
	request := r.create()
	s, g := request.GetShelter(), request.GetShelter().GetGroups()[0]
	s.Name, s.State, s.Etag, s.CreateTime = "nodes/sindh/shelters/other", shelterv1.Shelter_STATE_SUSPENDED, "77", timestamppb.New(time.Now().Add(-time.Hour))
	g.Held, g.Occupied, g.OutOfService, g.Available = 49, 49, 49, 5000
	made, err := r.gateway.CreateShelter(r.token("shelter-manager"), request)
	if err != nil {
		t.Fatal(err)
	}
	g = made.GetGroups()[0]
	if made.GetName() != "nodes/punjab/shelters/"+request.GetShelterId() || made.GetState() != shelterv1.Shelter_STATE_ACTIVE || made.GetEtag() == "77" ||
		time.Since(made.GetCreateTime().AsTime()) > time.Minute || g.GetHeld() != 0 || g.GetOccupied() != 0 || g.GetOutOfService() != 0 || g.GetAvailable() != 51 {
		t.Errorf("taken over from the caller: %v", made)
	}
}

// Where a confidential shelter is, is told to who runs it, and with a promise; to nobody else.
func TestConfidentialLocation(t *testing.T) {
	r := &requests{world: newWorld(t)}
	request := r.create()
	request.Shelter.Confidential = true
	made, err := r.gateway.CreateShelter(r.token("shelter-manager"), request)
	if err != nil {
		t.Fatal(err)
	}
	r.group = made.GetGroups()[0].GetName()
	tells := func(what string, message proto.Message, want bool) {
		t.Helper()
		raw, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(raw, []byte("a street")) || bytes.Contains(raw, []byte("+924211111111")); got != want {
			t.Errorf("%s: told %v, want %v", what, got, want)
		}
	}
	read := func(role string) *shelterv1.Shelter {
		s, err := r.gateway.GetShelter(r.token(role), &shelterv1.GetShelterRequest{Name: made.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	tells("its manager", read("shelter-manager"), true)
	tells("a case worker", read("case-worker"), false)
	for role, want := range map[string]bool{"shelter-manager": true, "supervisor": false} { // a supervisor may change it, and changes what is so already
		ctx := r.token(role)
		for what, call := range map[string]func() (*shelterv1.Shelter, error){
			"update": func() (*shelterv1.Shelter, error) {
				return r.gateway.UpdateShelter(ctx, &shelterv1.UpdateShelterRequest{Shelter: &shelterv1.Shelter{Name: made.GetName(), DisplayName: "Hidden"}})
			},
			"declare full": func() (*shelterv1.Shelter, error) {
				return r.gateway.DeclareFull(ctx, &shelterv1.DeclareFullRequest{Name: made.GetName()})
			},
			"withdraw full": func() (*shelterv1.Shelter, error) {
				return r.gateway.WithdrawFull(ctx, &shelterv1.WithdrawFullRequest{Name: made.GetName()})
			},
			"suspend": func() (*shelterv1.Shelter, error) {
				return r.gateway.SuspendShelter(ctx, &shelterv1.SuspendShelterRequest{Name: made.GetName(), Reason: "REPAIR"})
			},
			"reopen": func() (*shelterv1.Shelter, error) {
				return r.gateway.ReopenShelter(ctx, &shelterv1.ReopenShelterRequest{Name: made.GetName()})
			},
		} {
			shown, err := call()
			if err != nil {
				t.Fatal(err)
			}
			tells("the answer of "+what+" to a "+role, shown, want)
		}
		tells("a "+role, read(role), want)
	}
	if _, err := r.gateway.WithdrawFull(r.token("shelter-manager"), &shelterv1.WithdrawFullRequest{Name: made.GetName()}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.gateway.ReopenShelter(r.token("shelter-manager"), &shelterv1.ReopenShelterRequest{Name: made.GetName()}); err != nil {
		t.Fatal(err)
	}
	listed, err := r.gateway.ListShelters(r.token("shelter-manager"), &shelterv1.ListSheltersRequest{Parent: "nodes/punjab"})
	if err != nil {
		t.Fatal(err)
	}
	tells("a list", listed, false)
	held := r.held(t)
	tells("a tentative hold", held, false)
	confirmed, err := r.referral.ConfirmHold(t.Context(), &shelterv1.ConfirmHoldRequest{Name: held.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	tells("a confirmed hold", confirmed, true)
	holds, err := r.gateway.ListHolds(r.token("case-worker"), &shelterv1.ListHoldsRequest{Parent: "nodes/punjab"})
	if err != nil {
		t.Fatal(err)
	}
	tells("a list of holds", holds, false)
}
