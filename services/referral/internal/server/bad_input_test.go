package server_test

import (
	"maps"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/referral/internal/server"
)

var (
	anyKey     = rpctest.Accepted("a key is any text")
	anyActor   = rpctest.Accepted("the calling service says who acts, in its own names")
	anyAddress = rpctest.Accepted("an address is any text")
	noSuch     = rpctest.Accepted("a filter that matches nothing is answered with nothing")
)

// newSuite has a valid call of each RPC.
func newSuite(t testing.TB) (*world, *rpctest.Suite) {
	t.Helper()
	w := newWorld(t)
	w.recovered(t)
	one := func(make func(t testing.TB) proto.Message) func(testing.TB) []proto.Message {
		return func(t testing.TB) []proto.Message { return []proto.Message{make(t)} }
	}
	suite := &rpctest.Suite{
		Place: w.place, Address: w.address, Descriptor: &referralv1.ReferralService_ServiceDesc, Policy: server.Policy(),
		Writes: rpctest.Watch(w.punjab.DB, w.punjab.Annexes.Keys.Store()), Queued: w.queued,
		Calls: map[string]rpctest.Call{
			"SubmitReferral": {
				Requests: func(testing.TB) []proto.Message {
					overridden := local(w)
					overridden.Ground = &referralv1.SubmitReferralRequest_Override{Override: &custodyv1.ConsentOverride{
						LegalBasis: "IMMINENT_DANGER", Approver: "nodes/punjab/workers/supervisor",
					}}
					outside := local(w)
					outside.ToUnit, outside.External = "", agency()
					return []proto.Message{local(w), overridden, outside}
				},
				Except: map[string]rpctest.Exception{
					"request_id unknown": anyKey, "actor.person unknown": anyActor, "actor.unit unknown": anyActor, "actor.service unknown": anyActor,
					"external.address unknown": anyAddress,
				},
			},
			"GetReferral": {Requests: one(func(t testing.TB) proto.Message {
				return &referralv1.GetReferralRequest{Name: w.walk(t, asked).GetName()}
			})},
			"GetCustodyChain": {Requests: one(func(t testing.TB) proto.Message {
				return &referralv1.GetCustodyChainRequest{Name: w.walk(t, asked).GetName()}
			})},
			"VerifyReferral": {Requests: one(func(t testing.TB) proto.Message {
				return &referralv1.VerifyReferralRequest{Name: w.walk(t, asked).GetName()}
			})},
			"ExportHandover": {Requests: one(func(t testing.TB) proto.Message {
				return &referralv1.ExportHandoverRequest{Name: w.walk(t, asked).GetName()}
			})},
			"ImportHandover": {Requests: one(func(t testing.TB) proto.Message {
				file, err := w.punjab.ExportHandover(t.Context(), w.walk(t, asked).GetName())
				if err != nil {
					t.Fatal(err)
				}
				return &referralv1.ImportHandoverRequest{Parent: "nodes/punjab", File: file}
			})},
			"GetOffer": {Requests: one(func(t testing.TB) proto.Message {
				return &referralv1.GetOfferRequest{Name: w.walk(t, asked).GetOffers()[0].GetName()}
			})},
			"GetRecovery": {Requests: one(func(t testing.TB) proto.Message {
				return &referralv1.GetRecoveryRequest{Name: "nodes/punjab/recovery"}
			})},
			"CompareReferrals": {
				Requests: one(func(t testing.TB) proto.Message {
					return &referralv1.CompareReferralsRequest{Parent: "nodes/punjab", Referrals: []string{w.walk(t, asked).GetName()}}
				}),
				Except: map[string]rpctest.Exception{"referrals unknown": rpctest.Accepted("that it is not held is the answer")},
			},
			"ExcusePeer": {
				Requests: one(func(t testing.TB) proto.Message {
					return excuseRequest()
				}),
			},
			"GetAnnex": {Requests: one(func(t testing.TB) proto.Message {
				return &referralv1.GetAnnexRequest{Name: w.walk(t, asked).GetAnnexes()[0]}
			})},
			"ListReferrals": {
				Requests: one(func(testing.TB) proto.Message {
					return &referralv1.ListReferralsRequest{Parent: "nodes/punjab", PageSize: 1, Filter: &referralv1.ListReferralsRequest_Filter{OwnerNode: "punjab"}}
				}),
				Except: map[string]rpctest.Exception{"filter.reference unknown": noSuch},
			},
			"WatchReferrals": {
				Requests: one(func(testing.TB) proto.Message {
					return &referralv1.WatchReferralsRequest{Parent: "nodes/punjab"}
				}),
				Except: map[string]rpctest.Exception{"after unknown": rpctest.Accepted("who comes back with it is told to read all anew")},
			},
			"ListOffers": {
				Requests: one(func(testing.TB) proto.Message {
					return &referralv1.ListOffersRequest{Parent: "nodes/punjab", PageSize: 1, Filter: &referralv1.ListOffersRequest_Filter{ToUnit: lahore}}
				}),
				Except: map[string]rpctest.Exception{"filter.to_unit unknown": noSuch, "filter.reference unknown": noSuch},
			},
			"ListDeadlines": {
				Requests: one(func(testing.TB) proto.Message {
					return &referralv1.ListDeadlinesRequest{Parent: "nodes/punjab", PageSize: 1, Filter: &referralv1.ListDeadlinesRequest_Filter{Unit: lahore}}
				}),
				Except: map[string]rpctest.Exception{"filter.unit unknown": noSuch},
			},
			"DeclineOffer": {Requests: one(func(t testing.TB) proto.Message {
				o := w.offer(t, w.walk(t, asked))
				return &referralv1.DeclineOfferRequest{Name: o.GetName(), Reason: "OTHER", Note: "A note.", Etag: o.GetEtag()}
			})},
			"OfferReferral": {Requests: func(t testing.TB) []proto.Message {
				v, other := w.declined(t), w.declined(t)
				return []proto.Message{
					&referralv1.OfferReferralRequest{Name: v.GetName(), ToUnit: hub, AnswerBy: ahead(1e12), Etag: v.GetEtag()},
					&referralv1.OfferReferralRequest{Name: other.GetName(), External: agency(), AnswerBy: ahead(1e12), Etag: other.GetEtag()},
				}
			}, Except: map[string]rpctest.Exception{"external.address unknown": anyAddress}},
			"ConfirmOffer": {Requests: one(func(t testing.TB) proto.Message {
				v := w.walk(t, accepted)
				return &referralv1.ConfirmOfferRequest{Name: v.GetOffers()[0].GetName(), Etag: v.GetEtag()}
			})},
			"DispatchReferral": {
				Requests: one(func(t testing.TB) proto.Message {
					v := w.walk(t, ready)
					r := dispatch(v.GetName())
					r.Etag = v.GetEtag()
					return r
				}),
				Except: map[string]rpctest.Exception{
					"escort.meeting_place unknown": rpctest.Accepted("free text"),
					"escort.court_order unknown":   rpctest.Accepted("courts number as they like"),
				},
			},
			"RecordArrival": {Requests: one(func(t testing.TB) proto.Message {
				v := w.walk(t, onTheRoad)
				r := arrival(v.GetName())
				r.Etag = v.GetEtag()
				return r
			})},
			"StartService": {Requests: one(func(t testing.TB) proto.Message {
				v := w.walk(t, arrived)
				r := start(v.GetName())
				r.Etag = v.GetEtag()
				return r
			})},
			"CompleteReferral": {
				Requests: one(func(t testing.TB) proto.Message { return completion(w.walk(t, inService).GetName()) }),
				Except: map[string]rpctest.Exception{
					"actor.person unknown": anyActor, "actor.unit unknown": anyActor, "actor.service unknown": anyActor,
				},
			},
		},
	}
	maps.Copy(suite.Calls, ownerCalls(w))
	maps.Copy(suite.Calls, destinationCalls(w))
	maps.Copy(suite.Calls, externalCalls(w))
	return w, suite
}

func TestBadInput(t *testing.T) {
	_, s := newSuite(t)
	s.BadInput(t)
}

func TestBadCallers(t *testing.T) {
	_, s := newSuite(t)
	s.Callers(t, "gateway", "protection", "shelter", "federal")
}

func TestStrangers(t *testing.T) {
	_, s := newSuite(t)
	s.Stranger(t, "balochistan")
}
