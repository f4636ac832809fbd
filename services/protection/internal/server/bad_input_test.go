package server_test

import (
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/protection/internal/server"
)

func ahead(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(d)) }

func day(year int32) *date.Date { return &date.Date{Year: year, Month: 1, Day: 2} }

const inService = custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE

var (
	aName  = rpctest.Accepted("a name is any text")
	made   = rpctest.Accepted("the name is made by the service")
	noSuch = rpctest.Accepted("a filter that matches nothing is answered with nothing")
)

// newSuite has a valid call of each RPC.
func newSuite(t testing.TB) (*world, *rpctest.Suite) {
	t.Helper()
	w := newWorld(t)
	one := func(make func(t testing.TB) proto.Message) func(testing.TB) []proto.Message {
		return func(t testing.TB) []proto.Message { return []proto.Message{make(t)} }
	}
	return w, &rpctest.Suite{
		Place: w.place, Address: w.address, Descriptor: &protectionv1.ProtectionService_ServiceDesc, Policy: server.Policy(),
		Writes: rpctest.Watch(w.db), Queued: w.queued,
		Calls: map[string]rpctest.Call{
			"CreateUnit": {
				Requests: one(func(testing.TB) proto.Message { return w.newUnit(w.next("unit")) }),
				Except:   map[string]rpctest.Exception{"unit.display_name unknown": aName, "unit.name unknown": made},
			},
			"GetUnit": {Requests: one(func(testing.TB) proto.Message { return &protectionv1.GetUnitRequest{Name: hub} })},
			"ListUnits": {Requests: one(func(testing.TB) proto.Message {
				return &protectionv1.ListUnitsRequest{Parent: parent, PageSize: 1}
			})},
			"CreateWorker": {
				Requests: one(func(testing.TB) proto.Message { return w.newWorker() }),
				Except:   map[string]rpctest.Exception{"worker.name unknown": made},
			},
			"ListWorkers": {Requests: one(func(testing.TB) proto.Message {
				return &protectionv1.ListWorkersRequest{Parent: parent, PageSize: 1}
			})},
			"CreateCase": {
				Requests: one(func(testing.TB) proto.Message { return w.intake() }),
				Except: map[string]rpctest.Exception{
					"case.name unknown": made, "request_id unknown": rpctest.Accepted("a key is any text"),
				},
			},
			"GetCase": {Requests: one(func(t testing.TB) proto.Message {
				return &protectionv1.GetCaseRequest{Name: w.taken(t).GetName()}
			})},
			"ListCases": {
				Requests: one(func(testing.TB) proto.Message {
					return &protectionv1.ListCasesRequest{Parent: parent, PageSize: 1, Filter: &protectionv1.ListCasesRequest_Filter{Unit: hub}}
				}),
				Except: map[string]rpctest.Exception{"filter.unit unknown": noSuch, "filter.referral unknown": noSuch},
			},
			"RecordConsent": {Requests: one(func(t testing.TB) proto.Message { return consent(w.taken(t)) })},
			"ReferCase": {Requests: func(t testing.TB) []proto.Message {
				overridden := refer(w.taken(t))
				overridden.Override = &custodyv1.ConsentOverride{LegalBasis: "IMMINENT_DANGER", Approver: "nodes/balochistan/workers/s"}
				return []proto.Message{refer(w.consented(t)), overridden}
			}},
			"RecordOutcome": {Requests: one(func(t testing.TB) proto.Message { return outcome(w.received(t, inService)) })},
			"ListAuditRows": {Requests: one(func(testing.TB) proto.Message {
				return &protectionv1.ListAuditRowsRequest{Parent: parent, PageSize: 1}
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
	s.Callers(t, "protection", "referral", "shelter", "federal")
}

func TestStrangers(t *testing.T) {
	_, s := newSuite(t)
	s.Stranger(t, "sindh")
}
