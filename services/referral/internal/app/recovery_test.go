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
	"amanat.example/services/custody"
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
				must(net.t, err)
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
	steps := len(newNetworkOn(t, true).path())
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
	for n := range soaktest.Rounds(t, len(all)/8, len(all)) {
		if runs++; n >= len(all) || !all[n]() {
			break
		}
	}
	t.Logf("%d of %d restores", runs, len(all))
}

func restoredOnce(t *testing.T, name string, from, to int, lost, resend bool) {
	net := newNetworkOn(t, true)
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

// stories are lives of referrals with other turns than the plain path: those who go together, a child who travels first, a return.
var stories = map[string]func(net *network) []func(){
	"together": func(net *network) []func() {
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		var family []*referralv1.Referral
		return []func(){
			func() { family = net.family() },
			func() { net.acceptAll(dest, family) },
			net.settle,
			func() { must(net.t, origin.dispatch(family[0].GetName())) },
			net.settle,
			func() { must(net.t, dest.arrive(family[0].GetName())) },
			func() { must(net.t, dest.arrive(family[1].GetName())) },
			net.settle,
		}
	},
	"travelled first": func(net *network) []func() {
		origin, elsewhere := net.nodes["balochistan"], net.nodes["sindh"]
		var name string
		return []func(){
			func() { name = net.submit().GetName() },
			net.settle,
			func() {
				_, err := elsewhere.AssertArrival(context.Background(), &referralv1.AssertArrivalRequest{
					Name: name, Unit: karachi, Identification: []string{"REFERRAL_SLIP"},
				}, actor)
				must(net.t, err)
			},
			net.settle,
			func() { must(net.t, elsewhere.serve(name)) },
			net.settle,
			func() { must(net.t, origin.askBack(name)) },
			net.settle,
		}
	},
	"there and back": func(net *network) []func() {
		origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
		var name string
		return []func(){
			func() { name = net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE).GetName() },
			func() { must(net.t, origin.askBack(name)) },
			net.settle,
			func() { must(net.t, dest.confirm(dest.lastOffer(name).GetName())) },
			net.settle,
			func() { must(net.t, dest.dispatch(name)) },
			net.settle,
			func() { must(net.t, origin.arrive(name)) },
			net.settle,
		}
	},
}

// In lives with other turns, with one or two nodes restored at any moment, and letters of earlier lives that come when all is over: nobody
// writes two events at one position, and all who have or had the person know the same in the end.
func TestRestoredInOtherLives(t *testing.T) {
	names := []string{"balochistan", "punjab", "sindh"}
	var all []func() bool
	for story, make := range stories {
		steps := len(make(newNetworkOn(t, true)))
		for from := range steps {
			for to := from + 1; to <= steps; to++ {
				for i, name := range names {
					for _, also := range []string{"", names[(i+1)%3]} {
						all = append(all, func() bool {
							what := fmt.Sprintf("%s: %s %s from %d at %d", story, name, also, from, to)
							return t.Run(what, func(t *testing.T) { restoredIn(t, make, []string{name, also}, from, to) })
						})
					}
				}
			}
		}
	}
	mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	runs := 0
	for n := range soaktest.Rounds(t, len(all)/6, len(all)) {
		if runs++; n >= len(all) || !all[n]() {
			break
		}
	}
	t.Logf("%d of %d restores", runs, len(all))
}

func restoredIn(t *testing.T, story func(net *network) []func(), names []string, from, to int) {
	net := newNetworkOn(t, true)
	steps := story(net)
	for _, step := range steps[:from] {
		step()
	}
	copies := map[string]copied{}
	for _, name := range names {
		if name != "" {
			copies[name] = net.nodes[name].copy()
		}
	}
	for _, step := range steps[from:to] {
		step()
	}
	if len(net.sent) > 1 { // of what is under way one letter came
		net.deliver((from + to) % len(net.sent))
	}
	var late []mail
	for _, name := range slices.Sorted(maps.Keys(copies)) {
		for _, m := range net.sent {
			if m.from == name {
				late = append(late, m)
			}
		}
		net.nodes[name].restore(copies[name], true, false)
	}
	for name := range copies {
		for _, referral := range net.all() {
			net.nodes[name].tryAll(referral)
		}
	}
	net.heal()
	net.agreed()
	net.sent = append(net.sent, late...)
	net.heal()
	net.agreed()
}

// tryAll has the people of a restored node go on as if nothing had happened, whatever the service says to it.
func (n *node) tryAll(referral string) {
	n.t.Helper()
	ctx := context.Background()
	allowed := func(err error) {
		n.t.Helper()
		if reason := fault.ReasonOf(err); err != nil && reason != fault.Recovering && reason != fault.WrongState && reason != fault.Missing && reason != fault.NotOwner {
			n.t.Errorf("%s: %v", n.Node, err)
		}
	}
	if o := n.firstOffer(referral); o != nil {
		_, err := n.DeclineOffer(ctx, &referralv1.DeclineOfferRequest{Name: o.GetName(), Reason: "TOO_FAR"}, actor)
		allowed(err)
	}
	if !n.holdsChain(referral) {
		return
	}
	for _, do := range []func() error{
		func() error { return n.dispatch(referral) },
		func() error { return n.arrive(referral) },
		func() error { return n.serve(referral) },
		func() error { _, err := n.CompleteReferral(ctx, completeRequest(referral)); return err },
		func() error { return n.askBack(referral) },
		func() error { return n.cancel(referral) },
	} {
		allowed(do())
	}
}

// all are the referrals that somebody knows of.
func (net *network) all() (names []string) {
	for _, n := range net.nodes {
		list, err := n.ListReferrals(context.Background(), &referralv1.ListReferralsRequest{Parent: "nodes/" + n.Node})
		must(net.t, err)
		for _, v := range list.GetReferrals() {
			if !slices.Contains(names, v.GetName()) {
				names = append(names, v.GetName())
			}
		}
	}
	return names
}

// agreed holds that nobody was given chains that contradict each other, and that who has or had a person knows the same of it.
func (net *network) agreed() {
	net.t.Helper()
	for _, n := range net.nodes {
		if len(n.eventsOf("referral.referral.forked.v1")) > 0 {
			net.t.Errorf("%s was given two chains that contradict each other", n.Node)
		}
		list, err := n.ListReferrals(context.Background(), &referralv1.ListReferralsRequest{Parent: "nodes/" + n.Node})
		must(net.t, err)
		for _, v := range list.GetReferrals() {
			mine := n.chain(v.GetName())
			for _, other := range net.nodes {
				if other == n || !mine.State().Owned(other.Node) {
					continue
				}
				if !other.holdsChain(v.GetName()) {
					net.t.Errorf("%s does not know the referral it has or had by %s", other.Node, n.Node)
					continue
				}
				a, _ := mine.Shared(n.Node, other.Node)
				b, _ := other.chain(v.GetName()).Shared(n.Node, other.Node)
				if a != b {
					net.t.Errorf("%s and %s do not know the same of %s", n.Node, other.Node, v.GetName())
				}
			}
		}
	}
}

// chain is what a node holds.
func (n *node) chain(name string) *custody.Chain {
	n.t.Helper()
	m, err := n.GetCustodyChain(context.Background(), name)
	must(n.t, err)
	c, err := custody.Load(m.GetEvents()...)
	must(n.t, err)
	return c
}

// A node that will not answer is excused by a named person, once and for the record; until then what was known before stands still, and
// what is new goes on.
func TestAnAbsentNodeIsExcused(t *testing.T) {
	net := newNetworkOn(t, true)
	origin := net.nodes["balochistan"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	origin.restore(origin.copy(), true, false)
	absent := func(m mail) bool { return m.out.To.GetNode() == "sindh" || m.from == "sindh" }
	carry := func() {
		net.sent = slices.DeleteFunc(net.sent, absent)
		for len(net.sent) > 0 || slices.ContainsFunc(slices.Collect(maps.Values(net.nodes)), func(n *node) bool { return len(n.queue) > 0 }) {
			net.settle()
			net.sent = slices.DeleteFunc(net.sent, absent)
		}
	}
	_, err := origin.Recover(context.Background())
	must(t, err)
	carry()
	wrong(t, origin.dispatch(v.GetName()), fault.Recovering, "restored")
	if err := origin.cancel(v.GetName()); fault.ReasonOf(err) != fault.Recovering {
		t.Errorf("cancelled while it stands still: %v", err)
	}
	request := submitRequest()
	request.RequestId = "request-2"
	fresh, err := origin.SubmitReferral(context.Background(), request)
	must(t, err)
	carry()
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
	net := newNetworkOn(t, true)
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
