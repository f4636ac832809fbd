package app_test

import (
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

func (n *node) assert(referral string) (*referralv1.AssertedArrival, error) {
	return n.AssertArrival(background, &referralv1.AssertArrivalRequest{
		Name: referral, Unit: "nodes/" + n.Node + "/units/centre", Identification: []string{"ESCORT_STATEMENT"}, Note: theNote,
		ArriveTime: timestamppb.New(n.net.now.Add(-time.Minute)),
	}, actor)
}

// came holds that the person is at a node by every chain, and that its own word stands in it.
func (net *network) came(referral, at string) {
	net.t.Helper()
	n := net.nodes[at]
	message, err := n.GetCustodyChain(background, referral)
	must(net.t, err)
	chain, err := custody.Verify(n.Roster, message.GetEvents(), nil)
	must(net.t, err)
	s := chain.State()
	if s.Owner != at || s.Care != at || s.State != custodyv1.ReferralState_REFERRAL_STATE_ARRIVED {
		net.t.Errorf("by the chain of %s the person is in the care of %s, %s owns the referral, and it is %v", at, s.Care, s.Owner, s.State)
	}
	last := chain.Links()[len(chain.Links())-1].Event
	if b := s.Arrived; !slices.Equal(b.GetIdentification(), []string{"ESCORT_STATEMENT"}) || last.GetArrived() == nil ||
		!proto.Equal(last.GetActor(), actor) || len(last.GetAnnexCommitment()) == 0 {
		net.t.Errorf("the arrival says %v, by %v", b, last.GetActor())
	}
	origin := net.nodes["balochistan"].get(referral)
	if origin.GetOwnerNode() != at || origin.GetState() != custodyv1.ReferralState_REFERRAL_STATE_ARRIVED {
		net.t.Errorf("the origin sees %v owned by %s", origin.GetState(), origin.GetOwnerNode())
	}
	must(net.t, n.DB.View(background, func(r kitstore.Reader) error {
		record, err := store.Arrivals.Get(r, kitstore.K(referral))
		if !record.GetTaken() {
			net.t.Error("the arrival is still asserted")
		}
		has, _ := store.Deadlines.Has(r, store.ArrivalDeadline(referral))
		if has {
			net.t.Error("what is over has a deadline")
		}
		return err
	}))
	if len(net.refused) > 0 {
		net.t.Errorf("letters were refused: %v", net.refused)
	}
}

// What was written beside does not open, at the owner or at who asserts, whose key file is an older copy: the arrival is taken without that.
func TestAnArrivalWithAnOlderKeyFile(t *testing.T) {
	for _, at := range []string{"punjab", "sindh"} {
		net := newNetwork(t)
		name := net.walk(hasCome).GetName()
		_, err := net.nodes["sindh"].assert(name)
		must(t, err)
		net.nodes[at].loseKeys()
		net.settle()
		net.came(name, "sindh")
	}
}

// A person comes to a node, in every state that the referral can be in, to a node that was asked and to one that was not.
func TestArrivalOutranksEveryState(t *testing.T) {
	for state := custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED; state <= custodyv1.ReferralState_REFERRAL_STATE_COMPLETED; state++ {
		for _, at := range []string{"punjab", "sindh"} {
			if at == "punjab" && state >= custodyv1.ReferralState_REFERRAL_STATE_ARRIVED {
				continue // the person is there
			}
			for _, later := range []bool{false, true} {
				net := newNetwork(t)
				name := net.walk(state).GetName()
				net.later = later
				_, err := net.nodes[at].assert(name)
				must(t, err)
				for range 2 { // said again while it waits, or when it stands
					if shown, err := net.nodes[at].assert(name); err != nil || shown.GetReferral() != name {
						t.Errorf("%v at %s, asserted again: %v, %v", state, at, shown, err)
					}
				}
				net.settle()
				net.came(name, at)
				net.checkTold(name)
			}
		}
	}
}

// A referral that its owner has given up, by each of the ends it can write.
func TestArrivalOutranksAnEnd(t *testing.T) {
	for name, end := range map[string]*custodyv1.Event{
		"cancelled": {Body: &custodyv1.Event_Cancelled{Cancelled: &custodyv1.Cancelled{Reason: "NOT_NEEDED"}}},
		"expired":   {Body: &custodyv1.Event_Expired{Expired: &custodyv1.Expired{}}},
		"no-show":   {Body: &custodyv1.Event_NoShow{NoShow: &custodyv1.NoShow{}}},
	} {
		for _, at := range []string{"punjab", "sindh"} {
			net := newNetwork(t)
			net.later = true
			owner, state := net.nodes["balochistan"], custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
			if name == "no-show" {
				owner, state = net.nodes["punjab"], custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
			}
			v := net.walk(state)
			if name != "no-show" {
				_, err := net.nodes["punjab"].DeclineOffer(background, &referralv1.DeclineOfferRequest{Name: v.GetOffers()[0].GetName(), Reason: "TOO_FAR"}, actor)
				must(t, err)
				net.settle()
			}
			owner.append(v.GetName(), end)
			net.settle()
			_, err := net.nodes[at].assert(v.GetName())
			must(t, err)
			net.settle()
			t.Run(name+" at "+at, func(t *testing.T) { net.came(v.GetName(), at) })
		}
	}
}

// append writes an event as the owner, as its own use cases do.
func (n *node) append(referral string, e *custodyv1.Event) {
	n.t.Helper()
	message, err := n.GetCustodyChain(background, referral)
	must(n.t, err)
	chain, err := custody.Load(message.GetEvents()...)
	must(n.t, err)
	e.Actor, e.Time = actor, timestamppb.New(n.net.now)
	_, err = chain.Append(n.Signer, n.Node, proto.CloneOf(e))
	must(n.t, err)
	body, err := proto.Marshal(&custodyv1.ChainLetter{Referral: referral, Chain: chain.Message()})
	must(n.t, err)
	for _, other := range n.net.nodes {
		if chain.State().Party(other.Node) {
			n.net.apply(mail{from: n.Node, body: body, out: post.Outgoing{Kind: "custody.chain.v1", To: &postv1.Address{Node: other.Node, Service: "referral"}}})
		}
	}
}

// The planned handover and the assertion cross each other on the way, in either order.
func TestArrivalBeforeThePlannedDispatchIsKnown(t *testing.T) {
	for seed := range uint64(5) {
		net := newNetwork(t)
		net.later = true
		v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		_, err := origin.DispatchReferral(background, net.dispatchRequest(v.GetName()), actor)
		must(t, err)
		shown, err := dest.assert(v.GetName())
		must(t, err)
		if shown.GetTaken() || shown.GetToldNode() != "balochistan" || shown.GetDueTime().AsTime().Sub(net.now) != time.Hour {
			t.Errorf("before the handover is known: %v", shown)
		}
		rnd := mathrand.New(mathrand.NewPCG(seed, 3))
		for len(net.sent) > 0 {
			net.deliverAny(rnd)
		}
		net.settle()
		net.came(v.GetName(), "punjab")
		if want := []string{"PlaceHold", "ConfirmHold", "AdmitHold"}; !slices.Equal(dest.calls, want) {
			t.Errorf("the shelter was asked %v", dest.calls)
		}
		if len(dest.eventsOf("referral.arrival.asserted.v1")) != 1 || len(dest.eventsOf("referral.arrival.taken.v1")) != 1 {
			t.Error("nobody is told of the arrival")
		}
	}
}

// A third node holds the person whom punjab waits for: the origin, a former owner, forwards its word, and punjab gives the bed back.
func TestArrivalElsewhereReachesTheOwnerThroughAFormerOne(t *testing.T) {
	for seed := range uint64(4) {
		net := newNetwork(t)
		net.later = true
		v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
		_, err := net.nodes["sindh"].assert(v.GetName())
		must(t, err)
		rnd := mathrand.New(mathrand.NewPCG(seed, 4))
		for len(net.sent) > 0 {
			net.deliverAny(rnd)
		}
		net.settle()
		net.came(v.GetName(), "sindh")
		dest := net.nodes["punjab"]
		if dest.calls[len(dest.calls)-1] != "ReleaseHold" {
			t.Errorf("the bed is kept: %v", dest.calls)
		}
		if dest.get(v.GetName()).GetNextDeadline().GetKind() != referralv1.Deadline_KIND_WATCH {
			t.Error("a former owner does not watch")
		}
	}
}

// Its letters are lost: the assertion is repeated by its deadline, and a person is told, until the referral follows.
func TestAssertedArrivalIsRepeated(t *testing.T) {
	net := newNetworkOnFiles(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	n := net.nodes["sindh"]
	shown, err := n.assert(v.GetName())
	must(t, err)
	first := shown.GetDueTime().AsTime()
	for i := range 3 {
		net.sent = nil // lost
		due := shown.GetDueTime().AsTime()
		net.now = due
		n.fire()
		if m := n.missed(); len(m) != i+1 || m[i].GetKind() != referralv1.Deadline_KIND_FOLLOW_PERSON || m[i].GetUnit() != "nodes/sindh/units/centre" {
			t.Fatalf("missed %v", m)
		}
		if e := n.eventsOf("referral.deadline.missed.v1")[i].(*referralv1.DeadlineMissed); !e.GetFirstDueTime().AsTime().Equal(first) {
			t.Errorf("it is not told which deadline was missed: %v", e)
		}
		if shown, err = n.assert(v.GetName()); err != nil || !shown.GetDueTime().AsTime().After(due) {
			t.Fatalf("after its time: %v, %v", shown, err)
		}
	}
	must(t, n.DB.Close())
	n.open() // it outlives a restart
	net.settle()
	net.came(v.GetName(), "sindh")
}

// The person comes, goes on, and comes again. A node that has forgotten the first time asserts with a number that the chain has
// counted already: it learns the chain, and says it anew.
func TestStaleOrdinalIsSaidAnew(t *testing.T) {
	net := newNetwork(t)
	net.later = true
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
	_, err := sindh.assert(v.GetName())
	must(t, err)
	net.settle()
	net.now = net.now.Add(time.Hour)
	_, err = punjab.assert(v.GetName())
	must(t, err)
	net.settle()
	net.came(v.GetName(), "punjab")
	sindh.forget(v.GetName())
	net.now = net.now.Add(time.Hour)
	_, err = sindh.assert(v.GetName())
	must(t, err)
	net.settle()
	net.came(v.GetName(), "sindh")
	// What was said the first time is said again by somebody who kept it: nothing moves.
	head := sindh.head(v.GetName())
	for _, m := range slices.Clone(net.history) {
		if m.out.Kind == "custody.reply.v1" && m.from == "punjab" {
			net.apply(m)
		}
	}
	net.settle()
	if string(head) != string(sindh.head(v.GetName())) {
		t.Error("an old assertion moved the referral")
	}
}

// forget drops all that a node holds of a referral, as a node that lost its file has.
func (n *node) forget(referral string) {
	n.t.Helper()
	must(n.t, n.DB.Update(background, func(tx *kitstore.Tx) error {
		return errors.Join(
			dropLinks(tx, referral),
			drop(tx, store.Referrals, kitstore.K(referral)), drop(tx, store.Deadlines, kitstore.K(referral)), drop(tx, store.Arrivals, kitstore.K(referral)),
		)
	}))
}

func dropLinks(tx *kitstore.Tx, referral string) error {
	return store.Links.Scan(tx, kitstore.Range{Prefix: kitstore.K(referral)}, func(key kitstore.Key, _ *custodyv1.SignedEvent) error {
		return store.Links.Delete(tx, key)
	})
}

func drop[M proto.Message](tx *kitstore.Tx, table *kitstore.Table[M], key kitstore.Key) error {
	if has, err := table.Has(tx, key); !has || err != nil {
		return err
	}
	return table.Delete(tx, key)
}

func TestWhoCannotAssert(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	origin, sindh := net.nodes["balochistan"], net.nodes["sindh"]
	_, err := origin.assert(v.GetName())
	wrong(t, err, fault.WrongState, "")
	_, err = origin.assert("nodes/balochistan/referrals/0192f0a1-0000-7000-8000-000000000001")
	wrong(t, err, fault.Missing, "")
	_, err = sindh.assert("nodes/kashmir/referrals/0192f0a1-0000-7000-8000-000000000001")
	wrong(t, err, fault.UnknownNode, "name")
	for field, change := range map[string]func(r *referralv1.AssertArrivalRequest){
		"unit":           func(r *referralv1.AssertArrivalRequest) { r.Unit = "nodes/punjab/units/lahore" },
		"arrive_time":    func(r *referralv1.AssertArrivalRequest) { r.ArriveTime = timestamppb.New(net.now.Add(time.Hour)) },
		"identification": func(r *referralv1.AssertArrivalRequest) { r.Identification = []string{"A_FRIEND"} },
		"group":          func(r *referralv1.AssertArrivalRequest) { r.Group = "nodes/punjab/shelters/a1/groups/b1" },
		"needs":          func(r *referralv1.AssertArrivalRequest) { r.Group = "nodes/sindh/shelters/a1/groups/b1" },
	} {
		r := &referralv1.AssertArrivalRequest{Name: v.GetName(), Unit: "nodes/sindh/units/centre", Identification: []string{"REFERRAL_SLIP"}}
		change(r)
		before := sindh.dump()
		_, err := sindh.AssertArrival(background, r, actor)
		if fault.ReasonOf(err) != fault.Field && fault.ReasonOf(err) != fault.UnknownCode || string(before) != string(sindh.dump()) {
			t.Errorf("%s: %v", field, err)
		}
	}
	service, err := origin.SubmitReferral(background, serviceRequestAs("request-service"))
	must(t, err)
	net.settle()
	_, err = sindh.assert(service.GetName()) // sindh cannot know, and the origin refuses it for good
	must(t, err)
	net.settle()
	if !slices.Contains(net.refused, "custody.reply.v1: reply-not-valid") || len(net.nodes["sindh"].eventsOf("referral.arrival.asserted.v1")) != 1 {
		t.Errorf("refused %v", net.refused)
	}
}

func serviceRequestAs(id string) *referralv1.SubmitReferralRequest {
	r := serviceRequest()
	r.RequestId = id
	return r
}

// The person is given the bed that is held, whatever the offer has come to; or one of the group that is named.
func TestAssertedArrivalTakesABed(t *testing.T) {
	walkIn := func(net *network, referral string, needs *custodyv1.Needs) {
		_, err := net.nodes["sindh"].AssertArrival(background, &referralv1.AssertArrivalRequest{
			Name: referral, Unit: "nodes/sindh/units/centre", Identification: []string{"ESCORT_STATEMENT"}, Note: theNote,
			Group: "nodes/sindh/shelters/a1/groups/b1", Needs: needs,
		}, actor)
		must(t, err)
	}
	for state, want := range map[custodyv1.OfferState][]string{
		custodyv1.OfferState_OFFER_STATE_ACCEPTED: {"PlaceHold", "ConfirmHold", "AdmitHold"},
		custodyv1.OfferState_OFFER_STATE_READY:    {"PlaceHold", "ConfirmHold", "AdmitHold"},
	} {
		net := newNetwork(t)
		net.later = true
		referral, offer := net.asked()
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		origin.AutoConfirm = state == custodyv1.OfferState_OFFER_STATE_READY
		_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
		must(t, err)
		net.settle()
		_, err = dest.assert(referral)
		must(t, err)
		net.settle()
		net.came(referral, "punjab")
		if !slices.Equal(dest.calls, want) {
			t.Errorf("%v: the shelter was asked %v", state, dest.calls)
		}
	}
	for _, followed := range []bool{false, true} { // the child comes before the shelter has answered for the bed, and before it has answered the owner follows
		net := newNetwork(t)
		referral, offer := net.asked()
		dest := net.nodes["punjab"]
		dest.silent = true
		_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
		must(t, err)
		_, err = dest.assert(referral)
		must(t, err)
		if followed {
			net.settle()
		}
		dest.silent = false
		net.settle()
		net.came(referral, "punjab")
		if want := []string{"PlaceHold", "ConfirmHold", "AdmitHold"}; !slices.Equal(dest.calls, want) {
			t.Errorf("followed: %t; the shelter was asked %v", followed, dest.calls)
		}
	}
	for _, followed := range []bool{false, true} { // the same, and a bed group is named: the child has that bed, and no other
		net := newNetwork(t)
		referral, offer := net.asked()
		dest := net.nodes["punjab"]
		dest.silent = true
		_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
		must(t, err)
		_, err = dest.AssertArrival(background, &referralv1.AssertArrivalRequest{
			Name: referral, Unit: "nodes/punjab/units/centre", Identification: []string{"ESCORT_STATEMENT"}, Note: theNote,
			Group: "nodes/punjab/shelters/a1/groups/b1",
		}, actor)
		must(t, err)
		if followed {
			net.settle()
		}
		dest.silent = false
		net.settle()
		net.came(referral, "punjab")
		if want := []string{"PlaceHold", "AdmitWalkIn", "ReleaseHold"}; !slices.Equal(dest.calls, want) {
			t.Errorf("followed: %t, and a group is named; the shelter was asked %v", followed, dest.calls)
		}
	}
	{ // the child comes while the shelter is asked to promise the bed, and comparing makes it a stay before its turn
		net := newNetwork(t)
		referral, offer := net.asked()
		dest := net.nodes["punjab"]
		_, err := dest.AcceptOffer(background, acceptRequest(offer), actor)
		must(t, err)
		dest.silent = true
		net.settle()
		if s := dest.offer(offer).GetState(); s != custodyv1.OfferState_OFFER_STATE_CONFIRMED {
			t.Fatalf("the offer is %v", s)
		}
		_, err = dest.assert(referral)
		must(t, err)
		dest.holds[dest.offer(offer).GetHold()].State = shelterv1.Hold_STATE_OCCUPIED
		dest.restored, dest.silent = true, false
		dest.runCommands()
		if s := dest.offer(offer).GetState(); s != custodyv1.OfferState_OFFER_STATE_READY {
			t.Errorf("a bed in which the child is was said to be gone: %v", s)
		}
		net.settle()
		net.came(referral, "punjab")
	}
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	walkIn(net, v.GetName(), submitRequest().GetNeeds())
	net.settle()
	net.came(v.GetName(), "sindh")
	if !slices.Equal(net.nodes["sindh"].calls, []string{"AdmitWalkIn"}) {
		t.Errorf("the shelter was asked %v", net.nodes["sindh"].calls)
	}
}

// A node that was restored to the time at which it still waited says nothing anew: the chain holds its word, and what followed.
func TestRestoredAssertionMovesNothing(t *testing.T) {
	net := newNetwork(t)
	net.later = true
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
	_, err := sindh.assert(v.GetName())
	must(t, err)
	kept := net.waiting(sindh, v.GetName())
	net.settle()
	net.now = net.now.Add(time.Hour)
	_, err = punjab.assert(v.GetName())
	must(t, err)
	net.settle()
	sindh.forget(v.GetName())
	must(t, sindh.DB.Update(background, func(tx *kitstore.Tx) error {
		if err := store.Deadlines.Put(tx, store.ArrivalDeadline(v.GetName()), kept.deadline); err != nil {
			return err
		}
		return store.Arrivals.Put(tx, kitstore.K(v.GetName()), kept.arrival)
	}))
	sindh.fire()
	net.settle()
	net.came(v.GetName(), "punjab")
	if again := net.waiting(sindh, v.GetName()); !again.arrival.GetTaken() {
		t.Error("it still waits")
	}
}

type waiting struct {
	arrival  *referralv1.ArrivalRecord
	deadline *referralv1.DeadlineRecord
}

func (net *network) waiting(n *node, referral string) (w waiting) {
	net.t.Helper()
	must(net.t, n.DB.View(background, func(r kitstore.Reader) (err error) {
		if w.arrival, err = store.Arrivals.Get(r, kitstore.K(referral)); err != nil || w.arrival.GetTaken() {
			return err
		}
		w.deadline, err = store.Deadlines.Get(r, store.ArrivalDeadline(referral))
		return err
	}))
	return w
}

// While a node waits for its word to be followed the referral goes to another owner: it is told at once.
func TestAssertionFollowsTheOwner(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	for _, n := range []*node{sindh, punjab} {
		_, err := n.assert(v.GetName())
		must(t, err)
		net.settle()
		net.now = net.now.Add(time.Hour)
	}
	shown, err := sindh.assert(v.GetName())
	must(t, err)
	if shown.GetToldNode() != "punjab" {
		t.Fatalf("told %v", shown)
	}
	net.sent = nil // lost
	_, err = origin.assert(v.GetName())
	must(t, err)
	net.settle()
	net.came(v.GetName(), "sindh")
}

// Sindh, where the person was, hands over to punjab, which knows nothing of its promise and refuses. The person comes there all the
// same; punjab, who knows only the slip, tells the origin, by whose chain punjab owns the referral already.
func TestArrivalAtTheNodeThatRefusedAThirdNode(t *testing.T) {
	net := newNetwork(t)
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED)
	punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
	_, err := sindh.assert(v.GetName())
	must(t, err)
	net.settle()
	got, err := sindh.OfferReferral(background, &referralv1.OfferReferralRequest{
		Name: v.GetName(), ToUnit: "nodes/punjab/units/multan", Etag: sindh.get(v.GetName()).GetEtag(),
	}, actor)
	must(t, err)
	net.settle()
	offer := got.GetOffers()[1].GetName()
	_, err = punjab.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	net.settle()
	punjab.spoilt = true
	punjab.forget(v.GetName())
	must(t, punjab.DB.Update(background, func(tx *kitstore.Tx) error {
		return errors.Join(store.Offers.Delete(tx, store.OfferKey(offer)), store.Offers.Delete(tx, store.OfferKey(v.GetOffers()[0].GetName())))
	}))
	_, err = sindh.DispatchReferral(background, net.dispatchRequest(v.GetName()), actor)
	must(t, err)
	for len(punjab.eventsOf("referral.handover.refused.v1")) == 0 || net.nodes["balochistan"].get(v.GetName()).GetOwnerNode() != "punjab" {
		net.deliver(0)
	}
	var delayed []mail
	for i := 0; i < len(net.sent); { // what punjab refuses is slow on its way to sindh
		if m := net.sent[i]; m.from == "punjab" && m.out.To.GetNode() == "sindh" {
			delayed = append(delayed, m)
			net.sent = slices.Delete(net.sent, i, i+1)
		} else {
			i++
		}
	}
	shown, err := punjab.assert(v.GetName())
	must(t, err)
	if shown.GetToldNode() != "balochistan" {
		t.Fatalf("told %v", shown)
	}
	for len(net.sent) > 0 && net.sent[0].out.To.GetNode() != "sindh" {
		net.deliver(0)
	}
	net.sent = append(delayed, net.sent...)
	net.settle()
	if want := []string{"custody.annex.v1: referral-unknown"}; !slices.Equal(net.refused, want) { // the escort's, who is here by now
		t.Errorf("refused %v", net.refused)
	}
	net.refused = nil
	net.came(v.GetName(), "punjab")
}
