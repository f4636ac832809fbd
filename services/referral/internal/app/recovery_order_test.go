package app_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/store"
)

// When all have answered, nobody's answer overtakes one that the restored node still owes: an acceptance that came before the word that
// the offer was received would be refused by the owner.
func TestNothingOvertakesWhatIsOwed(t *testing.T) {
	net := newNetwork(t)
	ctx := context.Background()
	punjab := net.nodes["punjab"]
	old := punjab.copy()
	offer := net.submit().GetOffers()[0].GetName()
	for len(net.sent) > 0 && net.sent[0].from != "punjab" {
		net.deliver(0)
	}
	punjab.restore(old, true, false)
	for range 3 {
		for len(net.sent) > 0 {
			net.deliver(0)
		}
		for _, name := range []string{"balochistan", "sindh"} {
			_, err := net.nodes[name].Recover(ctx)
			must(t, err)
		}
	}
	if _, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor); fault.ReasonOf(err) != fault.Recovering {
		t.Errorf("accepted before it was said to be received: %v", err)
	}
	net.settle()
	_, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor)
	must(t, err)
	net.heal()
	if len(net.refused) > 0 {
		t.Errorf("refused: %q", net.refused)
	}
}

// What people wrote beside a letter that waits, of a life that its writer has lost, goes with it where nobody has the referral any more: no fault is
// seen in it, and it lies in no quarantine.
func TestAnAnnexThatWaitsOfALostReferral(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	oldPunjab, oldOrigin := punjab.copy(), origin.copy()
	net.submit()
	punjab.restore(oldPunjab, true, false)
	came := 0
	for i := 0; i < len(net.sent); i++ {
		if m := net.sent[i]; m.from == origin.Node && m.out.To.GetNode() == punjab.Node {
			if m.out.Kind == "custody.annex.v1" {
				came++
			}
			net.deliver(i) // it waits
			i--
		}
	}
	origin.restore(oldOrigin, true, false)
	net.heal()
	if came == 0 || len(net.refused) > 0 || punjab.Recovering() {
		t.Errorf("%d came beside letters; refused: %q; it recovers still: %t", came, net.refused, punjab.Recovering())
	}
}

// What a rule refuses of all that waits, where none should, holds up nothing of another referral, and does not stop the service.
func TestWhatIsRefusedInARecoveryHoldsUpNothingElse(t *testing.T) {
	net := newNetwork(t)
	punjab := net.nodes["punjab"]
	old := punjab.copy()
	jammed, request := net.submit(), submitRequest()
	request.RequestId = "request-2"
	other, err := net.nodes["balochistan"].SubmitReferral(background, request)
	must(t, err)
	for len(net.sent) > 0 && net.sent[0].from != punjab.Node { // what it says of the offers is lost
		net.deliver(0)
	}
	punjab.restore(old, true, false)
	row := kitstore.K(punjab.Node, jammed.GetName(), uint64(0)) // before what has the referral go on, and what is refused before that
	must(t, punjab.DB.Update(background, func(tx *kitstore.Tx) error {
		return store.Waiting.Insert(tx, row, &referralv1.WaitingRecord{FromNode: punjab.Node, Referral: jammed.GetName()})
	}))
	net.settle()
	next, err := punjab.Recover(background)
	if must(t, err); !punjab.Recovering() || !next.After(net.now) || punjab.status().GetStuckInRecovery() != 2 {
		t.Errorf("it recovers: %t, looks again at %v, and says %v", punjab.Recovering(), next, punjab.status())
	}
	for v, want := range map[*referralv1.Referral]fault.Reason{jammed: fault.Recovering, other: 0} {
		if _, err := punjab.AcceptOffer(background, acceptRequest(v.GetOffers()[0].GetName()), actor); fault.ReasonOf(err) != want {
			t.Errorf("accepted: %v, want %v", err, want)
		}
	}
	must(t, punjab.DB.Update(background, func(tx *kitstore.Tx) error { return store.Waiting.Delete(tx, row) }))
	net.heal()
	if _, err := punjab.AcceptOffer(background, acceptRequest(jammed.GetOffers()[0].GetName()), actor); err != nil || len(net.refused) > 0 {
		t.Errorf("accepted in the end: %v; refused: %q", err, net.refused)
	}
}

// A restored node that was chosen once, and is not any more, is told what became of its offer, without the chain.
func TestRestoredNodeThatWasChosenOnce(t *testing.T) {
	net := newNetwork(t)
	ctx := context.Background()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	net.settle()
	offer := v.GetOffers()[0].GetName()
	_, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor)
	must(t, err)
	old := punjab.copy()
	net.settle() // it is chosen, and promises
	must(t, origin.withdraw(offer, "NOT_NEEDED"))
	net.settle()
	punjab.restore(old, true, false)
	net.heal()
	o, err := punjab.GetOffer(ctx, offer)
	must(t, err)
	if o.GetState() != custodyv1.OfferState_OFFER_STATE_WITHDRAWN || len(net.refused) > 0 {
		t.Errorf("the offer is %v; refused: %q", o.GetState(), net.refused)
	}
	if told := punjab.eventsOf("referral.offer.withdrawn.v1"); len(told) != 2 { // who follows this node may have lost it too
		t.Errorf("that it was taken back is told %d times", len(told))
	}
}

// A letter that waits at a restored node is of an earlier life of its writer once that was restored too: it is not applied behind the
// answer that the writer has counted, or two events would stand at one position.
func TestLetterOfEarlierLifeThatWaits(t *testing.T) {
	net := newNetwork(t)
	ctx := context.Background()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	net.settle()
	offer := v.GetOffers()[0].GetName()
	_, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor)
	must(t, err)
	oldPunjab, oldOrigin := punjab.copy(), origin.copy()
	for len(net.sent) > 0 && net.sent[0].from == "punjab" { // the origin chooses; the chain is on its way
		net.deliver(0)
	}
	punjab.restore(oldPunjab, true, false)
	for i := 0; i < len(net.sent); i++ {
		if net.sent[i].from == "balochistan" && net.sent[i].out.To.GetNode() == "punjab" { // it waits
			net.deliver(i)
			i--
		}
	}
	must(t, origin.cancel(v.GetName()))
	net.now = net.now.Add(time.Minute) // what it writes again is another event
	origin.restore(oldOrigin, true, false)
	net.heal()
	for _, n := range net.nodes {
		must(t, n.DB.View(ctx, func(r kitstore.Reader) error {
			forks, err := store.Forks.Count(r)
			if forks > 0 {
				t.Errorf("%s holds %d chains that contradict its own", n.Node, forks)
			}
			return err
		}))
	}
	if state := origin.get(v.GetName()).GetState(); state != custodyv1.ReferralState_REFERRAL_STATE_READY || len(net.refused) > 0 {
		t.Errorf("the referral is %v; refused: %q", state, net.refused)
	}
}

// An owner that was restored to before it took an offer back has it as asked, chosen or promised again: the asked unit, whose bed is given
// away, says so, and the owner asks another. Nobody waits for a promise that never comes.
func TestTakenBackAndForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		quiet, answered bool // the asked unit did not hear of the choice; it had time to promise
		released        bool
		lost            bool // by the asked unit, what it answers
	}{"asked": {quiet: true}, "chosen": {}, "promised": {answered: true, released: true}, "promised, and answered in a lost life": {answered: true, released: true, lost: true}} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			ctx := context.Background()
			var told []bool
			origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
			v := net.submit()
			net.settle()
			old := origin.copy()
			offer := v.GetOffers()[0].GetName()
			_, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor)
			must(t, err)
			punjab.silent = !c.answered
			if !c.quiet {
				net.settle()
			}
			must(t, origin.withdraw(offer, "NOT_NEEDED"))
			net.settle()
			punjab.silent = false
			before := punjab.copy()
			origin.restore(old, true, false)
			net.heal()
			o := origin.get(v.GetName()).GetOffers()[0]
			if asked := o.GetReleaseReason() != ""; asked != c.released || !asked && o.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED {
				t.Errorf("the owner knows the offer as %v; it is asked to let go: %v", o.GetState(), asked)
			}
			if !c.lost {
				before = punjab.copy()
			}
			punjab.restore(before, true, false)
			net.heal() // the promise comes in the owner's chain, and has ended here before
			for _, e := range punjab.eventsOf("referral.referral.ready.v1") {
				told = append(told, e.(*referralv1.ReferralChanged).GetOfferOver())
			}
			if slices.Contains(told, false) || len(told) == 0 && c.released {
				t.Errorf("whether the promise has ended here, those in the node were told: %v", told)
			}
			shown, err := punjab.GetOffer(ctx, offer)
			must(t, err)
			if shown.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED || len(net.refused) > 0 {
				t.Errorf("the asked unit knows it as %v; refused: %q", shown.GetState(), net.refused)
			}
		})
	}
}

// A restored node is given again what people wrote that it had, and no more: how a person travels on is not for who had the person before.
func TestRestoredNodeIsGivenWhatItHad(t *testing.T) {
	net := newNetwork(t)
	origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	early := origin.copy()
	name := net.walk(hasCome).GetName()
	_, err := punjab.ask(name, karachi)
	must(t, err)
	net.settle()
	sindh.accept(punjab.lastOffer(name).GetName())
	net.settle()
	must(t, punjab.dispatch(name))
	net.settle()
	had := origin.get(name).GetAnnexes()
	origin.restore(early, true, false)
	net.heal()
	again := origin.get(name).GetAnnexes()
	if len(again) == 0 {
		t.Error("it is given nothing")
	}
	for _, annex := range again {
		if !slices.Contains(had, annex) {
			t.Errorf("it is given %s, which it did not have", annex)
		}
	}
}

// buggy is a roster at which the service stumbles over what sindh says.
type buggy struct{ app.Roster }

func (b buggy) Verify(node, service, domain string, message, signature []byte) error {
	if node == "sindh" && domain == custody.DomainReply {
		panic("a bug")
	}
	return b.Roster.Verify(node, service, domain, message, signature)
}

// A letter that waits and makes its handler panic, or that this version does not know, would stop the service at every start: it is put
// aside, and the recovery ends.
func TestALetterThatWaitsStopsNoService(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	v := net.walk(submitted)
	n.restore(n.copy(), true, false)
	n.heard["sindh"] = net.nodes["sindh"].DB.Incarnation() // else its letter is taken for one of an earlier life
	net.brings("sindh", n.Node, "custody.reply.v1", net.signed("sindh", v.GetName(), &custodyv1.Reply{
		Body: &custodyv1.Reply_SafetyInformation{SafetyInformation: &custodyv1.SafetyInformation{}},
	}))
	must(t, n.DB.Update(background, func(tx *kitstore.Tx) error {
		if waiting, err := store.Waiting.Count(tx); waiting != 1 || err != nil {
			t.Errorf("%d letters wait: %v", waiting, err)
		}
		return store.Waiting.Insert(tx, kitstore.K("punjab", v.GetName(), uint64(1)), &referralv1.WaitingRecord{
			FromNode: "punjab", Referral: v.GetName(), Kind: "custody.later.v1", Incarnation: 1 << 62,
		})
	}))
	must(t, n.DB.Update(background, func(tx *kitstore.Tx) error { // behind the one it does not know, which therefore waits too
		return store.Waiting.Insert(tx, kitstore.K("punjab", v.GetName(), uint64(2)), &referralv1.WaitingRecord{
			FromNode: "punjab", Referral: v.GetName(), Kind: "custody.head.v1", Incarnation: 1 << 62, LetterId: bytes.Repeat([]byte{7}, 16),
		})
	}))
	n.Roster = buggy{n.Roster}
	net.heal()
	for _, want := range []string{"custody.later.v1: unknown-kind", "custody.head.v1: not-possible-here", "custody.reply.v1: handler-failed"} {
		if !slices.Contains(net.refused, want) {
			t.Errorf("in quarantine are %q, without %q", net.refused, want)
		}
	}
	for _, l := range slices.Concat(slices.Collect(maps.Values(n.parked))...) {
		if len(l.GetLetterId()) != 16 || l.GetKind() == "custody.reply.v1" && len(l.GetBody()) == 0 {
			t.Errorf("in quarantine is %v", l)
		}
	}
}

// What people wrote comes in letters that are sealed by themselves. While one waits for the end of a recovery, and when it goes to quarantine
// then, it lies in the store and in its backups, and nobody reads it there.
func TestWhatPeopleWroteWaitsSealed(t *testing.T) {
	for _, quarantine := range []bool{false, true} {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		v := net.submit()
		net.settle()
		had := len(origin.get(v.GetName()).GetAnnexes())
		origin.restore(origin.copy(), true, false)
		punjab.accept(v.GetOffers()[0].GetName())
		punjab.runCommands()
		for i := len(net.sent) - 1; i >= 0; i-- {
			if m := net.sent[i]; m.from == punjab.Node && m.out.Kind == "custody.annex.v1" {
				net.deliver(i)
			}
		}
		sealed := func(where string, body []byte) {
			for _, canary := range canaries {
				if bytes.Contains(body, []byte(canary)) {
					t.Errorf("%s lies in the clear in %s", canary, where)
				}
			}
		}
		waiting := 0
		must(t, origin.DB.View(background, func(r kitstore.Reader) error {
			return store.Waiting.Scan(r, kitstore.Range{}, func(_ kitstore.Key, w *referralv1.WaitingRecord) error {
				waiting++
				sealed("what waits", w.GetBody())
				return nil
			})
		}))
		if waiting == 0 {
			t.Fatal("no annex waits")
		}
		if quarantine { // behind one that this version does not know
			must(t, origin.DB.Update(background, func(tx *kitstore.Tx) error {
				return store.Waiting.Insert(tx, kitstore.K(punjab.Node, v.GetName(), uint64(0)), &referralv1.WaitingRecord{
					FromNode: punjab.Node, Referral: v.GetName(), Kind: "custody.later.v1", Incarnation: 1 << 62,
				})
			}))
		}
		net.heal()
		parked := origin.parked[punjab.Node+v.GetName()]
		for _, l := range parked {
			sealed("quarantine", l.GetBody())
		}
		if got := len(origin.get(v.GetName()).GetAnnexes()); quarantine != (len(parked) > 1) || quarantine == (got > had) {
			t.Errorf("in quarantine: %d, and of what people wrote %d are there, %d before", len(parked), got, had)
		}
	}
}

// written is called with each line of a log.
type written func(line []byte)

func (w written) Write(line []byte) (int, error) {
	w(line)
	return len(line), nil
}

// What begins to wait while the rest is done is looked at again at once: nothing else would wake the service, and the referral would
// stand still for ever.
func TestWhatBeginsToWaitMeanwhile(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	v := net.walk(submitted)
	n.restore(n.copy(), true, false)
	must(t, n.DB.Update(background, func(tx *kitstore.Tx) error {
		return store.Waiting.Insert(tx, kitstore.K("sindh", v.GetName(), uint64(1)), &referralv1.WaitingRecord{
			FromNode: "sindh", Referral: v.GetName(), Kind: "custody.later.v1", Incarnation: 1 << 62,
		})
	}))
	began, woken := false, false
	log, err := logging.New(logging.Options{Node: n.Node, Service: "referral", Output: written(func(line []byte) {
		if !bytes.Contains(line, []byte("a letter that waited can never be applied")) {
			return
		}
		began, woken = true, false // what this node owes was done before
		must(t, n.DB.Update(background, func(tx *kitstore.Tx) error {
			return store.Waiting.Insert(tx, kitstore.K(n.Node, v.GetName(), uint64(1)), &referralv1.WaitingRecord{FromNode: n.Node, Referral: v.GetName()})
		}))
	})})
	must(t, err)
	n.Log = log
	n.WakeRecovery = func() { woken = true }
	net.heal()
	if !began || !woken {
		t.Errorf("it began to wait: %t; the service is woken: %t", began, woken)
	}
}

// A bed that is lost while the referral stands still is told to its owner when it goes on, and not before: what this node said of the offer
// it may have forgotten. The beds of those who go together are in one hold, and each of them goes on at its own time.
func TestALostBedWaits(t *testing.T) {
	for _, together := range []bool{false, true} {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		origin.AutoConfirm = together // then the place is promised
		var family []*referralv1.Referral
		if together {
			family = net.family()
			net.acceptAll(punjab, family)
		} else {
			family = append(family, net.walk(submitted))
			punjab.accept(family[0].GetOffers()[0].GetName())
			net.settle()
		}
		offer := family[0].GetOffers()[0].GetName()
		punjab.restore(punjab.copy(), true, false)
		var hold string
		must(t, punjab.DB.View(background, func(r kitstore.Reader) error {
			o, err := store.Offers.Get(r, store.OfferKey(offer))
			hold = o.GetHold()
			return err
		}))
		data, err := anypb.New(&shelterv1.HoldChanged{Hold: hold, Offer: offer})
		must(t, err)
		punjab.holds[hold].State = shelterv1.Hold_STATE_EXPIRED
		must(t, punjab.DB.Update(background, func(tx *kitstore.Tx) error {
			return punjab.FollowShelter(tx, &eventsv1.Event{Type: "shelter.hold.expired.v1", Data: data})
		}))
		for _, m := range net.sent {
			if m.from == "punjab" && m.out.Kind == "custody.reply.v1" {
				t.Error("it answers while it stands still")
			}
		}
		net.heal()
		for _, v := range family {
			o := origin.get(v.GetName()).GetOffers()[0]
			if told := o.GetState() == custodyv1.OfferState_OFFER_STATE_LAPSED || o.GetReleaseReason() != ""; !told || len(net.refused) > 0 {
				t.Errorf("together %t: the owner knows the offer as %v; refused: %q", together, o, net.refused)
			}
		}
	}
}

// A node that was restored waits for the others when one of those who go together comes and the hold for all has ended: a person is told of the one
// who is here at once, and the owner of the others when they go on.
func TestWhoIsHereIsToldWhileTheOthersStandStill(t *testing.T) {
	for who := range 3 {
		for _, chosen := range []bool{false, true} {
			net, origin, punjab, _ := newOwnerNetwork(t)
			net.again, origin.AutoConfirm = false, chosen
			family := net.family()
			net.acceptAll(punjab, family)
			punjab.restore(punjab.copy(), false, false)
			_, err := punjab.assert(family[who].GetName())
			must(t, err)
			punjab.refuse[shelterv1.ShelterService_AdmitHold_FullMethodName] = fault.New(fault.HoldEnded, "Ended.")
			punjab.runCommands()
			if n := punjab.told("referral.offer.bed-lost.v1", family[who].GetOffers()[0].GetName()); n != 1 {
				t.Errorf("%d is here, chosen: %t; a person is told %d times", who, chosen, n)
			}
			clear(punjab.refuse)
			net.heal()
			for i, v := range family {
				o := punjab.offer(v.GetOffers()[0].GetName())
				if lost := o.GetState() == custodyv1.OfferState_OFFER_STATE_LAPSED || o.GetReleaseReason() == "HOLD_ENDED"; i != who && !lost {
					t.Errorf("%d is here, chosen: %t; that of %d is %v", who, chosen, i, o)
				}
			}
			net.came(family[who].GetName(), "punjab")
		}
	}
}

// A restored owner that hears again what it had written tells nobody the chain who was chosen once and is not any more.
func TestRestoredOwnerTellsPartiesAlone(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	net.settle()
	old := origin.copy()
	offer := v.GetOffers()[0].GetName()
	_, err := punjab.AcceptOffer(background, acceptRequest(offer), actor)
	must(t, err)
	net.settle() // it is chosen, and promises
	_, err = punjab.RequestRelease(background, &referralv1.RequestReleaseRequest{Name: offer, Reason: "NO_CAPACITY"}, actor)
	must(t, err)
	net.settle()
	_, err = origin.GrantRelease(background, &referralv1.GrantReleaseRequest{Name: offer}, actor)
	must(t, err)
	asked, err := origin.ask(v.GetName(), karachi)
	must(t, err)
	net.settle()
	accept := acceptRequest(asked.GetOffers()[1].GetName())
	accept.Group = "nodes/sindh/shelters/1/groups/1"
	_, err = net.nodes["sindh"].AcceptOffer(background, accept, actor)
	must(t, err)
	net.settle()
	must(t, origin.dispatch(v.GetName()))
	net.settle()
	origin.restore(old, true, false)
	_, err = origin.Recover(background)
	must(t, err)
	net.sent = append(net.sent, net.settleWithout("punjab")...) // who has the longer chain answers first
	net.heal()
	if len(net.refused) > 0 {
		t.Errorf("refused: %q", net.refused)
	}
	if got := origin.get(v.GetName()); got.GetOwnerNode() != "sindh" {
		t.Errorf("the origin sees %v", got)
	}
}
