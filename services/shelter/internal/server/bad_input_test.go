package server_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/shelter/internal/server"
)

// requests makes valid requests, each about things of its own.
type requests struct {
	*world
	group, shelter string
	made           int
}

func (r *requests) next() string {
	r.made++
	return "request-" + strconv.Itoa(r.made)
}

func (r *requests) create() *shelterv1.CreateShelterRequest {
	return &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: r.next(), Shelter: &shelterv1.Shelter{
		DisplayName: "Girls", District: "PK617", Address: "a street", Languages: []string{"urd"}, Services: []string{"SHELTER"},
		Organization: "Protection bureau", Phone: "+924211111111", Schedule: []*shelterv1.Opening{{Weekday: 1, Opens: "08:00", Closes: "24:00"}},
		BoysWithMotherToAge: 8, LargestFamily: 50, MedicalCover: shelterv1.Cover_COVER_BY_DAY, PsychosocialCover: shelterv1.Cover_COVER_VISITING,
		Security: shelterv1.Security_SECURITY_GUARDED, LongestStayDays: 365,
		Groups: []*shelterv1.Group{{
			Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 50,
			Overflow: 1, OverflowOpen: 1, Needs: []string{"INFANT"}, CapacitySource: "visit", CapacityTime: timestamppb.Now(),
		}},
	}}
}

func (r *requests) placeHold() *shelterv1.PlaceHoldRequest {
	return &shelterv1.PlaceHoldRequest{
		Group: r.group, Quantity: 1, RequestId: r.next(), ExpireTime: timestamppb.New(time.Now().Add(time.Hour)),
		Offer: "nodes/sindh/referrals/0192f0a1-0000-7000-8000-000000000001/offers/" + hash,
		Also:  []*shelterv1.Part{{Group: r.group, Quantity: 1, Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Languages: []string{"urd"}, Services: []string{"SHELTER"}, ExcludedDistricts: []string{"PK-BA-HUB"}, SpecialNeeds: []string{"INFANT"}}}},
		Needs: &custodyv1.Needs{
			SpecialNeeds: []string{"INFANT"}, Gender: "Feminine", AgeFrom: 9, AgeTo: 9, Languages: []string{"urd"}, Services: []string{"SHELTER"}, ExcludedDistricts: []string{"PK-BA-HUB"},
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

func in(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(d)) }

// made1 is a new shelter.
func (r *requests) made1(t testing.TB) *shelterv1.Shelter {
	t.Helper()
	made, err := r.gateway.CreateShelter(r.token("shelter-manager"), r.create())
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (r *requests) walkIn() *shelterv1.AdmitWalkInRequest {
	return &shelterv1.AdmitWalkInRequest{Group: r.group, Quantity: 1, RequestId: r.next(), Needs: r.placeHold().GetNeeds()}
}

// stay is somebody who has just come in.
func (r *requests) stay(t testing.TB) *shelterv1.Stay {
	t.Helper()
	s, err := r.gateway.AdmitWalkIn(r.token("shelter-manager"), r.walkIn())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *requests) headcount() *shelterv1.CreateHeadcountRequest {
	return &shelterv1.CreateHeadcountRequest{Parent: r.shelter, RequestId: r.next(), Headcount: &shelterv1.Headcount{
		CountTime: in(-time.Minute), Counts: []*shelterv1.Count{{Group: "girls", Present: 4000}},
	}}
}

func (r *requests) entry() *shelterv1.CreateWaitlistEntryRequest {
	return &shelterv1.CreateWaitlistEntryRequest{Parent: r.group, RequestId: r.next(), WaitlistEntry: &shelterv1.WaitlistEntry{
		Quantity: 1, Offer: r.placeHold().GetOffer(), Needs: r.placeHold().GetNeeds(), ReviewTime: in(24 * time.Hour),
	}}
}

// waiting is somebody on the waitlist.
func (r *requests) waiting(t testing.TB) *shelterv1.WaitlistEntry {
	t.Helper()
	e, err := r.gateway.CreateWaitlistEntry(r.token("shelter-manager"), r.entry())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// newSuite has a valid call of each RPC.
func newSuite(t testing.TB) (*requests, *rpctest.Suite) {
	t.Helper()
	r := &requests{world: newWorld(t)}
	r.group, r.shelter = r.world.create(t, "lahore", 500), "nodes/punjab/shelters/lahore"
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
					"shelter.organization unknown":           rpctest.Accepted("a name is any text"),
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
			"FindPlaces": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.FindPlacesRequest{
					Parent: "nodes/punjab", People: []*custodyv1.Needs{r.placeHold().GetNeeds()}, NearDistrict: "PK622", PageSize: 1,
					Security: shelterv1.Security_SECURITY_OPEN, MedicalCover: shelterv1.Cover_COVER_VISITING, PsychosocialCover: shelterv1.Cover_COVER_VISITING,
				}
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
			"RenewHold": {Requests: one(func(t testing.TB) proto.Message {
				h := r.held(t)
				return &shelterv1.RenewHoldRequest{Name: h.GetName(), Etag: h.GetEtag(), ExpireTime: in(2 * time.Hour)}
			})},
			"ListHolds": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.ListHoldsRequest{Parent: "nodes/punjab", PageSize: 1, Filter: &shelterv1.ListHoldsRequest_Filter{Shelter: r.shelter, Live: true}}
			}), Except: map[string]rpctest.Exception{"filter.shelter unknown": rpctest.Accepted("a shelter that is not there has no holds")}},
			"UpdateShelter": {
				Requests: one(func(t testing.TB) proto.Message {
					request := r.create()
					made, err := r.gateway.CreateShelter(r.token("shelter-manager"), request)
					if err != nil {
						t.Fatal(err)
					}
					changed := request.GetShelter()
					changed.Name, changed.Groups = made.GetName(), nil
					return &shelterv1.UpdateShelterRequest{Shelter: changed, Etag: made.GetEtag(), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{
						"display_name", "district", "address", "languages", "services", "schedule", "organization", "phone", "boys_with_mother_to_age",
						"largest_family", "medical_cover", "psychosocial_cover", "security", "longest_stay_days",
					}}}
				}),
				Except: map[string]rpctest.Exception{
					"shelter.display_name unknown": rpctest.Accepted("a name is any text"),
					"shelter.address unknown":      rpctest.Accepted("free text"),
					"shelter.organization unknown": rpctest.Accepted("a name is any text"),
					"shelter.groups":               rpctest.Never("groups are changed one by one; TestRefusals tries it"),
				},
			},
			"SuspendShelter": {Requests: one(func(t testing.TB) proto.Message {
				made := r.made1(t)
				return &shelterv1.SuspendShelterRequest{Name: made.GetName(), Etag: made.GetEtag(), Reason: "REPAIR"}
			})},
			"ReopenShelter": {Requests: one(func(t testing.TB) proto.Message {
				made := r.made1(t)
				return &shelterv1.ReopenShelterRequest{Name: made.GetName(), Etag: made.GetEtag()}
			})},
			"DeclareFull": {Requests: one(func(t testing.TB) proto.Message {
				made := r.made1(t)
				return &shelterv1.DeclareFullRequest{Name: made.GetName(), Etag: made.GetEtag(), UntilTime: in(time.Hour)}
			})},
			"WithdrawFull": {Requests: one(func(t testing.TB) proto.Message {
				made := r.made1(t)
				return &shelterv1.WithdrawFullRequest{Name: made.GetName(), Etag: made.GetEtag()}
			})},
			"CreateGroup": {
				Requests: one(func(testing.TB) proto.Message {
					g := r.create().GetShelter().GetGroups()[0]
					g.Name = ""
					return &shelterv1.CreateGroupRequest{Parent: r.shelter, GroupId: r.next(), Group: g}
				}),
				Except: map[string]rpctest.Exception{
					"group.name unknown":            rpctest.Accepted("the name is made by the service"),
					"group.capacity_source unknown": rpctest.Accepted("free text"),
					"group.age_from missing":        rpctest.Accepted("0 is an age"),
					"group.total missing":           rpctest.Accepted("a group may have no bed yet"),
				},
			},
			"UpdateGroup": {
				Requests: one(func(t testing.TB) proto.Message {
					g := r.made1(t).GetGroups()[0]
					changed := r.create().GetShelter().GetGroups()[0]
					changed.Name = g.GetName()
					return &shelterv1.UpdateGroupRequest{Etag: g.GetEtag(), Group: changed, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{
						"total", "genders", "age_from", "age_to", "needs", "overflow", "overflow_open", "unit_kind", "capacity_source", "capacity_time",
					}}}
				}),
				Except: map[string]rpctest.Exception{
					"group.age_from missing":        rpctest.Accepted("0 is an age"),
					"group.total missing":           rpctest.Accepted("all beds may go"),
					"group.capacity_source unknown": rpctest.Accepted("free text"),
				},
			},
			"CreateOutage": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.CreateOutageRequest{Parent: r.group, RequestId: r.next(), Outage: &shelterv1.Outage{Quantity: 1, Reason: "REPAIR", FromTime: in(-time.Hour), UntilTime: in(time.Hour)}}
			}), Except: map[string]rpctest.Exception{"request_id unknown": rpctest.Accepted("a key is any text"), "outage.name unknown": rpctest.Accepted("the name is made by the service")}},
			"EndOutage": {Requests: one(func(t testing.TB) proto.Message {
				o, err := r.gateway.CreateOutage(r.token("shelter-manager"), &shelterv1.CreateOutageRequest{Parent: r.group, RequestId: r.next(), Outage: &shelterv1.Outage{Quantity: 1, Reason: "REPAIR"}})
				if err != nil {
					t.Fatal(err)
				}
				return &shelterv1.EndOutageRequest{Name: o.GetName(), Etag: o.GetEtag()}
			})},
			"ListOutages": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.ListOutagesRequest{Parent: r.shelter, PageSize: 1, Filter: &shelterv1.ListOutagesRequest_Filter{Current: true}}
			})},
			"AdmitWalkIn": {Requests: one(func(testing.TB) proto.Message { return r.walkIn() }), Except: map[string]rpctest.Exception{"request_id unknown": rpctest.Accepted("a key is any text")}},
			"GetStay": {Requests: one(func(t testing.TB) proto.Message {
				return &shelterv1.GetStayRequest{Name: r.stay(t).GetName()}
			})},
			"ListStays": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.ListStaysRequest{Parent: "nodes/punjab", PageSize: 1, Filter: &shelterv1.ListStaysRequest_Filter{Shelter: r.shelter, Current: true}}
			}), Except: map[string]rpctest.Exception{"filter.shelter unknown": rpctest.Accepted("a shelter that is not there has no stays")}},
			"MoveStay": {Requests: one(func(t testing.TB) proto.Message {
				s := r.stay(t)
				return &shelterv1.MoveStayRequest{Name: s.GetName(), Etag: s.GetEtag(), ToGroup: r.group}
			})},
			"StartAbsence": {Requests: one(func(t testing.TB) proto.Message {
				s := r.stay(t)
				return &shelterv1.StartAbsenceRequest{Name: s.GetName(), Etag: s.GetEtag(), Reason: "COURT", ReturnTime: in(time.Hour)}
			})},
			"EndAbsence": {Requests: one(func(t testing.TB) proto.Message {
				s := r.stay(t)
				return &shelterv1.EndAbsenceRequest{Name: s.GetName(), Etag: s.GetEtag()}
			})},
			"DischargeStay": {Requests: one(func(t testing.TB) proto.Message {
				s := r.stay(t)
				return &shelterv1.DischargeStayRequest{Name: s.GetName(), Etag: s.GetEtag(), Reason: "REUNIFIED"}
			})},
			"CreateHeadcount": {
				Requests: one(func(testing.TB) proto.Message { return r.headcount() }),
				Except: map[string]rpctest.Exception{
					"request_id unknown":     rpctest.Accepted("a key is any text"),
					"headcount.name unknown": rpctest.Accepted("the name is made by the service"),
				},
			},
			"ExplainHeadcount": {Requests: one(func(t testing.TB) proto.Message {
				h, err := r.gateway.CreateHeadcount(r.token("shelter-manager"), r.headcount())
				if err != nil {
					t.Fatal(err)
				}
				return &shelterv1.ExplainHeadcountRequest{Name: h.GetName(), Etag: h.GetEtag(), Group: "girls", Explanation: "GUEST"}
			})},
			"ListHeadcounts": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.ListHeadcountsRequest{Parent: r.shelter, PageSize: 1, Filter: &shelterv1.ListHeadcountsRequest_Filter{Open: true}}
			})},
			"CreateWaitlistEntry": {Requests: one(func(testing.TB) proto.Message { return r.entry() }), Except: map[string]rpctest.Exception{
				"request_id unknown": rpctest.Accepted("a key is any text"), "waitlist_entry.name unknown": rpctest.Accepted("the name is made by the service"),
			}},
			"ReviewWaitlistEntry": {Requests: one(func(t testing.TB) proto.Message {
				e := r.waiting(t)
				return &shelterv1.ReviewWaitlistEntryRequest{Name: e.GetName(), Etag: e.GetEtag(), ReviewTime: in(48 * time.Hour)}
			})},
			"CloseWaitlistEntry": {Requests: one(func(t testing.TB) proto.Message {
				e := r.waiting(t)
				return &shelterv1.CloseWaitlistEntryRequest{Name: e.GetName(), Etag: e.GetEtag(), Reason: "WITHDRAWN"}
			})},
			"ListWaitlistEntries": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.ListWaitlistEntriesRequest{Parent: r.shelter, PageSize: 1, Filter: &shelterv1.ListWaitlistEntriesRequest_Filter{Waiting: true}}
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
