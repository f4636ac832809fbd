package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/soaktest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/store"
)

// copied is an older copy of a node: its file, and what its post had heard and not sent.
type copied struct {
	engine *kitstore.Memory
	heard  map[string]uint64
	queue  []outbox.Command
	sent   []mail
	at     int // letters that had been delivered
}

func (n *node) copy() copied {
	n.t.Helper()
	c := copied{engine: n.engine.Clone(), heard: maps.Clone(n.heard), queue: slices.Clone(n.queue), at: len(n.net.history)}
	for _, m := range n.net.sent {
		if m.from == n.Node {
			c.sent = append(c.sent, m)
		}
	}
	return c
}

// restore puts a node back to an older copy, as an operator does. What its post had sent since is lost with it, but for letters under
// way where lost is not set; with resend the others send again what they had sent since, as their posts do while they keep it.
func (n *node) restore(c copied, lost, resend bool) {
	n.t.Helper()
	must(n.t, n.DB.Close())
	above := n.DB.Incarnation()
	n.engine, n.restored = c.engine.Clone(), true
	db, err := kitstore.Open(context.Background(), kitstore.Options{Engine: n.engine, Schema: store.Schema})
	must(n.t, err)
	must(n.t, errors.Join(db.RaiseIncarnation(context.Background(), above), db.Close()))
	n.heard, n.queue = maps.Clone(c.heard), slices.Clone(c.queue)
	if lost {
		n.net.sent = slices.DeleteFunc(n.net.sent, func(m mail) bool { return m.from == n.Node })
	}
	n.open()
	for _, m := range c.sent { // of the outbox of the copy
		m.life = n.DB.Incarnation()
		n.net.sent = append(n.net.sent, m)
	}
	if !resend {
		return
	}
	var again []mail
	for _, m := range n.net.history[c.at:] {
		if m.out.To.GetNode() == n.Node {
			again = append(again, m)
		}
	}
	n.net.sent = append(again, n.net.sent...)
}

// heal lets time pass until nobody recovers any more.
func (net *network) heal() {
	net.t.Helper()
	for range 20 {
		net.settle()
		active := false
		for _, n := range net.nodes {
			active = active || n.Recovering()
		}
		if !active {
			for _, n := range net.nodes {
				n.giveBack()
			}
			return
		}
		net.now = net.now.Add(11 * time.Second)
	}
	net.t.Error("a node recovers for ever")
}

// giveBack gives back what is held for no offer that the node knows, as a shelter does when it gets the list of live offers.
func (n *node) giveBack() {
	n.t.Helper()
	must(n.t, n.DB.View(context.Background(), func(r kitstore.Reader) error {
		for _, h := range n.holds {
			o, err := store.Offers.Get(r, store.OfferKey(h.GetOffer()))
			if errors.Is(err, kitstore.ErrNotFound) || err == nil && o.GetHold() != h.GetName() {
				h.State, err = shelterv1.Hold_STATE_RELEASED, nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// path is what happens to one child, a step after the other.
func (net *network) path() []func() {
	ctx := context.Background()
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	var name string
	do := func(err error) { net.t.Helper(); must(net.t, err) }
	return []func(){
		func() { name = net.submit().GetName() },
		func() { net.settle() },
		func() {
			_, err := origin.ask(name, karachi)
			do(err)
		},
		func() { net.settle() },
		func() {
			_, err := dest.AcceptOffer(ctx, acceptRequest(origin.get(name).GetOffers()[0].GetName()), actor)
			do(err)
		},
		func() { net.settle() },
		func() { do(origin.confirm(origin.get(name).GetOffers()[0].GetName())) },
		func() { net.settle() },
		func() { do(origin.dispatch(name)) },
		func() { net.settle() },
		func() { do(dest.arrive(name)) },
		func() { net.settle() },
		func() { do(dest.serve(name)) },
		func() {
			_, err := dest.CompleteReferral(ctx, completeRequest(name))
			do(err)
		},
		func() { net.settle() },
	}
}

// finish brings the only referral there is to its end by what people do, whatever it is now; false where everybody has lost it.
func (net *network) finish(name string) bool {
	net.t.Helper()
	ctx := context.Background()
	for range 40 {
		net.heal()
		var owner *node
		for _, n := range net.nodes {
			if n.holdsChain(name) && n.get(name).GetOwnerNode() == n.Node {
				owner = n
			}
		}
		if owner == nil {
			return false
		}
		v := owner.get(name)
		switch v.GetState() {
		case custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED:
			net.answer(owner, v)
		case custodyv1.ReferralState_REFERRAL_STATE_READY:
			must(net.t, owner.dispatch(name))
		case custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT:
			must(net.t, owner.arrive(name))
		case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED:
			must(net.t, owner.serve(name))
		case custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE:
			_, err := owner.CompleteReferral(ctx, completeRequest(name))
			must(net.t, err)
		case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
			net.settle()
			return true
		default: // an answer is lost: deadlines say so
			net.pass(time.Hour)
		}
	}
	net.t.Errorf("%s comes to no end", name)
	return true
}

// pass lets time pass and deadlines be told.
func (net *network) pass(d time.Duration) {
	net.t.Helper()
	net.now = net.now.Add(d)
	for _, n := range net.nodes {
		_, err := n.FireDeadlines(context.Background())
		must(net.t, err)
	}
}

// answer has somebody accept, or asks again.
func (net *network) answer(owner *node, v *referralv1.Referral) {
	net.t.Helper()
	for _, o := range v.GetOffers() {
		switch o.GetState() {
		case custodyv1.OfferState_OFFER_STATE_ACCEPTED:
			must(net.t, owner.confirm(o.GetName()))
			return
		case custodyv1.OfferState_OFFER_STATE_SENT, custodyv1.OfferState_OFFER_STATE_RECEIVED:
			dest := net.nodes["punjab"]
			if made := dest.maybeOffer(o.GetName()); made.GetState() == custodyv1.OfferState_OFFER_STATE_RECEIVED && o.GetToUnit() == lahore {
				_, err := dest.AcceptOffer(context.Background(), acceptRequest(o.GetName()), actor)
				if fault.ReasonOf(err) != fault.HoldEnded { // of a hold that a life asked for which is lost; the person accepts again
					must(net.t, err)
				}
				return
			}
		}
	}
	for _, o := range v.GetOffers() {
		if o.GetToUnit() == lahore && live(o.GetState()) {
			net.pass(time.Hour)
			return
		}
	}
	_, err := owner.ask(v.GetName(), lahore)
	must(net.t, err)
}

func live(s custodyv1.OfferState) bool {
	switch s {
	case custodyv1.OfferState_OFFER_STATE_SENT, custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_ACCEPTED:
		return true
	}
	return false
}

// Whichever node is restored, from whichever moment, at whichever later one, with letters under way lost or not: nobody writes two
// events at one position, and the child comes to the end, unless nobody but the restored node ever knew of the referral.
func TestRestoredAtEveryMoment(t *testing.T) {
	steps := len(newNetwork(t).path())
	var all []func() bool
	for _, name := range []string{"balochistan", "punjab", "sindh"} {
		for from := range steps {
			for to := from; to <= steps; to++ {
				for variant := range 4 {
					lost, resend := variant&1 > 0, variant&2 > 0
					what := fmt.Sprintf("%s from %d at %d, letters lost %t, sent again %t", name, from, to, lost, resend)
					all = append(all, func() bool {
						return t.Run(what, func(t *testing.T) { restoredOnce(t, name, from, to, lost, resend) })
					})
				}
			}
		}
	}
	mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	runs := 0
	for n := range soaktest.Rounds(t, len(all)/soaktest.Alone(20, 160), len(all)) {
		if runs++; n >= len(all) || !all[n]() {
			break
		}
	}
	t.Logf("%d of %d restores", runs, len(all))
}

// A word about what the restored node has lost is honest, and nothing is to wait behind it: an answer to an offer of a referral that nobody
// has any more, and an acceptance that overtakes what is said again of before it.
func TestAWordAboutWhatIsLost(t *testing.T) {
	for _, c := range []struct {
		from, to     int
		lost, resend bool
	}{{0, 3, false, true}, {0, 5, true, false}, {0, 7, true, true}, {1, 5, false, false}, {1, 5, true, false}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) { restoredOnce(t, "balochistan", c.from, c.to, c.lost, c.resend) })
	}
}

func restoredOnce(t *testing.T, name string, from, to int, lost, resend bool) {
	net := newNetwork(t)
	for _, n := range net.nodes {
		n.AutoConfirm = false
	}
	n := net.nodes[name]
	path := net.path()
	for _, step := range path[:from] {
		step()
	}
	c := n.copy()
	for _, step := range path[from:to] {
		step()
	}
	referral := net.only()
	n.restore(c, lost, resend)
	if referral == "" {
		return
	}
	n.tryAll(referral)
	ended := net.finish(referral)
	var head []byte
	for _, n := range net.nodes {
		if len(n.eventsOf("referral.referral.forked.v1")) > 0 {
			t.Errorf("%s was given two chains that contradict each other", n.Node)
		}
		if !n.holdsChain(referral) {
			if o := n.firstOffer(referral); o != nil && live(o.GetState()) && !ended {
				t.Errorf("%s waits for ever with an offer that is %v", n.Node, o.GetState())
			}
			continue
		}
		if v := n.get(referral); ended && v.GetState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
			if head != nil && !bytes.Equal(head, v.GetHead()) {
				t.Errorf("the chains differ")
			}
			head = v.GetHead()
		} else if ended && (v.GetOwnerNode() == n.Node || v.GetOriginNode() == n.Node) {
			t.Errorf("%s sees %v", n.Node, v.GetState())
		}
	}
	if len(net.refused) > 0 {
		t.Errorf("letters were refused: %v", net.refused)
	}
}

// only is the referral that somebody knows of; empty before there is one.
func (net *network) only() (name string) {
	for _, n := range net.nodes {
		list, err := n.ListReferrals(context.Background(), &referralv1.ListReferralsRequest{Parent: "nodes/" + n.Node})
		must(net.t, err)
		for _, v := range list.GetReferrals() {
			name = v.GetName()
		}
	}
	return name
}

func (n *node) firstOffer(referral string) (o *referralv1.Offer) {
	list, err := n.ListOffers(context.Background(), &referralv1.ListOffersRequest{Parent: "nodes/" + n.Node})
	must(n.t, err)
	for _, one := range list.GetOffers() {
		if strings.HasPrefix(one.GetName(), referral+"/") {
			o = one
		}
	}
	return o
}

// settleWithout delivers all letters but those to and from a node, which it answers with.
func (net *network) settleWithout(absent string) (lost []mail) {
	net.t.Helper()
	lose := func() {
		net.sent = slices.DeleteFunc(net.sent, func(m mail) bool {
			if m.out.To.GetNode() != absent && m.from != absent {
				return false
			}
			lost = append(lost, m)
			return true
		})
	}
	lose()
	for len(net.sent) > 0 || slices.ContainsFunc(slices.Collect(maps.Values(net.nodes)), func(n *node) bool { return len(n.queue) > 0 }) {
		net.settle()
		lose()
	}
	return lost
}

// A node that will not answer is excused by a named person, once and for the record; until then what was known before stands still, and
// what is new goes on.
func TestAnAbsentNodeIsExcused(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	origin.restore(origin.copy(), true, false)
	_, err := origin.Recover(context.Background())
	must(t, err)
	net.settleWithout("sindh")
	wrong(t, origin.dispatch(v.GetName()), fault.Recovering, "restored")
	if err := origin.cancel(v.GetName()); fault.ReasonOf(err) != fault.Recovering {
		t.Errorf("cancelled while it stands still: %v", err)
	}
	request := submitRequest()
	request.RequestId = "request-2"
	fresh, err := origin.SubmitReferral(context.Background(), request)
	must(t, err)
	net.settleWithout("sindh")
	if got := origin.get(fresh.GetName()).GetOffers()[0].GetState(); got != custodyv1.OfferState_OFFER_STATE_RECEIVED {
		t.Errorf("a new referral does not go on: its offer is %v", got)
	}
	excuse := &referralv1.ExcusePeerRequest{Name: "nodes/balochistan/recovery", Node: "sindh", Reason: referralv1.ExcuseReason_EXCUSE_REASON_UNREACHABLE}
	for range 2 {
		shown, err := origin.ExcusePeer(context.Background(), excuse, actor)
		must(t, err)
		if got := shown.GetPeers()[1]; got.GetNode() != "sindh" || got.GetExcusedBy().GetPerson() != actor.GetPerson() {
			t.Errorf("shown is %v", shown)
		}
	}
	rows := 0
	must(t, origin.DB.View(context.Background(), func(r kitstore.Reader) error {
		audit, err := store.Audit.Page(r, 0, 10)
		rows = len(audit)
		return err
	}))
	if rows != 1 {
		t.Errorf("%d rows in the audit log", rows)
	}
	net.heal()
	must(t, origin.dispatch(v.GetName()))
	wrong(t, func() error {
		_, err := origin.ExcusePeer(context.Background(), &referralv1.ExcusePeerRequest{Name: excuse.GetName(), Node: "punjab", Reason: excuse.GetReason()}, actor)
		return err
	}(), fault.WrongState, "nobody")
}

// The federal node has keys for every service, runs no referral service, and would never answer: it is not asked.
func TestTheFederalNodeIsNotAsked(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	n.Roster = withFederal{n.Roster}
	n.restore(n.copy(), true, false)
	shown, err := n.GetRecovery(context.Background(), "nodes/balochistan/recovery")
	must(t, err)
	if len(shown.GetPeers()) != 2 {
		t.Errorf("asked are %v", shown.GetPeers())
	}
}

type withFederal struct{ app.Roster }

func (f withFederal) Nodes() []*identityv1.RosterNode {
	return append(f.Roster.Nodes(), &identityv1.RosterNode{
		Node: "federal", State: identityv1.RosterNode_STATE_ACTIVE, Services: []*identityv1.RosterService{{Service: "referral"}, {Service: "federal"}},
	})
}

// A node that has joined since the copy was made is known when the newer roster is installed. It is asked too, and waited for: it may
// hold what it was told in the time that the restore took away.
func TestANodeOfANewerRosterIsAsked(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	older := &without{n.Roster, "sindh"}
	n.Roster = older
	n.restore(n.copy(), true, false)
	older.node = "" // the newer one is installed
	_, err := n.Recover(context.Background())
	must(t, err)
	waiting := net.settleWithout("sindh")
	wrong(t, n.dispatch(v.GetName()), fault.Recovering, "restored")
	net.sent = append(net.sent, waiting...)
	net.heal()
	shown, err := n.GetRecovery(context.Background(), "nodes/balochistan/recovery")
	must(t, err)
	if peers := shown.GetPeers(); len(peers) != 2 || peers[1].GetNode() != "sindh" || peers[1].GetAnswerTime() == nil {
		t.Errorf("asked are %v", peers)
	}
	must(t, n.dispatch(v.GetName()))
}

// without is a roster that does not name a node yet.
type without struct {
	app.Roster
	node string
}

func (w *without) Nodes() []*identityv1.RosterNode {
	return slices.DeleteFunc(w.Roster.Nodes(), func(n *identityv1.RosterNode) bool { return n.GetNode() == w.node })
}

// A confirmation that the shelter has not answered is queued in the copy that a node is put back to; what is decided again when all have answered is
// what is queued already.
func TestWhatIsQueuedIsNotQueuedAgainAfterARestore(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	origin.AutoConfirm = false
	referral, offer := net.asked()
	punjab.accept(offer)
	net.settle()
	punjab.silent = true
	must(t, origin.confirm(offer))
	net.settle()
	if len(punjab.queue) != 1 {
		t.Fatalf("%d commands are queued", len(punjab.queue))
	}
	old := punjab.copy()
	_, err := origin.EndConsent(background, &referralv1.EndConsentRequest{Name: referral, Note: theNote}, actor)
	must(t, err)
	net.settle()
	punjab.restore(old, true, false)
	net.heal()
	punjab.silent = false
	net.settle()
	if o := punjab.offer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_READY {
		t.Errorf("the offer is %v", o.GetState())
	}
}
