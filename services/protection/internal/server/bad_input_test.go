package server_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
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
	later  = rpctest.Never("a unit has no workers yet; TestRefusedDuty tries it")
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
		Writes: rpctest.Watch(w.db, w.app.Keys.Store()), Queued: w.queued,
		Calls: map[string]rpctest.Call{
			"CreateUnit": {
				Requests: one(func(testing.TB) proto.Message { return w.newUnit(w.next("unit")) }),
				Except: map[string]rpctest.Exception{
					"unit.display_name unknown": aName, "unit.name unknown": made, "unit.duty": later, "unit.duty_exceptions": later,
				},
			},
			"GetUnit": {Requests: one(func(testing.TB) proto.Message { return &protectionv1.GetUnitRequest{Name: hub} })},
			"ListUnits": {Requests: one(func(testing.TB) proto.Message {
				return &protectionv1.ListUnitsRequest{Parent: parent, PageSize: 1}
			})},
			"CreateWorker": {
				Requests: one(func(t testing.TB) proto.Message {
					request := w.newWorker()
					filled(request.GetWorker(), w.worker(t).GetName())
					return request
				}),
				Except: map[string]rpctest.Exception{"worker.name unknown": made},
			},
			"UpdateWorker": {
				Requests: one(func(t testing.TB) proto.Message {
					changed := w.worker(t)
					made := changed.GetEtag()
					filled(changed, w.worker(t).GetName())
					return &protectionv1.UpdateWorkerRequest{Worker: changed, Etag: made, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{
						"unit", "display_name", "phone", "roles", "email", "language", "quiet_hours", "leaves", "suspended",
					}}}
				}),
			},
			"UpdateUnit": {
				Requests: one(func(t testing.TB) proto.Message {
					u, err := w.app.CreateUnit(t.Context(), w.newUnit(w.next("unit")))
					must(t, err)
					request := w.newWorker()
					request.Worker.Unit = u.GetName()
					on, err := w.app.CreateWorker(t.Context(), request)
					must(t, err)
					u.Supervisor = on.GetName()
					u.Duty = []*protectionv1.DutySpan{{Weekday: 1, From: "08:00", Until: "16:00", Workers: []string{on.GetName()}}}
					u.DutyExceptions = []*protectionv1.DutyException{{Date: day(2027), Workers: []string{on.GetName()}}}
					return &protectionv1.UpdateUnitRequest{Unit: u, Etag: u.GetEtag(), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{
						"display_name", "district", "supervisor", "duty", "duty_exceptions",
					}}}
				}),
				Except: map[string]rpctest.Exception{"unit.display_name unknown": aName},
			},
			"GetLadder": {Requests: one(func(t testing.TB) proto.Message {
				return &protectionv1.GetLadderRequest{Name: w.ladder(t).GetName()}
			})},
			"UpdateLadder": {Requests: one(func(t testing.TB) proto.Message {
				l := w.ladder(t)
				return &protectionv1.UpdateLadderRequest{
					Ladder: &protectionv1.Ladder{Name: l.GetName(), FocalPoint: w.worker(t).GetName()}, Etag: l.GetEtag(),
					UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"focal_point"}},
				}
			})},
			"ListLimits": {Requests: one(func(testing.TB) proto.Message {
				return &protectionv1.ListLimitsRequest{Parent: parent, PageSize: 1}
			})},
			"ListCaseDeadlines": {
				Requests: one(func(t testing.TB) proto.Message {
					return &protectionv1.ListCaseDeadlinesRequest{Parent: parent, PageSize: 1, Filter: &protectionv1.ListCaseDeadlinesRequest_Filter{
						Unit: quetta, Subject: w.deadline(t).GetSubject(),
					}}
				}),
				Except: map[string]rpctest.Exception{"filter.unit unknown": noSuch, "filter.subject unknown": noSuch},
			},
			"MeetDeadline": {Requests: one(func(t testing.TB) proto.Message {
				d := w.deadline(t)
				return &protectionv1.MeetDeadlineRequest{Name: d.GetName(), Etag: d.GetEtag()}
			})},
			"RecordLegalEvent": {Requests: one(func(t testing.TB) proto.Message {
				c := w.taken(t)
				return &protectionv1.RecordLegalEventRequest{Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: ahead(-time.Hour)}
			})},
			"ListNotices": {
				Requests: one(func(t testing.TB) proto.Message {
					n := w.notice(t)
					return &protectionv1.ListNoticesRequest{Parent: parent, PageSize: 1, Filter: &protectionv1.ListNoticesRequest_Filter{
						Worker: n.GetWorker(), Unit: n.GetUnit(), Open: true,
					}}
				}),
				Except: map[string]rpctest.Exception{"filter.worker unknown": noSuch, "filter.unit unknown": noSuch},
			},
			"AcknowledgeNotice": {Requests: one(func(t testing.TB) proto.Message {
				n := w.notice(t)
				return &protectionv1.AcknowledgeNoticeRequest{Name: n.GetName(), Etag: n.GetEtag()}
			})},
			"ListWorkers": {Requests: one(func(testing.TB) proto.Message {
				return &protectionv1.ListWorkersRequest{Parent: parent, PageSize: 1}
			})},
			"CreateCase": {
				Requests: one(func(testing.TB) proto.Message { return w.intake() }),
				Except: map[string]rpctest.Exception{
					"case.name unknown": made, "request_id unknown": rpctest.Accepted("a key is any text"),
					"case.person.home_place unknown": rpctest.Accepted("as told"), "case.person.health unknown": rpctest.Accepted("as told"),
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
			"WatchCases": {
				Requests: one(func(testing.TB) proto.Message { return &protectionv1.WatchCasesRequest{Parent: parent} }),
				Except:   map[string]rpctest.Exception{"after unknown": rpctest.Accepted("who comes back with it is told to read all anew")},
			},
			"RecordConsent": {Requests: one(func(t testing.TB) proto.Message { return consent(w.taken(t)) })},
			"ReferCase": {Except: map[string]rpctest.Exception{"external.address unknown": rpctest.Accepted("an address is any text")}, Requests: func(t testing.TB) []proto.Message {
				outside := refer(w.consented(t))
				outside.ToUnit, outside.External = "", &custodyv1.Agency{Kind: "NGO", DisplayName: "A home", ContactDisplayName: "Shazia", Phone: "+923009876543", Address: "A street"}
				overridden := refer(w.taken(t))
				overridden.Override = &custodyv1.ConsentOverride{LegalBasis: "IMMINENT_DANGER", Approver: "nodes/balochistan/workers/s"}
				together, other := refer(w.consented(t)), w.taken(t)
				together.Others = []*protectionv1.OtherCase{{Name: other.GetName(), Etag: other.GetEtag(), Needs: together.GetNeeds(), Override: overridden.GetOverride()}}
				return []proto.Message{refer(w.consented(t)), overridden, together, outside}
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

// What only the service may say is not taken from a caller: no consent, state or referral comes in
// with an intake.
func TestOutputFieldsAreNotTaken(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	request := w.intake()
	given := request.GetCase()
	given.Name, given.Reference, given.Etag, given.Outcome, given.Referral = noCase, "BA-26-99999-9", "77", "REUNIFIED", w.newReferral()
	given.State, given.Source, given.ReferralState = protectionv1.Case_STATE_CLOSED, protectionv1.Case_SOURCE_REFERRAL, inService
	given.CreateTime, given.UpdateTime, given.ReferFailure = ahead(-time.Hour), ahead(-time.Hour), "REASON_INTERNAL"
	given.Consent = consent(given).GetConsent()
	made, err := client.CreateCase(ctx, request)
	must(t, err)
	if made.GetName() == noCase || made.GetReference() == given.GetReference() || made.GetOutcome() != "" || made.GetReferral() != "" ||
		made.GetState() != protectionv1.Case_STATE_ACTIVE || made.GetSource() != protectionv1.Case_SOURCE_INTAKE || made.GetReferralState() != 0 ||
		made.GetConsent() != nil || made.GetReferFailure() != "" || made.GetEtag() == "77" || time.Since(made.GetCreateTime().AsTime()) > time.Minute {
		t.Errorf("taken over from the caller: %v", made)
	}
	agreed := consent(made)
	agreed.Consent.Salt, agreed.Consent.Commitment, agreed.Consent.RecordTime = make([]byte, 32), make([]byte, 32), ahead(-time.Hour)
	shown, err := client.RecordConsent(ctx, agreed)
	must(t, err)
	c := shown.GetConsent()
	if bytes.Equal(c.GetSalt(), agreed.GetConsent().GetSalt()) || bytes.Equal(c.GetCommitment(), agreed.GetConsent().GetCommitment()) ||
		time.Since(c.GetRecordTime().AsTime()) > time.Minute {
		t.Errorf("taken over from the caller: %v", c)
	}
}
