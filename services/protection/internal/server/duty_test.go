package server_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
)

var notAllowed = rpctest.Refusal{Code: codes.PermissionDenied, Reason: "NOT_ALLOWED"}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

func TestRefusedDuty(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	focal, one := w.ladder(t).GetFocalPoint(), w.worker(t)
	gone := w.newWorker()
	gone.Worker.Suspended = true
	suspended, err := client.CreateWorker(ctx, gone)
	must(t, err)
	early := w.newUnit(w.next("unit"))
	early.Unit.Supervisor = one.GetName()
	unit := func(u *protectionv1.Unit, paths ...string) func() error {
		if u.GetName() == "" {
			u.Name = hub
		}
		return call(ctx, client.UpdateUnit, &protectionv1.UpdateUnitRequest{Unit: u, UpdateMask: mask(paths...)})
	}
	worker := func(changed *protectionv1.Worker, paths ...string) func() error {
		return call(ctx, client.UpdateWorker, &protectionv1.UpdateWorkerRequest{Worker: changed, UpdateMask: mask(paths...)})
	}
	on := func(from, until, who string) []*protectionv1.DutySpan {
		return []*protectionv1.DutySpan{{Weekday: 1, From: from, Until: until, Workers: []string{who}}}
	}
	leaves := func(to string) []*protectionv1.Leave {
		return []*protectionv1.Leave{{FromTime: ahead(0), UntilTime: ahead(time.Hour), Delegate: to}}
	}
	runRefused(t, s, map[string]refused{
		"a unit with duty before it has workers": {call(ctx, client.CreateUnit, early), invalid("unit")},
		"change no unit":                         {call(ctx, client.UpdateUnit, &protectionv1.UpdateUnitRequest{}), invalid("unit")},
		"change a unit that is not there":        {unit(&protectionv1.Unit{Name: parent + "/units/none", DisplayName: "None"}), missing("kind=unit")},
		"change another node's unit":             {unit(&protectionv1.Unit{Name: "nodes/sindh/units/hub"}), missing("field=unit.name")},
		"take a unit's name away":                {unit(&protectionv1.Unit{}, "display_name"), invalid("unit.display_name")},
		"a unit in no district":                  {unit(&protectionv1.Unit{District: "PK-XX"}), rpctest.Refusal{Code: codes.InvalidArgument, Reason: "UNKNOWN_CODE", Names: "unit.district"}},
		"set what the service sets":              {unit(&protectionv1.Unit{}, "create_time"), invalid("update_mask.paths[0]")},
		"duty backwards":                         {unit(&protectionv1.Unit{Duty: on("16:00", "08:00", one.GetName())}), invalid("unit.duty[0]")},
		"duty of nobody":                         {unit(&protectionv1.Unit{Duty: on("08:00", "16:00", parent+"/workers/none")}), invalid("unit.duty[0].workers[0]")},
		"duty of somebody suspended":             {unit(&protectionv1.Unit{Duty: on("08:00", "16:00", suspended.GetName())}), invalid("unit.duty[0].workers[0]")},
		"a supervisor who is suspended":          {unit(&protectionv1.Unit{Supervisor: suspended.GetName()}), invalid("unit.supervisor")},
		"an exception on no day": {
			unit(&protectionv1.Unit{DutyExceptions: []*protectionv1.DutyException{{Date: &date.Date{Year: 2026, Month: 2, Day: 30}}}}), invalid("unit.duty_exceptions[0].date"),
		},
		"change no worker":                 {call(ctx, client.UpdateWorker, &protectionv1.UpdateWorkerRequest{}), invalid("worker")},
		"change a worker who is not there": {worker(&protectionv1.Worker{Name: parent + "/workers/none"}, "language"), missing("kind=worker")},
		"change another node's worker":     {worker(&protectionv1.Worker{Name: "nodes/sindh/workers/one"}, "language"), missing("field=worker.name")},
		"move a worker to no unit":         {worker(&protectionv1.Worker{Name: one.GetName(), Unit: parent + "/units/none"}, "unit"), invalid("worker.unit")},
		"leave to oneself":                 {worker(&protectionv1.Worker{Name: one.GetName(), Leaves: leaves(one.GetName())}, "leaves"), invalid("worker.leaves[0].delegate")},
		"leave to somebody suspended":      {worker(&protectionv1.Worker{Name: one.GetName(), Leaves: leaves(suspended.GetName())}, "leaves"), invalid("worker.leaves[0].delegate")},
		"suspend the focal point":          {worker(&protectionv1.Worker{Name: focal, Suspended: true}, "suspended"), invalid("worker.suspended")},
	})
	head := rpc.WithPersonToken(t.Context(), s.Token(t, "focal-point", nil))
	ladder := func(name, focal, etag string) func() error {
		return call(head, client.UpdateLadder, &protectionv1.UpdateLadderRequest{Ladder: &protectionv1.Ladder{Name: name, FocalPoint: focal}, Etag: etag})
	}
	runRefused(t, s, map[string]refused{
		"a focal point who is not there":  {ladder(parent+"/ladder", parent+"/workers/none", ""), invalid("ladder.focal_point")},
		"a focal point who is suspended":  {ladder(parent+"/ladder", suspended.GetName(), ""), invalid("ladder.focal_point")},
		"another node's ladder":           {ladder("nodes/sindh/ladder", one.GetName(), ""), invalid("ladder.name")},
		"a ladder that changed":           {ladder(parent+"/ladder", one.GetName(), "77"), stale},
		"read another node's ladder":      {call(ctx, client.GetLadder, &protectionv1.GetLadderRequest{Name: "nodes/sindh/ladder"}), missing("kind=ladder")},
		"another node's limits":           {call(ctx, client.ListLimits, &protectionv1.ListLimitsRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"another node's deadlines":        {call(ctx, client.ListCaseDeadlines, &protectionv1.ListCaseDeadlinesRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"another node's notices":          {call(ctx, client.ListNotices, &protectionv1.ListNoticesRequest{Parent: "nodes/sindh"}), missing("field=parent")},
		"a supervisor names the top":      {call(ctx, client.UpdateLadder, &protectionv1.UpdateLadderRequest{Ladder: &protectionv1.Ladder{Name: parent + "/ladder", FocalPoint: focal}}), notAllowed},
		"meet no deadline":                {call(ctx, client.MeetDeadline, &protectionv1.MeetDeadlineRequest{Name: parent + "/caseDeadlines/0192f0a1-0000-7000-8000-000000000001", Etag: "1"}), missing("kind=deadline")},
		"take no notice":                  {call(ctx, client.AcknowledgeNotice, &protectionv1.AcknowledgeNoticeRequest{Name: parent + "/notices/0192f0a1-0000-7000-8000-000000000001", Etag: "1"}), missing("kind=notice")},
		"an event of the future":          {call(ctx, client.RecordLegalEvent, event(w.taken(t), ahead(time.Hour).AsTime())), invalid("event_time")},
		"an event of last year":           {call(ctx, client.RecordLegalEvent, event(w.taken(t), time.Now().AddDate(-1, 0, 0))), invalid("event_time")},
		"an event of no such case":        {call(ctx, client.RecordLegalEvent, event(&protectionv1.Case{Name: noCase, Etag: "1"}, time.Now())), missing("kind=case")},
		"an event of what changed":        {call(ctx, client.RecordLegalEvent, event(&protectionv1.Case{Name: w.taken(t).GetName(), Etag: "77"}, time.Now())), stale},
		"a page of limits from elsewhere": {call(ctx, client.ListLimits, &protectionv1.ListLimitsRequest{Parent: parent, PageToken: "AAAA"}), invalid("page_token")},
	})
}

func event(c *protectionv1.Case, at time.Time) *protectionv1.RecordLegalEventRequest {
	return &protectionv1.RecordLegalEventRequest{Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: ahead(time.Until(at))}
}

// Workers say of themselves how they are reached and when they are away; nothing else, and of nobody else.
func TestWorkersChangeWhatIsTheirs(t *testing.T) {
	w, s := newSuite(t)
	me, other := w.worker(t), w.worker(t)
	client := protectionv1.NewProtectionServiceClient(s.Dial(t, s.Address, "gateway"))
	ctx := rpc.WithPersonToken(t.Context(), s.Token(t, "case-worker", func(token *identityv1.PersonToken) { token.Person = me.GetName() }))
	change := func(worker *protectionv1.Worker, paths ...string) func() error {
		return call(ctx, client.UpdateWorker, &protectionv1.UpdateWorkerRequest{Worker: worker, UpdateMask: mask(paths...)})
	}
	runRefused(t, s, map[string]refused{
		"somebody else":   {change(&protectionv1.Worker{Name: other.GetName(), Language: "sd"}, "language"), notAllowed},
		"one's own roles": {change(&protectionv1.Worker{Name: me.GetName(), Roles: []string{"supervisor"}}, "roles"), notAllowed},
		"among others":    {change(&protectionv1.Worker{Name: me.GetName(), Language: "sd", Roles: []string{"supervisor"}}, "language", "roles"), notAllowed},
		"without a mask":  {change(&protectionv1.Worker{Name: me.GetName(), Roles: []string{"supervisor"}}), notAllowed},
	})
	mine := proto.CloneOf(me)
	filled(mine, other.GetName())
	changed, err := client.UpdateWorker(ctx, &protectionv1.UpdateWorkerRequest{Worker: mine, Etag: me.GetEtag(), UpdateMask: mask("email", "language", "quiet_hours", "leaves")})
	must(t, err)
	if changed.GetEmail() != mine.GetEmail() || changed.GetLanguage() != "ur" || len(changed.GetLeaves()) != 1 || changed.GetQuietHours().GetFrom() != "21:00" {
		t.Errorf("changed: %v", changed)
	}
	// The list tells nobody's address.
	listed, err := client.ListWorkers(ctx, &protectionv1.ListWorkersRequest{Parent: parent})
	must(t, err)
	for _, l := range listed.GetWorkers() {
		if l.GetEmail() != "" || l.GetPhone() != "" || l.GetDisplayName() != "" {
			t.Errorf("the list tells %v", l)
		}
	}
}

// A notice is taken by the one it is for, or by somebody above; once.
func TestTakingNotice(t *testing.T) {
	w, s := newSuite(t)
	n := w.notice(t)
	client := protectionv1.NewProtectionServiceClient(s.Dial(t, s.Address, "gateway"))
	as := func(person string) context.Context {
		return rpc.WithPersonToken(t.Context(), s.Token(t, "case-worker", func(token *identityv1.PersonToken) { token.Person = person }))
	}
	request := &protectionv1.AcknowledgeNoticeRequest{Name: n.GetName(), Etag: n.GetEtag()}
	s.Refused(t, s.Unchanged(t, call(as(w.worker(t).GetName()), client.AcknowledgeNotice, request)), notAllowed)
	taken, err := client.AcknowledgeNotice(as(n.GetWorker()), request)
	must(t, err)
	if taken.GetAcknowledgedBy() != n.GetWorker() || taken.GetAcknowledgeTime() == nil {
		t.Fatalf("taken: %v", taken)
	}
	ctx, _ := supervisor(t, s)
	again, err := client.AcknowledgeNotice(ctx, request)
	if err != nil || !proto.Equal(again, taken) {
		t.Errorf("again: %v, %v", again, err)
	}
	open, err := client.ListNotices(ctx, &protectionv1.ListNoticesRequest{Parent: parent, Filter: &protectionv1.ListNoticesRequest_Filter{Worker: n.GetWorker(), Open: true}})
	if err != nil || len(open.GetNotices()) != 0 {
		t.Errorf("still open: %v, %v", open, err)
	}
}

// A deadline that is met is owed no more, and a closed case owes nothing.
func TestMetAndEnded(t *testing.T) {
	w, s := newSuite(t)
	ctx, client := supervisor(t, s)
	d := w.deadline(t)
	if d.GetLimit().GetLimitId() != "quetta-stay" || d.GetLimit().GetSource() != "S" || d.GetDueTime().AsTime().Sub(d.GetEventTime().AsTime()) != 72*time.Hour {
		t.Errorf("at Quetta: %v", d)
	}
	request := &protectionv1.MeetDeadlineRequest{Name: d.GetName(), Etag: d.GetEtag()}
	met, err := client.MeetDeadline(ctx, request)
	if err != nil || met.GetState() != protectionv1.CaseDeadline_STATE_MET || met.GetEndTime() == nil {
		t.Fatalf("met: %v, %v", met, err)
	}
	if again, err := client.MeetDeadline(ctx, request); err != nil || !proto.Equal(again, met) {
		t.Errorf("met again: %v, %v", again, err)
	}
	c := w.received(t, inService)
	started, err := client.RecordLegalEvent(ctx, event(c, time.Now().Add(-time.Hour)))
	if err != nil || len(started.GetCaseDeadlines()) != 2 {
		t.Fatalf("after a missing report: %v, %v", started, err)
	}
	if again, err := client.RecordLegalEvent(ctx, &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: started.GetCaseDeadlines()[0].GetEventTime(),
	}); err != nil || !proto.Equal(again, started) {
		t.Errorf("recorded again: %v, %v", again, err)
	}
	_, err = client.RecordOutcome(ctx, outcome(c))
	must(t, err)
	for _, d := range started.GetCaseDeadlines() {
		s.Refused(t, s.Unchanged(t, call(ctx, client.MeetDeadline, &protectionv1.MeetDeadlineRequest{Name: d.GetName(), Etag: "2"})), state("WRONG_STATE", "state=STATE_ENDED"))
	}
}

// Everybody can read which limits hold, and who says so.
func TestLimitsSayWhy(t *testing.T) {
	_, s := newSuite(t)
	ctx, client := supervisor(t, s)
	ids, token := map[string]*protectionv1.Limit{}, ""
	for {
		page, err := client.ListLimits(ctx, &protectionv1.ListLimitsRequest{Parent: parent, PageSize: 5, PageToken: token})
		must(t, err)
		for _, l := range page.GetLimits() {
			if l.GetLaw() == "" || l.GetSource() == "" || l.GetLimit().AsDuration() <= 0 {
				t.Errorf("nobody says why: %v", l)
			}
			ids[l.GetLimitId()] = l
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(ids) != 16 || ids["high/ANSWER"].GetLimit().AsDuration() != 3*time.Hour || ids["quetta-stay"] == nil || ids["punjab-court"] != nil {
		t.Errorf("%d limits in Balochistan: %v", len(ids), ids)
	}
}
