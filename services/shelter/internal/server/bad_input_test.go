package server_test

import (
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/shelter/internal/server"
)

// requests makes valid requests, each about things of its own.
type requests struct {
	*world
	group string
	made  int
}

func (r *requests) next() string {
	r.made++
	return "request-" + strconv.Itoa(r.made)
}

func (r *requests) create() *shelterv1.CreateShelterRequest {
	return &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: r.next(), Shelter: &shelterv1.Shelter{
		DisplayName: "Girls", District: "PK617", Address: "a street", Languages: []string{"urd"}, Services: []string{"SHELTER"},
		Groups: []*shelterv1.Group{{
			Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 50,
			OutOfService: 1, Overflow: 1, CapacitySource: "visit", CapacityTime: timestamppb.Now(),
		}},
	}}
}

func (r *requests) placeHold() *shelterv1.PlaceHoldRequest {
	return &shelterv1.PlaceHoldRequest{
		Group: r.group, Quantity: 1, RequestId: r.next(), ExpireTime: timestamppb.New(time.Now().Add(time.Hour)),
		Offer: "nodes/sindh/referrals/0192f0a1-0000-7000-8000-000000000001/offers/" + hash,
		Needs: &custodyv1.Needs{
			Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Languages: []string{"urd"}, Services: []string{"SHELTER"}, ExcludedDistricts: []string{"PK-BA-HUB"},
		},
	}
}

const hash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// held is a new tentative hold.
func (r *requests) held(t testing.TB) *shelterv1.Hold {
	t.Helper()
	h, err := r.referral.PlaceHold(t.Context(), r.placeHold())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (r *requests) confirmed(t testing.TB) *shelterv1.Hold {
	t.Helper()
	h, err := r.referral.ConfirmHold(t.Context(), &shelterv1.ConfirmHoldRequest{Name: r.held(t).GetName()})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// newSuite has a valid call of each RPC.
func newSuite(t testing.TB) (*requests, *rpctest.Suite) {
	t.Helper()
	r := &requests{world: newWorld(t)}
	r.group = r.world.create(t, "lahore", 50)
	one := func(make func(t testing.TB) proto.Message) func(testing.TB) []proto.Message {
		return func(t testing.TB) []proto.Message { return []proto.Message{make(t)} }
	}
	return r, &rpctest.Suite{
		Place: r.place, Address: r.address, Descriptor: &shelterv1.ShelterService_ServiceDesc, Policy: server.Policy(), Writes: rpctest.Watch(r.db, r.keys.Store()),
		Calls: map[string]rpctest.Call{
			"CreateShelter": {
				Requests: one(func(testing.TB) proto.Message { return r.create() }),
				Except: map[string]rpctest.Exception{
					"shelter.display_name unknown":           rpctest.Accepted("a name is any text"),
					"shelter.name unknown":                   rpctest.Accepted("the name is made of parent and shelter_id"),
					"shelter.address unknown":                rpctest.Accepted("free text"),
					"shelter.groups.capacity_source unknown": rpctest.Accepted("free text"),
					"shelter.groups.age_from missing":        rpctest.Accepted("0 is an age"),
					"shelter.groups.total missing":           rpctest.Accepted("a group may have no bed yet"),
				},
			},
			"GetShelter": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.GetShelterRequest{Name: "nodes/punjab/shelters/lahore"}
			})},
			"ListShelters": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.ListSheltersRequest{Parent: "nodes/punjab", PageSize: 1, Filter: &shelterv1.ListSheltersRequest_Filter{District: "PK617"}}
			})},
			"PlaceHold": {
				Requests: one(func(testing.TB) proto.Message { return r.placeHold() }),
				Except: map[string]rpctest.Exception{
					"request_id unknown": rpctest.Accepted("a key is any text"),
				},
			},
			"GetHold": {Requests: one(func(t testing.TB) proto.Message {
				return &shelterv1.GetHoldRequest{Name: r.held(t).GetName()}
			})},
			"ConfirmHold": {
				Requests: one(func(t testing.TB) proto.Message {
					h := r.held(t)
					return &shelterv1.ConfirmHoldRequest{Name: h.GetName(), Fence: h.GetFence(), Etag: h.GetEtag()}
				}),
				Except: map[string]rpctest.Exception{
					"fence.incarnation absurd": rpctest.Answered(codes.FailedPrecondition, "it is not this hold's fence"),
					"fence.number absurd":      rpctest.Answered(codes.FailedPrecondition, "it is not this hold's fence"),
				},
			},
			"ReleaseHold": {Requests: one(func(t testing.TB) proto.Message {
				h := r.held(t)
				return &shelterv1.ReleaseHoldRequest{Name: h.GetName(), Etag: h.GetEtag()}
			})},
			"AdmitHold": {Requests: one(func(t testing.TB) proto.Message {
				h := r.confirmed(t)
				return &shelterv1.AdmitHoldRequest{Name: h.GetName(), Etag: h.GetEtag()}
			})},
		},
	}
}

func TestBadInput(t *testing.T) {
	_, s := newSuite(t)
	s.BadInput(t)
}

func TestBadCallers(t *testing.T) {
	_, s := newSuite(t)
	s.Callers(t, "gateway", "referral", "protection", "federal")
}

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
		"more out of service than there are": {create(func(c *shelterv1.CreateShelterRequest) { c.Shelter.Groups[0].OutOfService = 51 }), invalid("shelter.groups[0]")},
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
		"more beds than are free":   {place(func(p *shelterv1.PlaceHoldRequest) { p.Quantity = 50 }), state("NO_CAPACITY", "group="+r.group)},

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

// The roster's other nodes have services of the same names; none of them is let in.
func TestStrangers(t *testing.T) {
	_, s := newSuite(t)
	s.Stranger(t, "sindh")
}

// What only the service may say is not taken from a caller: beds are free because rows say so.
func TestOutputFieldsAreNotTaken(t *testing.T) {
	r, _ := newSuite(t)
	request := r.create()
	s, g := request.GetShelter(), request.GetShelter().GetGroups()[0]
	s.Name, s.State, s.Etag, s.CreateTime = "nodes/sindh/shelters/other", shelterv1.Shelter_STATE_SUSPENDED, "77", timestamppb.New(time.Now().Add(-time.Hour))
	g.Held, g.Occupied, g.Available = 49, 49, 5000
	made, err := r.gateway.CreateShelter(r.token("shelter-manager"), request)
	if err != nil {
		t.Fatal(err)
	}
	g = made.GetGroups()[0]
	if made.GetName() != "nodes/punjab/shelters/"+request.GetShelterId() || made.GetState() != shelterv1.Shelter_STATE_ACTIVE || made.GetEtag() == "77" ||
		time.Since(made.GetCreateTime().AsTime()) > time.Minute || g.GetHeld() != 0 || g.GetOccupied() != 0 || g.GetAvailable() != 49 {
		t.Errorf("taken over from the caller: %v", made)
	}
}
