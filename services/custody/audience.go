package custody

import (
	"iter"
	"slices"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/mutant"
)

// Audience is who hears of an event.
type Audience struct {
	// Chain are the nodes that get the whole chain.
	Chain []string
	// Alone is the node that gets the event by itself, because it was asked and is no party yet; empty for none.
	Alone string
}

// Hears says who hears of the last event of a chain, the writer not among them (DESIGN section 3, "Who receives what"). An asked
// unit gets what concerns its offer, never the chain; the chosen one gets the chain; handovers, arrivals, what is heard of the
// road, ends and corrections go to the origin and all former owners.
func (c *Chain) Hears() Audience {
	if len(c.links) == 0 {
		return Audience{}
	}
	l := c.links[len(c.links)-1]
	s, writer := &c.state, l.Event.GetOwner()
	to := func(nodes ...string) (a Audience) {
		for _, n := range nodes {
			if n != "" && n != writer && !slices.Contains(a.Chain, n) {
				a.Chain = append(a.Chain, n)
			}
		}
		return a
	}
	parties := append([]string{s.Origin, s.Owner}, s.Former...)
	if mutant.Off("notify") {
		parties = append([]string{s.Owner}, s.Former[max(len(s.Former)-1, 0):]...)
	}
	switch b := l.Event.GetBody().(type) {
	case *custodyv1.Event_Submitted:
		return Audience{}
	case *custodyv1.Event_ReplyRecorded:
		// What is heard of a person's safety goes to whoever has the duty of care, and may look for the person.
		if r, err := decodeReply(b.ReplyRecorded.GetReply()); err != nil || r.GetSafetyInformation() == nil {
			return Audience{}
		}
	case *custodyv1.Event_ExternalAnswered: // as a reply; but whoever had the person hears where the person is
		if b.ExternalAnswered.GetArrived() == nil {
			return Audience{}
		}
	case *custodyv1.Event_Offered:
		return Audience{Alone: b.Offered.GetToNode()}
	case *custodyv1.Event_Confirmed:
		return to(s.Offer(b.Confirmed.GetOffer()).Offered.GetToNode())
	case *custodyv1.Event_OfferWithdrawn, *custodyv1.Event_OfferExpired, *custodyv1.Event_Answered, *custodyv1.Event_ReleaseRefused:
		o := s.Offer(OfferOf(l.Event))
		if o.Return { // who asks the person back holds the chain, and knows the offer from it alone
			return to(o.Offered.GetToNode())
		}
		return Audience{Alone: o.Offered.GetToNode()}
	case *custodyv1.Event_ConsentEnded, *custodyv1.Event_Corrected, *custodyv1.Event_Completed: // also who gives a service, and owns nothing
		if chosen := s.Chosen(); chosen != nil {
			parties = append(parties, chosen.Offered.GetToNode())
		}
	}
	return to(parties...)
}

// Prefixes gives, for each event, the chain as it was when that was the last. Each is only good until the next.
func (c *Chain) Prefixes() iter.Seq2[int, *Chain] {
	return func(yield func(int, *Chain) bool) {
		before := &Chain{}
		for i, l := range c.links {
			// c is folded, so each part of it is.
			if before.take(l.Signed) != nil || !yield(i, before) {
				return
			}
		}
	}
}

// Shared is the last event that two nodes, each of which began the referral, owns or owned it, both know by these rules; false where
// there is none, or where the referral is over with it. Two copies of a chain have the same when neither lacks what it should have heard.
// Who refused a handover never took it in.
func (c *Chain) Shared(a, b string) (shared Hash, open bool) {
	for i, before := range c.Prefixes() {
		l, hears := c.links[i], before.Hears()
		if i+1 < len(c.links) && c.links[i+1].Event.GetHandoverRefused() != nil {
			refused := l.Event.GetDispatched().GetToNode()
			hears.Chain = slices.DeleteFunc(hears.Chain, func(node string) bool { return node == refused })
		}
		knows := func(node string) bool { return l.Event.GetOwner() == node || slices.Contains(hears.Chain, node) }
		if s := &before.state; knows(a) && knows(b) && s.Owned(a) && s.Owned(b) {
			shared, open = l.Hash, !s.Terminal()
		}
	}
	return shared, open
}

// Has says whether the chain has an event, by its hash.
func (c *Chain) Has(event Hash) bool { return c.state.events[event] != nil }

// Party says whether a node may have the chain: the origin, every owner, and the destination that is chosen.
func (s *State) Party(node string) bool {
	if s.Owned(node) {
		return true
	}
	chosen := s.Chosen()
	return chosen != nil && chosen.Offered.GetToNode() == node
}
