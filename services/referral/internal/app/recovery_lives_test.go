package app_test

import (
	"context"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/soaktest"
)

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
		steps := len(make(newNetwork(t)))
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
	for n := range soaktest.Rounds(t, len(all)/soaktest.Alone(15, 120), len(all)) {
		if runs++; n >= len(all) || !all[n]() {
			break
		}
	}
	t.Logf("%d of %d restores", runs, len(all))
}

func restoredIn(t *testing.T, story func(net *network) []func(), names []string, from, to int) {
	net := newNetwork(t)
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
