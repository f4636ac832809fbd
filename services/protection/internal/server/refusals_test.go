package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
)

// call makes a call whose answer is of no interest.
func call[Q, A any](ctx context.Context, rpc func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) func() error {
	return func() error { _, err := rpc(ctx, request); return err }
}

// supervisor calls as the gateway, for one who may do everything here.
func supervisor(t testing.TB, s *rpctest.Suite) (context.Context, protectionv1.ProtectionServiceClient) {
	t.Helper()
	return rpc.WithPersonToken(t.Context(), s.Token(t, "supervisor", nil)), protectionv1.NewProtectionServiceClient(s.Dial(t, s.Address, "gateway"))
}

type refused struct {
	call func() error
	want rpctest.Refusal
}

func runRefused(t *testing.T, s *rpctest.Suite, cases map[string]refused) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { s.Refused(t, s.Unchanged(t, c.call), c.want) })
	}
}

func invalid(field string) rpctest.Refusal {
	return rpctest.Refusal{Code: codes.InvalidArgument, Reason: "INVALID_FIELD", Names: field}
}

func missing(names string) rpctest.Refusal {
	return rpctest.Refusal{Code: codes.NotFound, Reason: "NOT_FOUND", Names: names}
}

func state(reason, names string) rpctest.Refusal {
	return rpctest.Refusal{Code: codes.FailedPrecondition, Reason: reason, Names: names}
}

var stale = rpctest.Refusal{Code: codes.Aborted, Reason: "STALE_ETAG"}

// Names of cases that are not there.
const (
	noCase   = parent + "/cases/0192f0a1-0000-7000-8000-000000000001"
	caseAway = "nodes/sindh/cases/0192f0a1-0000-7000-8000-000000000001"
)

func TestRefusedEntries(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	used := w.intake()
	_, err := client.CreateCase(ctx, used)
	must(t, err)
	intake := func(change func(r *protectionv1.CreateCaseRequest)) func() error {
		r := w.intake()
		change(r)
		return call(ctx, client.CreateCase, r)
	}
	person := func(change func(p *protectionv1.Person)) func() error {
		return intake(func(r *protectionv1.CreateCaseRequest) { change(r.Case.Person) })
	}
	worker := func(change func(r *protectionv1.CreateWorkerRequest)) func() error {
		r := w.newWorker()
		change(r)
		return call(ctx, client.CreateWorker, r)
	}
	known := w.newWorker()
	_, err = client.CreateWorker(ctx, known)
	must(t, err)
	elsewhere := w.newUnit("hub-2")
	elsewhere.Parent = "nodes/sindh"
	reused := rpctest.Refusal{Code: codes.AlreadyExists, Reason: "IDEMPOTENCY_MISMATCH"}
	tomorrow := time.Now().Add(48 * time.Hour)
	runRefused(t, s, map[string]refused{
		"a unit's id that is taken":   {call(ctx, client.CreateUnit, w.newUnit("hub")), invalid("unit_id")},
		"a unit of another node":      {call(ctx, client.CreateUnit, elsewhere), missing("field=parent")},
		"read no such unit":           {call(ctx, client.GetUnit, &protectionv1.GetUnitRequest{Name: parent + "/units/none"}), missing("kind=unit")},
		"another node's units":        {call(ctx, client.ListUnits, &protectionv1.ListUnitsRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"a worker's id that is taken": {worker(func(r *protectionv1.CreateWorkerRequest) { r.WorkerId = known.GetWorkerId() }), invalid("worker_id")},
		"a worker of no unit":         {worker(func(r *protectionv1.CreateWorkerRequest) { r.Worker.Unit = parent + "/units/none" }), invalid("worker.unit")},
		"a worker of another node":    {worker(func(r *protectionv1.CreateWorkerRequest) { r.Parent = "nodes/sindh" }), missing("field=parent")},
		"another node's workers":      {call(ctx, client.ListWorkers, &protectionv1.ListWorkersRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"another node's audit rows":   {call(ctx, client.ListAuditRows, &protectionv1.ListAuditRowsRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"another node's cases":        {call(ctx, client.ListCases, &protectionv1.ListCasesRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"read no such case":           {call(ctx, client.GetCase, &protectionv1.GetCaseRequest{Name: noCase}), missing("kind=case")},
		"read another node's case":    {call(ctx, client.GetCase, &protectionv1.GetCaseRequest{Name: caseAway}), missing("kind=case")},

		"reversed ages":     {person(func(p *protectionv1.Person) { p.AgeTo = 3 }), invalid("case.person")},
		"no age at all":     {person(func(p *protectionv1.Person) { p.AgeFrom, p.AgeTo, p.BirthDate, p.AgeAsOf = 0, 0, nil, nil }), invalid("case.person.age_to")},
		"born tomorrow":     {person(func(p *protectionv1.Person) { p.BirthDate = dateOf(tomorrow) }), invalid("case.person.birth_date")},
		"born long ago":     {person(func(p *protectionv1.Person) { p.BirthDate = day(1850) }), invalid("case.person.birth_date")},
		"the 30th February": {person(func(p *protectionv1.Person) { p.BirthDate = &date.Date{Year: 2016, Month: 2, Day: 30} }), invalid("case.person.birth_date")},
		"an age of tomorrow": {
			person(func(p *protectionv1.Person) { p.AgeAsOf = dateOf(tomorrow) }), invalid("case.person.age_as_of"),
		},
		"intake at another node":   {intake(func(r *protectionv1.CreateCaseRequest) { r.Parent = "nodes/sindh" }), missing("field=parent")},
		"intake by no unit":        {intake(func(r *protectionv1.CreateCaseRequest) { r.Case.Unit = parent + "/units/none" }), invalid("case.unit")},
		"intake by another's unit": {intake(func(r *protectionv1.CreateCaseRequest) { r.Case.Unit = "nodes/sindh/units/hub" }), invalid("case.unit")},
	})
	// A person's key is made before the transaction that knows the request again. It seals nothing.
	rowsOnly := *s
	rowsOnly.Writes = rpctest.Watch(w.db)
	runRefused(t, &rowsOnly, map[string]refused{
		"a key used for another one": {intake(func(r *protectionv1.CreateCaseRequest) {
			r.RequestId = used.GetRequestId()
			r.Case.Person.GivenName = "Zar"
		}), reused},
	})
}

func dateOf(at time.Time) *date.Date {
	return &date.Date{Year: int32(at.Year()), Month: int32(at.Month()), Day: int32(at.Day())}
}

func TestRefusedConsentAndReferral(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	bare, agreed := w.taken(t), w.consented(t)
	agree := func(change func(r *protectionv1.RecordConsentRequest)) func() error {
		r := consent(bare)
		change(r)
		return call(ctx, client.RecordConsent, r)
	}
	send := func(c *protectionv1.Case, change func(r *protectionv1.ReferCaseRequest)) func() error {
		r := refer(c)
		change(r)
		return call(ctx, client.ReferCase, r)
	}
	as := func(*protectionv1.ReferCaseRequest) {}
	decided := func(change func(r *protectionv1.RecordConsentRequest)) *protectionv1.Case {
		r := consent(w.taken(t))
		change(r)
		c, err := client.RecordConsent(ctx, r)
		must(t, err)
		return c
	}
	no := decided(func(r *protectionv1.RecordConsentRequest) { r.Consent.Decision = protectionv1.Consent_DECISION_REFUSED })
	gone, err := client.ReferCase(ctx, refer(w.consented(t)))
	must(t, err)
	other, foreign := w.taken(t), w.received(t, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)
	runRefused(t, s, map[string]refused{
		"consent for no such case":      {agree(func(r *protectionv1.RecordConsentRequest) { r.Name = noCase }), missing("kind=case")},
		"consent at another node":       {agree(func(r *protectionv1.RecordConsentRequest) { r.Name = caseAway }), missing("field=name")},
		"consent to what changed":       {agree(func(r *protectionv1.RecordConsentRequest) { r.Etag = "77" }), stale},
		"consent that has ended":        {agree(func(r *protectionv1.RecordConsentRequest) { r.Consent.ExpireTime = ahead(-time.Second) }), invalid("consent.expire_time")},
		"refer no such case":            {send(bare, func(r *protectionv1.ReferCaseRequest) { r.Name = noCase }), missing("kind=case")},
		"refer another node's case":     {send(bare, func(r *protectionv1.ReferCaseRequest) { r.Name = caseAway }), missing("field=name")},
		"refer what changed":            {send(agreed, func(r *protectionv1.ReferCaseRequest) { r.Etag = "77" }), stale},
		"refer without consent":         {send(bare, as), state("CONSENT_MISSING", "")},
		"refer against a refusal":       {send(no, as), state("CONSENT_MISSING", "")},
		"refer twice":                   {send(gone, as), state("WRONG_STATE", "referral="+gone.GetReferral())},
		"refer with reversed ages":      {send(agreed, func(r *protectionv1.ReferCaseRequest) { r.Needs.AgeTo = 3 }), invalid("needs")},
		"refer to shelter as a service": {send(agreed, func(r *protectionv1.ReferCaseRequest) { r.Kind = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE }), invalid("service")},
		"refer for an answer yesterday": {send(agreed, func(r *protectionv1.ReferCaseRequest) { r.AnswerBy = ahead(-24 * time.Hour) }), invalid("answer_by")},
		"a legal basis without a reason": {send(bare, func(r *protectionv1.ReferCaseRequest) {
			r.Note, r.Override = " ", &custodyv1.ConsentOverride{LegalBasis: "IMMINENT_DANGER", Approver: "nodes/balochistan/workers/s"}
		}), invalid("note")},

		"the outcome of no such case":    {call(ctx, client.RecordOutcome, outcome(&protectionv1.Case{Name: noCase, Etag: "1"})), missing("kind=case")},
		"the outcome of another's case":  {call(ctx, client.RecordOutcome, outcome(&protectionv1.Case{Name: caseAway, Etag: "1"})), missing("field=name")},
		"the outcome of an own case":     {call(ctx, client.RecordOutcome, outcome(other)), state("WRONG_STATE", "")},
		"the outcome before any service": {call(ctx, client.RecordOutcome, outcome(foreign)), state("WRONG_STATE", "referral_state=REFERRAL_STATE_ARRIVED")},
		"the outcome of what changed":    {call(ctx, client.RecordOutcome, outcome(&protectionv1.Case{Name: foreign.GetName(), Etag: "77"})), stale},
	})
}

// Of consent that has ended nothing follows any more.
func TestConsentThatEnds(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	request := consent(w.taken(t))
	request.Consent.ExpireTime = ahead(time.Second)
	c, err := client.RecordConsent(ctx, request)
	must(t, err)
	w.clock.Store(int64(time.Hour))
	again := refer(c)
	again.AnswerBy = nil
	s.Refused(t, s.Unchanged(t, call(ctx, client.ReferCase, again)), state("CONSENT_MISSING", ""))
}

// While the referral service has not answered, nothing else is asked of it for the case; what it
// refuses comes back as it said it, once the answer is here.
func TestWhatTheReferralServiceHasNotAnswered(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	w.answers(true, nil)
	first := refer(w.consented(t))
	pending, err := client.ReferCase(ctx, first)
	if err != nil || pending.GetReferral() != "" {
		t.Fatalf("with the referral service away: %v, %v", pending, err)
	}
	changed := refer(pending)
	changed.Note, changed.Etag = "Another.", first.GetEtag()
	runRefused(t, s, map[string]refused{
		"another while one is pending":   {call(ctx, client.ReferCase, refer(pending)), state("WRONG_STATE", "state=PENDING")},
		"another body with the old etag": {call(ctx, client.ReferCase, changed), stale},
	})
	w.answers(false, fault.InvalidField("to_unit", "must be a unit of a node that takes part"))
	_, err = client.ReferCase(ctx, first)
	s.Refused(t, err, invalid("to_unit"))
	s.Refused(t, s.Unchanged(t, call(ctx, client.ReferCase, first)), invalid("to_unit"))
}

// A person's data leaves only after its reading stands in the audit log.
func TestReadingACaseNeedsItsAuditRow(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	c := w.taken(t)
	w.noAudit.Store(true)
	shown, err := client.GetCase(ctx, &protectionv1.GetCaseRequest{Name: c.GetName()})
	s.Refused(t, err, rpctest.Refusal{Code: codes.Internal, Reason: "INTERNAL"})
	if shown.GetPerson() != nil || strings.Contains(err.Error(), "Gul") {
		t.Fatalf("without an audit row it answers %v, %v", shown, err)
	}
	w.noAudit.Store(false)
	if shown, err = client.GetCase(ctx, &protectionv1.GetCaseRequest{Name: c.GetName()}); err != nil || shown.GetPerson().GetGivenName() != "Gul" {
		t.Fatalf("%v, %v", shown, err)
	}
	rows, err := client.ListAuditRows(ctx, &protectionv1.ListAuditRowsRequest{Parent: parent})
	if err != nil || len(rows.GetAuditRows()) != 1 || rows.GetAuditRows()[0].GetResource() != c.GetName() ||
		rows.GetAuditRows()[0].GetPerson() != "nodes/balochistan/workers/w" {
		t.Fatalf("audit rows %v, %v", rows, err)
	}
}
