package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
)

// Broken says which invariant does not hold in a state, beginning with its name; empty for none.
func (w *World) Broken(s State, children int) string {
	for p, id := range s.At {
		if broken := w.brokenAlone(Place(p), id); broken != "" {
			return broken
		}
	}
	for i, name := range w.Referrals(s) {
		if broken := w.brokenReferral(s, name); broken != "" {
			if i > 0 {
				broken += " (child 2)"
			}
			return broken
		}
	}
	for node := range Nodes {
		if broken := w.brokenPromises(s, node); broken != "" {
			return broken
		}
	}
	return w.brokenTogether(s)
}

// brokenAlone judges a service's state by itself.
func (w *World) brokenAlone(p Place, id ID) string {
	f := w.Facts(id)
	node := Nodes[p.Node()]
	switch {
	case f.forks > 0:
		return "FORK: " + node + " holds a chain that contradicts its own"
	case f.refused > 0:
		return "REFUSED: " + node + " has a letter in quarantine (" + f.why + ")"
	case f.stranger != "":
		return "I7 (unit): at " + node + " " + f.stranger + " answers for a deadline"
	}
	for name, c := range f.chains {
		if c.wrong != "" {
			return "CHAIN: at " + node + " " + c.wrong
		}
		if c.state.Owned(node) && !c.state.Terminal() && !f.deadlines[name] && !f.recovering {
			return "I7 (deadline): " + node + " owns or owned a live referral and has no deadline for it"
		}
	}
	for name, o := range f.offers {
		if liveOffer(o.GetState()) && !f.deadlines[name] && !f.recovering {
			return fmt.Sprintf("I7 (deadline): an offer to %s is %s and has no deadline", node, custody.OfferStateName(o.GetState()))
		}
	}
	return w.brokenBeds(node, f)
}

func liveOffer(s custodyv1.OfferState) bool {
	switch s {
	case custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED, custodyv1.OfferState_OFFER_STATE_WAITLISTED,
		custodyv1.OfferState_OFFER_STATE_ACCEPTING, custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED,
		custodyv1.OfferState_OFFER_STATE_READY:
		return true
	}
	return false
}

func held(h *shelterv1.Hold) bool {
	return h.GetState() == shelterv1.Hold_STATE_HELD || h.GetState() == shelterv1.Hold_STATE_CONFIRMED
}

// brokenBeds: no group has more taken than it has, and no offer two holds.
func (w *World) brokenBeds(node string, f *facts) string {
	taken, holds := map[string]int32{}, map[string]bool{}
	for _, h := range f.holds {
		if !held(h) {
			continue
		}
		if h.GetOffer() != "" && holds[h.GetOffer()] {
			return "BED FOR TWO HOLDS: " + node + " holds twice for one offer"
		}
		holds[h.GetOffer()] = true
		if len(h.GetParts()) == 0 {
			taken[h.GetGroup()] += h.GetQuantity()
		}
		for _, part := range h.GetParts() {
			taken[part.GetGroup()] += part.GetQuantity()
		}
	}
	for _, stay := range f.stays {
		if stay.GetState() != shelterv1.Stay_STATE_DISCHARGED {
			taken[stay.GetGroup()] += stay.GetQuantity()
		}
	}
	for group, n := range taken {
		beds := w.rules.Beds
		if strings.HasSuffix(group, "children") {
			beds = w.rules.SecondBeds
		}
		if n > beds {
			return fmt.Sprintf("CAPACITY: %s has %d beds in a group and %d are taken", node, beds, n)
		}
	}
	return ""
}

// brokenReferral judges what the nodes hold of one referral together.
func (w *World) brokenReferral(s State, name string) string {
	var writers, carers []string
	longest := []custody.Link{}
	for node := range Nodes {
		f := w.Facts(s.At[Referral(node)])
		if f.recovering || f.asserted[name] { // who was restored asks everybody what it has forgotten
			carers = append(carers, Nodes[node])
		}
		c := f.chains[name]
		if c == nil {
			continue
		}
		if c.state.Owner == Nodes[node] && !f.recovering {
			writers = append(writers, Nodes[node])
		}
		if c.state.Care == Nodes[node] {
			carers = append(carers, Nodes[node])
		}
		links := c.chain.Links()
		for i := range min(len(links), len(longest)) {
			if links[i].Hash != longest[i].Hash {
				return fmt.Sprintf("FORK: two different events stand at position %d", i+1)
			}
		}
		if len(links) > len(longest) {
			longest = links
		}
		if !c.promised {
			return "READY (sent): a child is sent to a place that did not promise"
		}
	}
	switch {
	case len(writers) > 1:
		return "I1 (one writer): " + strings.Join(writers, " and ") + " may write"
	case len(carers) == 0:
		return "I6 (care): nobody has the duty of care"
	}
	return ""
}

// has says that a node says it has the person.
func (f *facts) has(referral, node string) bool {
	return f.asserted[referral] || f.chains[referral] != nil && f.chains[referral].state.Care == node
}

// brokenPromises: a place that is promised has a hold that is confirmed, or is taken; but for a person who came before it was.
func (w *World) brokenPromises(s State, node int) string {
	f, beds := w.Facts(s.At[Referral(node)]), w.Facts(s.At[Shelter(node)])
	for _, name := range slices.Sorted(maps.Keys(f.offers)) {
		o := f.offers[name]
		if w.rules.Keeps && o.GetReleaseReason() != "" {
			return "PROMISE (kept): " + Nodes[node] + " has promised a place and lost it"
		}
		if beds.closed || f.recovering || o.GetReleaseReason() != "" || o.GetHold() == "" {
			continue
		}
		i := slices.IndexFunc(beds.holds, func(h *shelterv1.Hold) bool { return h.GetName() == o.GetHold() })
		firm := i >= 0 && (beds.holds[i].GetState() == shelterv1.Hold_STATE_CONFIRMED || beds.holds[i].GetState() == shelterv1.Hold_STATE_OCCUPIED)
		switch o.GetState() {
		case custodyv1.OfferState_OFFER_STATE_READY:
			if !firm && !f.has(referralOf(name), Nodes[node]) {
				return "READY: " + Nodes[node] + " has promised a place without a confirmed hold"
			}
		case custodyv1.OfferState_OFFER_STATE_FULFILLED:
			if c := f.chains[referralOf(name)]; !firm && c != nil && c.stays(Nodes[node]) {
				return "BED (here): " + Nodes[node] + " has a child without the bed that was promised"
			}
		}
	}
	return ""
}

// brokenTogether: those who go together are sent together, to one unit.
func (w *World) brokenTogether(s State) string {
	f := w.Facts(s.At[Referral(0)])
	for name, c := range f.chains {
		for _, other := range c.state.Submitted.GetTogether() {
			o := f.chains[other]
			if o == nil {
				return "PARTED: one of those who go together is not there"
			}
			a, _ := sentTo(c.chain)
			if b, _ := sentTo(o.chain); a != b {
				return fmt.Sprintf("PARTED: %s was sent to %q and the other to %q", name, a, b)
			}
		}
	}
	return ""
}

// sentTo is where the first handover went, and who wrote it; empty for none, and for one that followed a person who had gone already.
func sentTo(c *custody.Chain) (to, by string) {
	for _, l := range c.Links() {
		if d := l.Event.GetDispatched(); d != nil {
			if len(d.GetArrival()) > 0 {
				break
			}
			return d.GetToNode(), l.Event.GetOwner()
		}
	}
	return "", ""
}
