package server_test

import (
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
			"WatchCapacity": {Requests: one(func(testing.TB) proto.Message {
				return &shelterv1.WatchCapacityRequest{Parent: "nodes/punjab", Shelter: "nodes/punjab/shelters/lahore"}
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

// advertsSuite has a valid call of the RPC for what other nodes say.
func advertsSuite(t testing.TB) *rpctest.Suite {
	r, s := newSuite(t)
	r.hear(t, "sindh", "sukkur-girls")
	s.Descriptor = &shelterv1.AdvertService_ServiceDesc
	s.Calls = map[string]rpctest.Call{
		"ListAdverts": {Requests: func(testing.TB) []proto.Message {
			return []proto.Message{&shelterv1.ListAdvertsRequest{
				Parent: "nodes/punjab", PageSize: 1, Filter: &shelterv1.ListAdvertsRequest_Filter{Node: "sindh", District: "PK617"},
			}}
		}, Except: map[string]rpctest.Exception{"filter.node unknown": rpctest.Accepted("a node that is not there has no adverts")}},
	}
	return s
}

func TestBadInput(t *testing.T) {
	_, s := newSuite(t)
	s.BadInput(t)
	advertsSuite(t).BadInput(t)
}

func TestBadCallers(t *testing.T) {
	_, s := newSuite(t)
	s.Callers(t, "gateway", "referral", "protection", "federal")
	advertsSuite(t).Callers(t, "gateway", "referral", "protection", "federal")
}

// The roster's other nodes have services of the same names; none of them is let in.
func TestStrangers(t *testing.T) {
	_, s := newSuite(t)
	s.Stranger(t, "sindh")
	advertsSuite(t).Stranger(t, "sindh")
}
