package app_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/flow"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

var errAway = status.Error(codes.Unavailable, "away")

func newEventServer(b *bench) *events.Server {
	return events.NewServer(b.DB, store.Events, func(uint64) {})
}

const (
	ready     = custodyv1.ReferralState_REFERRAL_STATE_READY
	inTransit = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
	arrived   = custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
	inService = custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
	completed = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
)

// The post is made of the handlers, and only then does the service have it: a letter that is answered by letters finds it all the same.
func TestFederalCellAsksForADay(t *testing.T) {
	b := newApp(t, home)
	b.referred()
	b.Post = nil
	take := b.Handlers()[flow.WantedKind]
	b.Post = b.letters
	wanted, err := proto.Marshal(&federalv1.FlowsWanted{Days: []string{facts.Day(begin)}})
	must(t, err)
	must(t, b.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		return take(tx, &postv1.Address{Node: "federal", Service: "federal"}, &postv1.Letter{Kind: flow.WantedKind, Body: wanted})
	}))
	if told := b.letters.of(flow.FactsKind); len(told) != 2 || !proto.Equal(told[0].Body, told[1].Body) {
		t.Errorf("a day was asked for, and in all %v was told", told)
	}
}

// The origin's whole path: intake to the outcome at home, with one flow fact and one dossier.
func TestOrigin(t *testing.T) {
	b := newApp(t, home)
	c := b.referred()
	if c.GetReferral() != referral || c.GetReference() != "BA-26-00001-"+c.GetReference()[len(c.GetReference())-1:] {
		t.Fatalf("referred: %v", c)
	}
	submit := b.referral.calls[0].(*referralv1.SubmitReferralRequest)
	if submit.GetConsent() == nil || !bytes.Equal(submit.GetConsent().GetCommitment(), c.GetConsent().GetCommitment()) ||
		submit.GetUrgency() != custodyv1.Urgency_URGENCY_HIGH || submit.GetUnit() != c.GetUnit() || !proto.Equal(submit.GetActor(), actor) {
		t.Fatalf("submitted: %v", submit)
	}
	if told := b.letters.of(flow.FactsKind)[0].Body.(*federalv1.Facts).GetFacts()[0]; len(told.GetFlowId()) != 16 || !bytes.Equal(submit.GetCaseFlowId(), told.GetFlowId()) {
		t.Fatalf("the flow of who was identified is %x, and the referral is said to be of %x", told.GetFlowId(), submit.GetCaseFlowId())
	} else if told.GetFromNode() != home || told.GetToNode() != "" || b.Flows().Service != "protection" || b.Flows().Node != home {
		t.Errorf("told by %s of %s: %v", b.Flows().Service, b.Flows().Node, told)
	}
	for range 2 { // events may come twice
		b.hear("ready", ready)
		b.hear("dispatched", inTransit)
		b.hear("arrived", arrived)
		b.hear("in-service", inService)
		b.hear("completed", completed)
	}
	c = b.get(c.GetName())
	if c.GetState() != protectionv1.Case_STATE_CLOSED_REFERRED || c.GetReferralState() != completed || c.GetOutcome() != "REUNIFIED" {
		t.Fatalf("in the end: %v", c)
	}
	dossiers := b.letters.of("protection.dossier.v1")
	if len(dossiers) != 1 || !dossiers[0].Sealed || dossiers[0].Lane != postv1.Lane_LANE_URGENT || dossiers[0].To.GetNode() != away || dossiers[0].To.GetService() != "protection" {
		t.Fatalf("dossiers: %v", dossiers)
	}
	d := dossiers[0].Body.(*protectionv1.Dossier)
	if d.GetPerson().GetGivenName() != canary || d.GetPerson().GetHomePlace() != "" || d.GetNarrative() != "" || d.GetPerson().GetHealth() != "" {
		t.Fatalf("the dossier is not what consent covers: %v", d)
	}
	flows := b.letters.of(flow.FactsKind)
	if len(flows) != 1 || flows[0].To.GetNode() != "federal" || flows[0].Body.(*federalv1.Facts).GetFacts()[0].GetKind() != facts.Identified {
		t.Fatalf("told: %v", flows)
	}
	want := []string{"protection.case.created.v1", "protection.case.consented.v1", "protection.case.referred.v1", "protection.case.closed.v1"}
	if got := b.happened(); !slices.Equal(got, want) {
		t.Fatalf("events: %v", got)
	}
}

// Events that overtake the answer are not lost: the dossier leaves when the answer is here.
func TestEventsOvertakeTheAnswer(t *testing.T) {
	b := newApp(t, home)
	c := b.consented()
	b.hear("ready", ready)
	b.hear("dispatched", inTransit)
	b.referral.set(submitted)
	c, err := b.ReferCase(t.Context(), refer(c), actor)
	if err != nil {
		t.Fatal(err)
	}
	if c.GetReferralState() != inTransit || len(b.letters.of("protection.dossier.v1")) != 1 {
		t.Fatalf("%v, letters %v", c, b.letters.sent)
	}
}

// The receiving node makes one case, in whatever order dossier and arrival come and how often.
func TestDestination(t *testing.T) {
	from := &postv1.Address{Node: home, Service: "protection"}
	dossier := &protectionv1.Dossier{
		Referral: referral, Offer: referral + "/offers/aa", Urgency: custodyv1.Urgency_URGENCY_HIGH, Narrative: canary,
		Person: &protectionv1.Person{GivenName: canary, Gender: "Feminine"},
	}
	for name, steps := range map[string]func(b *bench){
		"dossier first": func(b *bench) {
			must(b.t, b.deliver(from, dossier))
			b.hear("dispatched", inTransit)
			b.hear("arrived", arrived)
			b.hear("in-service", inService)
		},
		"arrival first": func(b *bench) {
			b.hear("arrived", arrived)
			b.hear("in-service", inService)
			must(b.t, b.deliver(from, dossier))
		},
		"all twice": func(b *bench) {
			for range 2 {
				b.hear("arrived", arrived)
				must(b.t, b.deliver(from, dossier))
				b.hear("in-service", inService)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, away)
			steps(b)
			listed := b.list(&protectionv1.ListCasesRequest_Filter{Referral: referral})
			if len(listed) != 1 || listed[0].GetReferralState() != inService || listed[0].GetSource() != protectionv1.Case_SOURCE_REFERRAL {
				t.Fatalf("cases: %v", listed)
			}
			c := b.get(listed[0].GetName())
			if c.GetPerson().GetGivenName() != canary || c.GetUnit() != "nodes/punjab/units/hub" {
				t.Fatalf("the case: %v", c)
			}
			b.referral.set(func(proto.Message) (proto.Message, error) { return &referralv1.Referral{Name: referral}, nil })
			closed, err := b.RecordOutcome(t.Context(), &protectionv1.RecordOutcomeRequest{
				Name: c.GetName(), Etag: c.GetEtag(), Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: canary,
			}, actor)
			if err != nil || closed.GetState() != protectionv1.Case_STATE_CLOSED || closed.GetOutcome() != "REUNIFIED" {
				t.Fatalf("closed: %v, %v", closed, err)
			}
			if got, want := b.happened(), []string{"protection.case.received.v1", "protection.case.closed.v1"}; !slices.Equal(got, want) {
				t.Fatalf("events: %v", got)
			}
			if bytes.Contains(b.file(), []byte(canary)) {
				t.Fatal("the file holds a person's data in the clear")
			}
		})
	}
}

// A dossier makes a case only where it came from a node that began the referral, or owned it: while the chain is not known it waits, and
// is gone when the chain says that its sender had no part.
func TestForeignDossier(t *testing.T) {
	b := newApp(t, away)
	d := &protectionv1.Dossier{Referral: referral, Offer: referral + "/offers/aa", Person: &protectionv1.Person{GivenName: canary}}
	if err := b.deliver(&postv1.Address{Node: home, Service: "referral"}, d); err == nil {
		t.Fatal("taken from another service")
	}
	stranger := &postv1.Address{Node: "sindh", Service: "protection"}
	must(t, b.deliver(stranger, d))
	b.hear("arrived", arrived)
	must(t, b.deliver(stranger, d))
	if listed := b.list(nil); len(listed) != 0 || b.dossier().GetReceiveTime() != nil {
		t.Fatalf("a stranger's dossier stands: %v, cases %v", b.dossier(), listed)
	}
	must(t, b.deliver(&postv1.Address{Node: home, Service: "protection"}, d))
	if listed := b.list(nil); len(listed) != 1 {
		t.Fatalf("the giver's dossier made %v", listed)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An intake that is asked again of a store put back to before it is the same flow: it is counted once.
func TestIntakeAfterARestoreIsOneFlow(t *testing.T) {
	memory := kitstore.NewMemory()
	b := newAppOn(t, home, memory)
	b.unit()
	before := memory.Clone()
	var flows [][]byte
	for _, key := range []string{"", "", "another"} { // each time in the store as it was at first
		fresh, err := kitstore.Open(t.Context(), kitstore.Options{Engine: before.Clone(), Schema: store.Schema})
		must(t, err)
		own := b.DB
		b.DB = fresh
		request := b.intake()
		request.RequestId += key
		_, err = b.CreateCase(t.Context(), request)
		b.DB = own
		must(t, errors.Join(err, fresh.Close()))
		told := b.letters.of(flow.FactsKind)
		flows = append(flows, told[len(told)-1].Body.(*federalv1.Facts).GetFacts()[0].GetFlowId())
	}
	if len(flows[0]) != 16 || !bytes.Equal(flows[0], flows[1]) || bytes.Equal(flows[0], flows[2]) {
		t.Errorf("the flows are %x", flows)
	}
}

// The same intake is one case for ever; its key with another body is refused.
func TestIntakeIsIdempotent(t *testing.T) {
	b := newApp(t, home)
	c := b.taken()
	again, err := b.CreateCase(t.Context(), b.intake())
	if err != nil || !proto.Equal(again, c) {
		t.Fatalf("again: %v, %v", again, err)
	}
	other := b.intake()
	other.Case.Person.GivenName = "another"
	if _, err := b.CreateCase(t.Context(), other); reason(err) != fault.IdempotencyMismatch {
		t.Fatalf("another body: %v", err)
	}
	if n := len(b.list(nil)); n != 1 || len(b.letters.of(flow.FactsKind)) != 1 {
		t.Fatalf("%d cases, letters %v", n, b.letters.sent)
	}
}

// A referral whose answer was lost is asked for again with the same call, and made once; while it
// is pending no other is begun. When the answer is a refusal, the call answers with it.
func TestAskingAgain(t *testing.T) {
	b := newApp(t, home)
	request := refer(b.consented())
	soon, stop := context.WithTimeout(t.Context(), 550*time.Millisecond)
	defer stop()
	pending, err := b.ReferCase(soon, request, actor)
	if err != nil || pending.GetReferral() != "" {
		t.Fatalf("with the referral service away: %v, %v", pending, err)
	}
	second := refer(pending)
	if _, err := b.ReferCase(t.Context(), second, actor); reason(err) != fault.WrongState {
		t.Fatalf("another while one is pending: %v", err)
	}
	changed := proto.CloneOf(request)
	changed.Note = "another"
	if _, err := b.ReferCase(t.Context(), changed, actor); reason(err) != fault.Stale {
		t.Fatalf("another body with the old etag: %v", err)
	}
	b.referral.set(submitted)
	c, err := b.ReferCase(t.Context(), request, actor)
	if err != nil || c.GetReferral() != referral {
		t.Fatalf("asked again: %v, %v", c, err)
	}
	first := b.referral.calls[0].(*referralv1.SubmitReferralRequest)
	for _, call := range b.referral.calls {
		if !proto.Equal(call, first) {
			t.Fatalf("two commands: %v and %v", first, call)
		}
	}
	if _, err := b.ReferCase(t.Context(), refer(c), actor); reason(err) != fault.WrongState {
		t.Fatalf("referred twice: %v", err)
	}
}

func TestRefusalOfTheReferralService(t *testing.T) {
	b := newApp(t, home)
	b.referral.set(func(proto.Message) (proto.Message, error) {
		return nil, status.Error(codes.FailedPrecondition, "no")
	})
	request := refer(b.consented())
	for range 2 {
		if _, err := b.ReferCase(t.Context(), request, actor); reason(err) != fault.WrongState {
			t.Fatalf("%v", err)
		}
	}
	c := b.get(request.GetName())
	if c.GetReferFailure() != "REASON_WRONG_STATE" || len(b.referral.calls) != 1 {
		t.Fatalf("%v after %d calls", c, len(b.referral.calls))
	}
	b.referral.set(submitted)
	if c, err := b.ReferCase(t.Context(), refer(c), actor); err != nil || c.GetReferFailure() != "" || c.GetReferral() != referral {
		t.Fatalf("a new try: %v, %v", c, err)
	}
}

// A legal basis stands in for consent; the dossier then holds nothing of the person.
func TestLegalBasis(t *testing.T) {
	b := newApp(t, home)
	b.referral.set(submitted)
	r := refer(b.taken())
	r.Override = &custodyv1.ConsentOverride{LegalBasis: "IMMINENT_DANGER", Approver: "nodes/balochistan/workers/s"}
	if _, err := b.ReferCase(t.Context(), r, actor); err != nil {
		t.Fatal(err)
	}
	b.hear("ready", ready)
	d := b.letters.of("protection.dossier.v1")
	if len(d) != 1 || d[0].Body.(*protectionv1.Dossier).GetPerson() != nil {
		t.Fatalf("%v", d)
	}
}

// Neither the file, with a command waiting in it, nor events, lists or unsealed letters hold a
// person's data in the clear.
func TestCanary(t *testing.T) {
	b := newApp(t, home)
	request := refer(b.consented())
	soon, stop := context.WithTimeout(t.Context(), 550*time.Millisecond)
	defer stop()
	if _, err := b.ReferCase(soon, request, actor); err != nil {
		t.Fatal(err)
	}
	_, err := b.CreateWorker(t.Context(), &protectionv1.CreateWorkerRequest{Parent: b.parent(), WorkerId: "w", Worker: &protectionv1.Worker{
		Unit: b.parent() + "/units/hub", DisplayName: canary, Phone: "+923001234567", Roles: []string{"case-worker"},
	}})
	must(t, err)
	if raw := b.file(); bytes.Contains(raw, []byte(canary)) || bytes.Contains(raw, []byte("3001234567")) {
		t.Fatal("the file holds a person's data in the clear")
	}
	workers, err := b.ListWorkers(t.Context(), &protectionv1.ListWorkersRequest{Parent: b.parent()})
	must(t, err)
	listed, err := newEventServer(b).ListEvents(t.Context(), nil)
	must(t, err)
	shown := []proto.Message{workers, listed}
	for _, c := range b.list(nil) {
		if c.GetPerson() != nil || len(c.GetConsent().GetSalt()) != 0 {
			t.Fatalf("a list shows the person: %v", c)
		}
		shown = append(shown, c)
	}
	b.referral.set(submitted)
	if _, err := b.ReferCase(t.Context(), request, actor); err != nil {
		t.Fatal(err)
	}
	b.hear("ready", ready)
	for _, l := range b.letters.sent {
		if !l.Sealed {
			shown = append(shown, l.Body)
		}
	}
	for _, value := range []string{canary, exploitation, foundDistrict} {
		for _, m := range shown {
			raw, err := proto.Marshal(m)
			must(t, err)
			if len(raw) == 0 || bytes.Contains(raw, []byte(value)) {
				t.Errorf("%T holds %s: %v", m, value, m)
			}
		}
		if bytes.Contains(b.file(), []byte(value)) {
			t.Errorf("%s lies in the clear in the store", value)
		}
	}
	if b.get(request.GetName()).GetPerson().GetGivenName() != canary {
		t.Fatal("the case does not hold its person any more")
	}
}

// An erased person's case shows its public part, changes no more, and holds nothing up.
func TestErased(t *testing.T) {
	b := newApp(t, home)
	c := b.referred()
	must(t, b.Keys.Erase(t.Context(), store.KeyName(c.GetName())))
	b.hear("ready", ready)
	b.hear("arrived", arrived)
	shown := b.get(c.GetName())
	if shown.GetPerson() != nil || shown.GetReference() != c.GetReference() || len(b.letters.of("protection.dossier.v1")) != 0 {
		t.Fatalf("%v, letters %v", shown, b.letters.sent)
	}
	if _, err := b.RecordConsent(t.Context(), consent(shown), actor); reason(err) != fault.WrongState {
		t.Fatalf("changed: %v", err)
	}
}

// Lists come newest first, page by page, and narrowed.
func TestListCases(t *testing.T) {
	b := newApp(t, home)
	b.taken()
	for i := range 4 {
		b.now(time.Minute)
		r := b.intake()
		r.RequestId = "request-more-" + string(rune('a'+i))
		_, err := b.CreateCase(t.Context(), r)
		must(t, err)
	}
	var names []string
	token := ""
	for {
		page, err := b.ListCases(t.Context(), &protectionv1.ListCasesRequest{Parent: b.parent(), PageSize: 2, PageToken: token})
		must(t, err)
		for _, c := range page.GetCases() {
			names = append(names, c.GetReference()[6:11])
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if want := []string{"00005", "00004", "00003", "00002", "00001"}; !slices.Equal(names, want) {
		t.Fatalf("%v", names)
	}
	if n := len(b.list(&protectionv1.ListCasesRequest_Filter{State: protectionv1.Case_STATE_CLOSED})); n != 0 {
		t.Fatalf("%d closed ones", n)
	}
	if n := len(b.list(&protectionv1.ListCasesRequest_Filter{Unit: b.parent() + "/units/hub"})); n != 5 {
		t.Fatalf("%d of the unit", n)
	}
	err := b.DB.View(t.Context(), func(r kitstore.Reader) error { _, err := store.Cases.Count(r); return err })
	must(t, err)
}

// Within one node the person moves from one case to another, by a dossier to the node itself.
func TestWithinOneNode(t *testing.T) {
	b := newApp(t, home)
	c := b.referred()
	for range 2 {
		for _, state := range []custodyv1.ReferralState{ready, inTransit, arrived, inService} {
			b.happens("moved", &referralv1.ReferralChanged{
				Referral: referral, State: state, OriginNode: home, OwnerNode: home, ToNode: home,
				Offer: referral + "/offers/aa", Unit: b.parent() + "/units/other", GiverNode: home, CareNode: home, OwnerNodes: []string{home},
			})
		}
		for _, l := range b.letters.of("protection.dossier.v1") {
			must(t, b.deliver(&postv1.Address{Node: home, Service: "protection"}, l.Body.(*protectionv1.Dossier)))
		}
	}
	listed := b.list(&protectionv1.ListCasesRequest_Filter{Referral: referral})
	if len(listed) != 2 || len(b.letters.of("protection.dossier.v1")) != 1 {
		t.Fatalf("cases %v, letters %v", listed, b.letters.sent)
	}
	for _, other := range listed {
		want := protectionv1.Case_STATE_ACTIVE
		if other.GetName() == c.GetName() {
			want = protectionv1.Case_STATE_CLOSED_REFERRED
		}
		if other.GetState() != want || other.GetReferralState() != inService {
			t.Errorf("%v", other)
		}
	}
	b.happens("returned", &referralv1.ReferralChanged{ // and back to the first unit: its case goes on, and the other's is over
		Referral: referral, State: custodyv1.ReferralState_REFERRAL_STATE_RETURNED, OriginNode: home, OwnerNode: home, ToNode: home,
		Offer: referral + "/offers/aa", Unit: b.parent() + "/units/other", GiverNode: home, CareNode: home, OwnerNodes: []string{home},
	})
	for _, other := range b.list(&protectionv1.ListCasesRequest_Filter{Referral: referral}) {
		if active := other.GetState() == protectionv1.Case_STATE_ACTIVE; active != (other.GetName() == c.GetName()) {
			t.Errorf("after the return: %v", other)
		}
	}
}
