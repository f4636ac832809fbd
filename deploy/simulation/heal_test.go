package simulation

import (
	"cmp"
	"fmt"
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
)

// rounds of deadlines that healing waits for at most.
const rounds = 6

// heal delivers and does all that waits, says of each child where it is, and lets deadlines come, until all agree. It answers which
// agreement was not reached, and what was done; empty where it was.
func (x *exploration) heal(s State) (broken string, steps []string) {
	w := x.w
	var way []State
	good := func() (string, []string) {
		for _, one := range way {
			x.sound[one] = true
		}
		return "", nil
	}
	for round := range rounds + 1 {
		for did := true; did; {
			if x.sound[s] {
				return good()
			}
			way = append(way, s)
			did = false
			name, to := w.mend(s, x.sc.Children, len(way))
			if name != "" {
				s, did = w.hear(to), true
				steps = append(steps, name)
			}
			if w.stuck != "" {
				return w.stuck, steps
			}
			if len(steps) > 400 {
				return "HEAL " + cmp.Or(w.disagrees(s, x.sc.Children), "(rest): it never comes to rest"), steps[:40]
			}
			if broken := w.Broken(s, x.sc.Children); broken != "" {
				return broken, steps
			}
		}
		if broken = w.disagrees(s, x.sc.Children); broken == "" {
			return good()
		}
		if round == 0 && !x.sc.Recovers && strings.HasPrefix(broken, "(chain)") {
			return "TOLD " + broken, steps
		}
		to, ok := w.later(s)
		if !ok || round == rounds {
			break
		}
		steps = append(steps, "time passes to "+w.times[to.Now].Format("2 Jan 15:04"))
		s = w.hear(to)
	}
	return "HEAL " + broken, steps
}

// mend does one thing that waits.
func (w *World) mend(s State, children, turn int) (name string, after State) {
	w.network(s, func(n string, to State) {
		if name == "" {
			name, after = n, to
		}
	})
	if name != "" {
		return name, after
	}
	for i, referral := range w.Referrals(s) {
		if i >= children {
			break
		}
		node := int(s.Child[i])
		if to, done := w.welcome(s, node, i, referral, 1000+turn); done {
			return fmt.Sprintf("%s says the child is there%s", Nodes[node], which(w, s, i)), to
		}
	}
	return "", s
}

// disagrees says which agreement is missing.
func (w *World) disagrees(s State, children int) string {
	for i, name := range w.Referrals(s) {
		if i >= children {
			break
		}
		if broken := w.disagreesOn(s, name, Nodes[s.Child[i]]); broken != "" {
			return broken
		}
	}
	for node := range Nodes {
		f := w.Facts(s.At[Referral(node)])
		if f.waiting > 0 {
			return "(letters): " + Nodes[node] + " has letters without receipt"
		}
		if len(w.Commands(s.At[Referral(node)])) > 0 {
			return "(commands): " + Nodes[node] + " has commands without result"
		}
		for _, h := range w.Facts(s.At[Shelter(node)]).holds {
			if held(h) && !w.needed(f, h) {
				return "(holds): " + Nodes[node] + " holds a bed for nobody: its offer is " + custody.OfferStateName(f.offers[h.GetOffer()].GetState())
			}
		}
	}
	return ""
}

// disagreesOn: all parties hold the same chain, and the node where the child is has care.
func (w *World) disagreesOn(s State, name, where string) string {
	var writer *chainFacts
	for node := range Nodes {
		if c := w.Facts(s.At[Referral(node)]).chains[name]; c != nil && c.state.Owner == Nodes[node] {
			writer = c
		}
	}
	if writer == nil {
		return "(owner): nobody owns the referral by its own chain"
	}
	if writer.state.Care != where {
		return fmt.Sprintf("(care): %s has the duty of care and the child is at %s", writer.state.Care, where)
	}
	if d := writer.state.Dispatched; writer.state.State == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT && len(d.GetArrival()) > 0 && d.GetToNode() != where {
		return fmt.Sprintf("(followed): the referral followed a word of %s and the child is at %s", d.GetToNode(), where)
	}
	for node := range Nodes {
		if broken := w.disagreesOnOffers(s, node, name, writer); broken != "" {
			return broken
		}
	}
	for node := range Nodes {
		c := w.Facts(s.At[Referral(node)]).chains[name]
		switch {
		case c == nil && writer.state.Owned(Nodes[node]):
			return "(chain): " + Nodes[node] + " is party to the referral and holds no chain"
		case c == nil || !writer.state.Party(Nodes[node]):
			continue
		case knows(c) != knows(writer):
			return fmt.Sprintf("(chain): %s believes %q where the owner knows %q", Nodes[node], knows(c), knows(writer))
		}
	}
	return ""
}

// knows is what a party must know of a referral: who owns it, who has care, whether it is over.
func knows(c *chainFacts) string {
	over := ""
	if c.state.Terminal() {
		over = ", over"
	}
	return fmt.Sprintf("owner %s, care %s, epoch %d%s", c.state.Owner, c.state.Care, c.state.Epoch, over)
}

// needed says that somebody at the node may still need a hold.
func (w *World) needed(f *facts, h *shelterv1.Hold) bool {
	for name, o := range f.offers {
		if o.GetHold() != h.GetName() && name != h.GetOffer() {
			continue
		}
		if liveOffer(o.GetState()) || o.GetState() == custodyv1.OfferState_OFFER_STATE_FULFILLED {
			return true
		}
	}
	return h.GetOffer() == "" || !strings.Contains(h.GetOffer(), "/offers/")
}

// disagreesOnOffers: where one of an asked unit and the owner knows an offer as chosen or promised, so does the other.
func (w *World) disagreesOnOffers(s State, node int, name string, writer *chainFacts) string {
	f := w.Facts(s.At[Referral(node)])
	for _, o := range writer.state.Offers {
		if o.Return || o.Offered.GetToNode() != Nodes[node] {
			continue
		}
		own := f.offers[name+"/offers/"+o.Hash.String()]
		if o.ReleaseRequested != nil { // a person must answer
			continue
		}
		if (chosenOffer(o.State) || chosenOffer(own.GetState())) && own.GetState() != o.State {
			return fmt.Sprintf("(offer): at %s it is %s, and the owner knows %s", Nodes[node], custody.OfferStateName(own.GetState()), custody.OfferStateName(o.State))
		}
	}
	return ""
}

func chosenOffer(s custodyv1.OfferState) bool {
	return s == custodyv1.OfferState_OFFER_STATE_CONFIRMED || s == custodyv1.OfferState_OFFER_STATE_READY
}
