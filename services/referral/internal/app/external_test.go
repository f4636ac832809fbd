package app_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
)

const (
	offerDeclined   = custodyv1.OfferState_OFFER_STATE_DECLINED
	offerWaitlisted = custodyv1.OfferState_OFFER_STATE_WAITLISTED
	offerLapsed     = custodyv1.OfferState_OFFER_STATE_LAPSED

	theAgency = "Canary-Agency-Panah"
)

func agency() *custodyv1.Agency {
	return &custodyv1.Agency{Kind: "NGO", DisplayName: theAgency, ContactDisplayName: theWorker, Phone: thePhone}
}

// What an agency says.
type said = referralv1.RecordExternalAnswerRequest

func saysReceived() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_Received{Received: &custodyv1.Received{}}}
}

func saysYes() *said {
	return &said{Note: theNote, Answer: &referralv1.RecordExternalAnswerRequest_Accepted{Accepted: &referralv1.ExternalAcceptance{
		Worker: &identityv1.WorkerContact{DisplayName: theWorker, Phone: thePhone},
	}}}
}

func saysNo() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_Declined{Declined: &referralv1.ExternalRefusal{Reason: "NO_CAPACITY"}}}
}

func takesBack() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_AcceptanceWithdrawn{AcceptanceWithdrawn: &referralv1.ExternalRefusal{Reason: "NO_CAPACITY"}}}
}

func (net *network) saysLater() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_Waitlisted{Waitlisted: &referralv1.ExternalWaitlist{ReviewTime: timestamppb.New(net.now.Add(9 * time.Hour))}}}
}

func saysReady() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_Ready{Ready: &referralv1.ExternalPromise{}}}
}

func saysCame() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_Arrived{Arrived: &referralv1.ExternalArrival{Identification: []string{"REFERRAL_SLIP"}}}}
}

func saysGiven() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_ServiceGiven{ServiceGiven: &referralv1.ExternalService{Services: []string{"HEALTH"}}}}
}

func saysOutcome() *said {
	return &said{Answer: &referralv1.RecordExternalAnswerRequest_OutcomeReported{
		OutcomeReported: &referralv1.ExternalOutcome{Outcome: "REUNIFIED", Services: []string{"HEALTH"}},
	}}
}

// enter enters what an agency said to an offer, by telephone.
func (n *node) enter(offer string, what *said) error {
	what.Name, what.Means = offer, "PHONE"
	_, err := n.RecordExternalAnswer(context.Background(), what, actor)
	return err
}

// askAgency asks an agency outside the network besides.
func (n *node) askAgency(name string) error {
	_, err := n.OfferReferral(context.Background(), &referralv1.OfferReferralRequest{Name: name, External: agency(), Etag: n.get(name).GetEtag()}, actor)
	return err
}

// outside begins a referral that asks an agency outside the network first.
func (net *network) outside(kind custodyv1.ReferralKind) (name, offer string) {
	net.t.Helper()
	request := submitRequest()
	request.ToUnit, request.External, request.Kind = "", agency(), kind
	if kind == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE {
		request.Service = "LEGAL"
	}
	v, err := net.nodes["balochistan"].SubmitReferral(context.Background(), request)
	must(net.t, err)
	net.settle()
	return v.GetName(), v.GetOffers()[0].GetName()
}

const (
	placement  = custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
	forService = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
)

// complete closes a referral, as protection does when it records the outcome.
func (n *node) complete(name string) error {
	_, err := n.CompleteReferral(context.Background(), &referralv1.CompleteReferralRequest{Name: name, Outcome: "REUNIFIED", Services: []string{"HEALTH"}, Actor: actor})
	return err
}

// The whole path of a placement: at each step the origin has the referral, the duty of care and a deadline, and nothing is said of the
// agency outside sealed annexes.
func TestAnAgencyTakesThePerson(t *testing.T) {
	net, origin, punjab, _ := twice(newNetworkOnFiles(t))
	name, offer := net.outside(placement)
	for _, c := range []struct {
		do    func() error
		state custodyv1.ReferralState
		due   referralv1.Deadline_Kind
	}{
		{func() error { return nil }, submitted, referralv1.Deadline_KIND_RECEIVE},
		{func() error { return origin.enter(offer, saysReceived()) }, submitted, referralv1.Deadline_KIND_ANSWER},
		{func() error { return origin.enter(offer, saysYes()) }, confirmed, referralv1.Deadline_KIND_READY},
		{func() error { return origin.enter(offer, saysReady()) }, promised, referralv1.Deadline_KIND_DISPATCH},
		{func() error { return origin.dispatch(name) }, inTransit, referralv1.Deadline_KIND_ARRIVE},
		{func() error { return origin.enter(offer, saysCame()) }, hasCome, referralv1.Deadline_KIND_SERVE},
		{func() error { return origin.enter(offer, saysGiven()) }, inService, referralv1.Deadline_KIND_COMPLETE},
		{func() error { return origin.enter(offer, saysOutcome()) }, inService, referralv1.Deadline_KIND_CLOSE},
		{func() error { return origin.complete(name) }, completed, 0},
	} {
		must(t, c.do())
		net.settle()
		v := origin.get(name)
		if v.GetState() != c.state || v.GetNextDeadline().GetKind() != c.due || v.GetOwnerNode() != "balochistan" || v.GetCareNode() != "balochistan" ||
			v.GetResponsibleUnit() != "nodes/balochistan/units/hub" {
			t.Fatalf("want %v and %v, got %v", c.state, c.due, v)
		}
		if out := c.state >= inTransit; v.GetOutside() != out {
			t.Errorf("%v: outside %t", c.state, v.GetOutside())
		}
	}
	want := []string{facts.Referred, facts.Accepted, facts.Dispatched, facts.Arrived, facts.Completed, facts.Service}
	net.checkTold(name)
	if got := net.flows(); !slices.Equal(got, want) {
		t.Errorf("the flow: %v", got)
	}
	for _, m := range net.history {
		if _, ok := m.out.Body.(*federalv1.Facts); !ok {
			t.Errorf("a letter left for %v: %v", m.out.To, m.out.Body)
		}
	}
	for _, fact := range net.facts() {
		if fact.GetToNode() != "" || fact.GetFromNode() != "balochistan" {
			t.Errorf("told %v", fact)
		}
	}
	checkSealed(t, origin)
	told := 0
	for _, e := range origin.events { // by which the protection service knows that the case stays
		if changed, ok := e.data.(*referralv1.ReferralChanged); ok {
			told++
			if out := changed.GetState() >= inTransit; changed.GetOutside() != out || changed.GetToNode() != "" || changed.GetOwnerNode() != "balochistan" {
				t.Errorf("%s tells %v", e.kind, changed)
			}
		}
	}
	if told != 7 { // submitted, confirmed, ready, dispatched, arrived, in service, completed
		t.Errorf("%d changes were told", told)
	}
	if len(punjab.dump()) == 0 || punjab.holdsChain(name) {
		t.Error("another node has heard of it")
	}
	chain, err := origin.GetCustodyChain(context.Background(), name)
	must(t, err)
	if raw, err := proto.Marshal(chain); err != nil || bytes.Contains(raw, []byte(theAgency)) {
		t.Errorf("the chain names the agency: %v", err)
	}
	r, err := origin.VerifyReferral(context.Background(), name)
	must(t, err)
	entered := 0
	for _, step := range r.GetSteps() {
		if step.GetWhat() == `entry of "accepted" for an agency outside the network` && step.GetNode() == "balochistan" && step.GetReplyNode() == "" {
			entered++
		}
	}
	if !r.GetSound() || entered != 1 {
		t.Errorf("verified: %v", r)
	}
}

// checkSealed holds that the store's file shows nothing of what people wrote.
func checkSealed(t *testing.T, n *node) {
	t.Helper()
	file := n.file()
	for _, canary := range append([]string{theAgency}, canaries...) {
		if bytes.Contains(file, []byte(canary)) {
			t.Errorf("the file of %s shows %q", n.Node, canary)
		}
	}
	for _, e := range n.events {
		raw, err := proto.Marshal(e.data)
		must(t, err)
		if bytes.Contains(raw, []byte(theAgency)) {
			t.Errorf("%s shows the agency", e.kind)
		}
	}
}

// A service: the person stays, and what was given is said again for every visit.
func TestAnAgencyGivesAService(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	name, offer := net.outside(forService)
	must(t, origin.enter(offer, saysYes()))
	must(t, origin.enter(offer, saysReady()))
	if due := origin.get(name).GetNextDeadline().GetKind(); due != referralv1.Deadline_KIND_SERVE {
		t.Errorf("due: %v", due)
	}
	if err := origin.dispatch(name); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("sent away for a service: %v", err)
	}
	must(t, origin.enter(offer, saysGiven()))
	legal := saysGiven()
	legal.GetServiceGiven().Services = []string{"LEGAL"}
	must(t, origin.enter(offer, legal))
	if v := origin.get(name); v.GetState() != inService || !slices.Equal(v.GetServicesGiven(), []string{"HEALTH", "LEGAL"}) || v.GetOutside() {
		t.Errorf("in service: %v", v)
	}
	if err := origin.complete(name); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("completed without the agency's word: %v", err)
	}
	must(t, origin.enter(offer, saysOutcome()))
	other := saysOutcome()
	other.GetOutcomeReported().Outcome = "ENTRUSTED"
	if err := origin.enter(offer, other); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("another outcome: %v", err)
	}
	must(t, origin.complete(name))
	if err := origin.enter(offer, saysGiven()); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("a service after the end: %v", err)
	}
	net.settle()
	net.checkState(name, completed, "balochistan")
	net.checkTold(name)
	if got := net.flows(); !slices.Equal(got, []string{facts.Referred, facts.Accepted, facts.Completed, facts.Service}) {
		t.Errorf("the flow: %v", got)
	}
}

// What an agency says before it is chosen, from each state, and what becomes of the offer.
func TestWhatAnAgencyCanSay(t *testing.T) {
	for _, c := range []struct {
		name  string
		says  func(net *network) []*said
		offer custodyv1.OfferState
		state custodyv1.ReferralState
		due   referralv1.Deadline_Kind
	}{
		{"no", func(*network) []*said { return []*said{saysNo()} }, offerDeclined, submitted, referralv1.Deadline_KIND_ASK_AGAIN},
		{"received, no", func(*network) []*said { return []*said{saysReceived(), saysNo()} }, offerDeclined, submitted, referralv1.Deadline_KIND_ASK_AGAIN},
		{"later", func(net *network) []*said { return []*said{net.saysLater()} }, offerWaitlisted, submitted, referralv1.Deadline_KIND_ANSWER},
		{"later, yes", func(net *network) []*said { return []*said{net.saysLater(), saysYes()} }, offerAccepted, submitted, referralv1.Deadline_KIND_CONFIRM},
		{"later, no", func(net *network) []*said { return []*said{net.saysLater(), saysNo()} }, offerDeclined, submitted, referralv1.Deadline_KIND_ASK_AGAIN},
		{"yes, and back", func(*network) []*said { return []*said{saysYes(), takesBack()} }, offerLapsed, submitted, referralv1.Deadline_KIND_ASK_AGAIN},
	} {
		t.Run(c.name, func(t *testing.T) {
			net, origin, _, _ := newOwnerNetwork(t)
			origin.AutoConfirm = false
			name, offer := net.outside(placement)
			for _, s := range c.says(net) {
				must(t, origin.enter(offer, s))
			}
			v := origin.get(name)
			if v.GetOffers()[0].GetState() != c.offer || v.GetState() != c.state || v.GetNextDeadline().GetKind() != c.due {
				t.Errorf("%v", v)
			}
			if v.GetOffers()[0].GetExternal().GetKind() != "NGO" {
				t.Errorf("the offer does not say that it goes outside: %v", v.GetOffers()[0])
			}
		})
	}
}

// Who took the place back after the promise: the referral falls back, and another is asked, of the network this time.
func TestAnAgencyBreaksItsPromise(t *testing.T) {
	net, origin, punjab, _ := newOwnerNetwork(t)
	name, offer := net.outside(placement)
	must(t, origin.enter(offer, saysYes()))
	must(t, origin.enter(offer, saysReady()))
	must(t, origin.enter(offer, takesBack()))
	net.checkState(name, submitted, "balochistan")
	_, err := origin.ask(name, lahore)
	must(t, err)
	net.settle()
	punjab.accept(origin.lastOffer(name).GetName())
	net.settle()
	must(t, origin.dispatch(name))
	net.settle()
	must(t, punjab.arrive(name))
	net.settle()
	net.checkState(name, hasCome, "balochistan", "punjab")
}

// Entered again it is a no-op; what it contradicts is refused and changes nothing.
func TestEnteredAgain(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	name, offer := net.outside(placement)
	others := map[string]*said{"no": saysNo(), "received": saysReceived(), "yes by another": saysYes()}
	others["yes by another"].GetAccepted().Worker.DisplayName = "Another"
	for _, says := range []func() *said{saysYes, saysReady} {
		must(t, origin.enter(offer, says()))
		before := origin.dump()
		must(t, origin.enter(offer, says()))
		if !bytes.Equal(before, origin.dump()) {
			t.Errorf("%v, entered again, changed something", says())
		}
		for what, s := range others {
			if err := origin.enter(offer, proto.CloneOf(s)); fault.ReasonOf(err) != fault.WrongState {
				t.Errorf("after it %s: %v", what, err)
			}
		}
		if !bytes.Equal(before, origin.dump()) {
			t.Error("what was refused changed something")
		}
	}
	must(t, origin.dispatch(name))
	must(t, origin.enter(offer, saysCame()))
	must(t, origin.enter(offer, saysCame()))
	earlier := saysCame() // what names another time is another word, and is refused, not swallowed
	earlier.GetArrived().ArriveTime = timestamppb.New(net.now.Add(-time.Hour))
	if err := origin.enter(offer, earlier); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("an arrival at another time: %v", err)
	}
	must(t, origin.enter(offer, saysGiven()))
	sequence := origin.get(name).GetSequence()
	must(t, origin.enter(offer, saysGiven()))
	if got := origin.get(name).GetSequence(); got != sequence {
		t.Error("the same visit stands twice")
	}
	second := saysGiven()
	second.SayTime = timestamppb.New(net.now.Add(-time.Hour))
	must(t, origin.enter(offer, second))
	if got := origin.get(name).GetSequence(); got != sequence+1 {
		t.Error("another visit, at a time of its own, does not stand")
	}
}

// A unit of the network answers for itself, and no node answers for an agency.
func TestNobodyAnswersForAnother(t *testing.T) {
	net := newNetwork(t) // in which letters may be refused
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	name := net.submit().GetName()
	net.settle()
	before := origin.dump()
	if err := origin.enter(origin.lastOffer(name).GetName(), saysYes()); fault.ReasonOf(err) != fault.WrongState {
		t.Errorf("entered for Lahore: %v", err)
	}
	if err := punjab.enter(origin.lastOffer(name).GetName(), saysYes()); fault.ReasonOf(err) != fault.Missing {
		t.Errorf("entered at punjab: %v", err)
	}
	if !bytes.Equal(before, origin.dump()) {
		t.Error("a refused entry changed something")
	}
	outside, offer := func() (string, string) {
		request := submitRequest()
		request.ToUnit, request.External, request.RequestId = "", agency(), "request-2"
		v, err := origin.SubmitReferral(context.Background(), request)
		must(t, err)
		return v.GetName(), v.GetOffers()[0].GetName()
	}()
	net.settle()
	before = origin.dump()
	for _, by := range []string{"punjab", "balochistan"} {
		net.says(by, "balochistan", outside, offer, &custodyv1.Reply{Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}})
	}
	net.settle()
	if !bytes.Equal(before, origin.dump()) || len(net.refused) != 2 {
		t.Errorf("a node answered for an agency; refused %v", net.refused)
	}
}

// Withdrawn, cancelled, expired: an offer outside ends as any other does, and the network's units are taken back when it is chosen.
func TestAnOfferOutsideEnds(t *testing.T) {
	t.Run("another is chosen", func(t *testing.T) {
		net, origin, punjab, _ := newOwnerNetwork(t)
		origin.AutoConfirm = false
		name, offer := net.outside(placement)
		_, err := origin.ask(name, lahore)
		must(t, err)
		net.settle()
		punjab.accept(origin.lastOffer(name).GetName())
		must(t, origin.enter(offer, saysYes()))
		net.settle()
		must(t, origin.confirm(offer))
		net.settle()
		if o := punjab.offer(origin.lastOffer(name).GetName()); o.GetState() != offerWithdrawn || len(punjab.released) != 1 {
			t.Errorf("at Lahore: %v, released %v", o, punjab.released)
		}
		net.checkState(name, confirmed, "balochistan")
		must(t, origin.withdraw(offer, "NEEDS_CHANGED"))
		net.checkState(name, submitted, "balochistan")
	})
	t.Run("a unit of the network is chosen", func(t *testing.T) {
		net, origin, punjab, _ := newOwnerNetwork(t)
		origin.AutoConfirm = false
		name, offer := net.outside(placement)
		must(t, origin.enter(offer, saysYes()))
		_, err := origin.ask(name, lahore)
		must(t, err)
		net.settle()
		punjab.accept(origin.lastOffer(name).GetName())
		net.settle()
		must(t, origin.confirm(origin.lastOffer(name).GetName()))
		net.settle()
		net.checkState(name, promised, "balochistan")
		if o := origin.get(name).GetOffers()[0]; o.GetState() != offerWithdrawn || o.GetDeclineReason() != "OTHER_CHOSEN" {
			t.Errorf("the agency's offer: %v", o)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		net, origin, _, _ := newOwnerNetwork(t)
		name, offer := net.outside(placement)
		must(t, origin.enter(offer, saysYes()))
		must(t, origin.cancel(name))
		net.checkState(name, cancelled, "balochistan")
		if err := origin.enter(offer, saysReady()); fault.ReasonOf(err) != fault.WrongState {
			t.Errorf("ready after the end: %v", err)
		}
	})
	t.Run("expired", func(t *testing.T) {
		net, origin, _, _ := newOwnerNetwork(t)
		name, offer := net.outside(placement)
		net.now = net.now.Add(90 * time.Minute)
		origin.fire()
		if n := len(origin.missed()); n != 1 {
			t.Errorf("nobody brought the offer, and %d were told", n)
		}
		net.now = net.now.Add(2 * time.Hour)
		origin.fire()
		if v := origin.get(name); v.GetOffers()[0].GetState() != offerExpired || v.GetNextDeadline().GetKind() != referralv1.Deadline_KIND_ASK_AGAIN {
			t.Errorf("at its answer time: %v", v)
		}
		if err := origin.enter(offer, saysYes()); fault.ReasonOf(err) != fault.WrongState {
			t.Errorf("yes after the time: %v", err)
		}
	})
}

// The file that travels with the escort to an agency holds the chain and nothing that people wrote: nobody there has a key.
func TestTheFileForAnAgency(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	name, offer := net.outside(placement)
	must(t, origin.enter(offer, saysYes()))
	must(t, origin.enter(offer, saysReady()))
	check := func(when string) {
		file := origin.export(name)
		f := &referralv1.HandoverFile{}
		must(t, custody.DecodeFile(file, f))
		if f.GetToNode() != "" || len(f.GetSealedAnnexes()) != 0 || len(f.GetChain().GetEvents()) == 0 || f.GetReference() == "" {
			t.Errorf("%s the file is to %q, with %d annexes", when, f.GetToNode(), len(f.GetSealedAnnexes()))
		}
		for _, canary := range append([]string{theAgency}, canaries...) {
			if bytes.Contains(file, []byte(canary)) {
				t.Errorf("%s the file shows %q", when, canary)
			}
		}
		if _, err := net.nodes["punjab"].imports(file); fault.ReasonOf(err) != fault.Field {
			t.Errorf("%s punjab takes it in: %v", when, err)
		}
	}
	check("before departure")
	must(t, origin.dispatch(name))
	check("on the road")
}
