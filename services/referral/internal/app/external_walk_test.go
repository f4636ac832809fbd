package app_test

import (
	mathrand "math/rand/v2"

	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// nodeOf is the node of an offer; for one to an agency outside the network some other, which was not asked.
func (net *network) nodeOf(rnd *mathrand.Rand, offer *referralv1.Offer) *node {
	if n := net.nodes[offer.GetToNode()]; n != nil {
		return n
	}
	return net.nodes[[]string{"punjab", "sindh"}[rnd.IntN(2)]]
}

// agencyMove lets a node enter something for an agency outside the network: mostly what comes next, else anything, also for a unit.
func (net *network) agencyMove(rnd *mathrand.Rand, n *node, name string) string {
	offers := n.get(name).GetOffers()
	offer := offers[rnd.IntN(len(offers))]
	entries := []*said{
		saysReceived(), saysYes(), saysReady(), saysCame(), saysGiven(), saysOutcome(), saysNo(), takesBack(), net.saysLater(),
	}
	if rnd.IntN(8) == 0 {
		_ = n.enter(offer.GetName(), entries[rnd.IntN(len(entries))])
		return "an agency says something"
	}
	before := n.get(name).GetSequence()
	for _, o := range offers { // what is possible is entered, a step of one of them
		for _, says := range entries[rnd.IntN(2):6] {
			if n.enter(o.GetName(), says) == nil && n.get(name).GetSequence() > before {
				if says.GetAccepted() != nil && rnd.IntN(2) == 0 {
					_ = n.confirm(o.GetName())
				}
				if says.GetReady() != nil && rnd.IntN(2) == 0 {
					_ = n.dispatch(name)
				}
				return "an agency goes on"
			}
		}
	}
	return "no agency says anything"
}

// wentOutside counts the arrivals at agencies outside the network that the first owner has entered.
func (net *network) wentOutside(name string) (count int) {
	for _, n := range net.nodes {
		if !n.holdsChain(name) || n.get(name).GetOriginNode() != n.Node {
			continue
		}
		for _, l := range net.chain(n, name).Links() {
			if l.Event.GetExternalAnswered().GetArrived() != nil {
				count++
			}
		}
	}
	return count
}
