package custody_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/soaktest"
)

// bounds of an exploration: the states are those of a chain with at most so many offers, requests to return among them, and so
// many ownerships; outside says that one of them, at most, goes to an agency outside the network. Unless all is wanted, what only delays an answer is left out: question, waitlist, request for release, check-in.
type bounds struct {
	kind    custodyv1.ReferralKind
	offers  int
	epochs  uint32
	all     bool
	outside bool
}

func (b bounds) String() string {
	return fmt.Sprintf("%v, at most %d offers and %d ownerships, all replies: %v, an agency outside: %v", b.kind, b.offers, b.epochs, b.all, b.outside)
}

// plainSigner signs nothing: who signs is not what is explored.
type plainSigner struct{}

func (plainSigner) Sign(string, []byte) []byte { return make([]byte, 64) }

// move is something that one node might write.
type move struct {
	name  string
	node  string
	event *custodyv1.Event
}

// event makes a move of a body.
func event(name, node string, e *custodyv1.Event) move {
	e.Time = timestamppb.New(now)
	return move{name, node, e}
}

// recorded makes a move of a reply that the owner takes in.
func recorded(c *custody.Chain, name, by string, r *custodyv1.Reply) move {
	signed := signedReply(by, r)
	return event("record "+name+" of "+by, c.State().Owner, &custodyv1.Event{Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}}})
}

func signedReply(by string, r *custodyv1.Reply) *custodyv1.SignedReply {
	r.Referral, r.Node, r.Time = referral, by, timestamppb.New(now)
	signed, err := custody.SignReply(plainSigner{}, r)
	if err != nil {
		panic(err)
	}
	return signed
}

// moves are all that anybody might write next, legal or not.
func moves(c *custody.Chain, bound bounds) (all []move) {
	s := c.State()
	add := func(m ...move) {
		for _, one := range m {
			verb, _, _ := strings.Cut(strings.TrimPrefix(one.name, "record "), " ")
			if bound.all || !slices.Contains([]string{"question", "waitlist", "release", "refuse", "answer", "check", "expire"}, verb) {
				all = append(all, one)
			}
		}
	}
	offer := func(to string) *custodyv1.Event {
		return &custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
			ToNode: to, ToUnit: "nodes/" + to + "/units/one", Needs: needs, Kind: bound.kind, AnswerBy: timestamppb.New(now.Add(time.Hour)),
		}}}
	}
	for _, node := range nodes {
		if len(s.Offers) < bound.offers {
			for _, to := range nodes {
				add(event("offer to "+to, node, offer(to)))
			}
			if bound.outside && !slices.ContainsFunc(s.Offers, (*custody.Offer).External) {
				e := offer("")
				e.GetOffered().ToUnit, e.GetOffered().External = "", &custodyv1.ExternalAgency{Kind: "NGO", Asking: make([]byte, 16)}
				add(event("offer to an agency", node, e))
			}
		}
		add(
			event("arrive", node, &custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: &custodyv1.Arrived{}}}),
			event("no-show", node, &custodyv1.Event{Body: &custodyv1.Event_NoShow{NoShow: &custodyv1.NoShow{}}}),
			event("check in", node, &custodyv1.Event{Body: &custodyv1.Event_CheckedIn{CheckedIn: &custodyv1.CheckedIn{}}}),
			event("serve", node, &custodyv1.Event{Body: &custodyv1.Event_ServiceStarted{ServiceStarted: &custodyv1.ServiceStarted{}}}),
			event("complete", node, &custodyv1.Event{Body: &custodyv1.Event_Completed{Completed: &custodyv1.Completed{Outcome: "REUNIFIED"}}}),
			event("cancel", node, &custodyv1.Event{Body: &custodyv1.Event_Cancelled{Cancelled: &custodyv1.Cancelled{Reason: "NOT_NEEDED"}}}),
			event("expire", node, &custodyv1.Event{Body: &custodyv1.Event_Expired{Expired: &custodyv1.Expired{}}}),
			event("returned", node, &custodyv1.Event{Body: &custodyv1.Event_Returned{Returned: &custodyv1.Returned{}}}),
		)
		if h := s.Handover; h != nil {
			refusal := signedReply(s.Owner, &custodyv1.Reply{Body: &custodyv1.Reply_Refused{Refused: &custodyv1.Refused{Dispatched: h.Event.Bytes()}}})
			add(event("handover refused", node, &custodyv1.Event{Body: &custodyv1.Event_HandoverRefused{HandoverRefused: &custodyv1.HandoverRefused{Refusal: refusal}}}))
		}
		for hash, a := range s.Assertions {
			add(event("dispatch after "+a.Node, node, &custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{ToNode: a.Node, Arrival: hash.Bytes()}}}))
		}
	}
	for i, o := range s.Offers {
		for _, node := range nodes {
			for name, e := range map[string]*custodyv1.Event{
				"withdraw":       {Body: &custodyv1.Event_OfferWithdrawn{OfferWithdrawn: &custodyv1.OfferWithdrawn{Offer: o.Hash.Bytes()}}},
				"expire":         {Body: &custodyv1.Event_OfferExpired{OfferExpired: &custodyv1.OfferExpired{Offer: o.Hash.Bytes()}}},
				"answer":         {Body: &custodyv1.Event_Answered{Answered: &custodyv1.Answered{Offer: o.Hash.Bytes(), Question: o.Asked}}},
				"refuse release": {Body: &custodyv1.Event_ReleaseRefused{ReleaseRefused: &custodyv1.ReleaseRefused{Offer: o.Hash.Bytes()}}},
				"confirm":        {Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{Offer: o.Hash.Bytes()}}},
				"dispatch": {Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{
					Offer: o.Hash.Bytes(), ToNode: o.Offered.GetToNode(), ExpectTime: timestamppb.New(now),
				}}},
				"dispatch at home": {Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{
					Offer: o.Hash.Bytes(), ToNode: s.Owner, ExpectTime: timestamppb.New(now),
				}}},
			} {
				add(event(fmt.Sprintf("%s %d", name, i+1), node, e))
			}
			if bound.outside { // for a unit of the network too, to see it refused
				for name, b := range entries(now) {
					b.Offer = o.Hash.Bytes()
					add(event(fmt.Sprintf("%s %d entered", name, i+1), node, &custodyv1.Event{Body: &custodyv1.Event_ExternalAnswered{ExternalAnswered: b}}))
				}
			}
			for name, r := range answers(now) {
				r.Offer = o.Hash.Bytes()
				add(recorded(c, fmt.Sprintf("%s %d", name, i+1), node, r))
			}
		}
	}
	for _, node := range nodes {
		if len(s.Offers) < bound.offers {
			add(recorded(c, "return", node, &custodyv1.Reply{Body: &custodyv1.Reply_ReturnRequested{ReturnRequested: &custodyv1.ReturnRequested{Epoch: s.Epoch, Ordinal: s.Returns}}}))
		}
		add(
			recorded(c, "arrival", node, &custodyv1.Reply{Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: s.Arrivals[node] + 1}}}),
		)
	}
	return all
}

// answers are the replies to an offer.
func answers(at time.Time) map[string]*custodyv1.Reply {
	return map[string]*custodyv1.Reply{
		"received":  {Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}},
		"question":  {Body: &custodyv1.Reply_Question{Question: &custodyv1.Question{}}},
		"waitlist":  {Body: &custodyv1.Reply_Waitlisted{Waitlisted: &custodyv1.Waitlisted{ReviewTime: timestamppb.New(at)}}},
		"accepted":  {Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{}}},
		"declined":  {Body: &custodyv1.Reply_Declined{Declined: &custodyv1.Declined{}}},
		"withdrawn": {Body: &custodyv1.Reply_AcceptanceWithdrawn{AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{}}},
		"ready":     {Body: &custodyv1.Reply_Ready{Ready: &custodyv1.Ready{}}},
		"release":   {Body: &custodyv1.Reply_ReleaseRequested{ReleaseRequested: &custodyv1.ReleaseRequested{}}},
		"service":   {Body: &custodyv1.Reply_ServiceGiven{ServiceGiven: &custodyv1.ServiceGiven{}}},
		"outcome":   {Body: &custodyv1.Reply_OutcomeReported{OutcomeReported: &custodyv1.OutcomeReported{}}},
	}
}

// entries are what can be entered for an agency outside the network.
func entries(at time.Time) map[string]*custodyv1.ExternalAnswered {
	all := map[string]*custodyv1.ExternalAnswered{
		"received":  {Body: &custodyv1.ExternalAnswered_Received{Received: &custodyv1.Received{}}},
		"waitlist":  {Body: &custodyv1.ExternalAnswered_Waitlisted{Waitlisted: &custodyv1.Waitlisted{ReviewTime: timestamppb.New(at)}}},
		"accepted":  {Body: &custodyv1.ExternalAnswered_Accepted{Accepted: &custodyv1.Accepted{}}},
		"declined":  {Body: &custodyv1.ExternalAnswered_Declined{Declined: &custodyv1.Declined{}}},
		"withdrawn": {Body: &custodyv1.ExternalAnswered_AcceptanceWithdrawn{AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{}}},
		"ready":     {Body: &custodyv1.ExternalAnswered_Ready{Ready: &custodyv1.Ready{}}},
		"came":      {Body: &custodyv1.ExternalAnswered_Arrived{Arrived: &custodyv1.Arrived{}}},
		"service":   {Body: &custodyv1.ExternalAnswered_ServiceGiven{ServiceGiven: &custodyv1.ServiceGiven{}}},
		"outcome":   {Body: &custodyv1.ExternalAnswered_OutcomeReported{OutcomeReported: &custodyv1.OutcomeReported{}}},
	}
	for _, b := range all {
		b.SayTime, b.Means = timestamppb.New(at), "PHONE"
	}
	return all
}

// summary is all of a state that decides what may follow. The two nodes that are not the origin can stand for each other.
func summary(c *custody.Chain) string {
	one := summaryOf(c)
	other := strings.NewReplacer("punjab", "sindh", "sindh", "punjab").Replace(summaryOf(c, "sindh", "punjab"))
	return min(one, other)
}

func summaryOf(c *custody.Chain, swapped ...string) string {
	order := nodes
	if len(swapped) > 0 {
		order = append([]string{"balochistan"}, swapped...)
	}
	s := c.State()
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %d %v %v|", s.State, s.Owner, s.Care, s.Epoch, s.Handover != nil, s.Outside)
	for _, o := range s.Offers {
		fmt.Fprintf(&b, "%s %d %v %v %v;", o.Offered.GetToNode(), o.State, o.Return, o.ReleaseRequested != nil, o.Outcome != nil)
	}
	for _, n := range order {
		open := false
		for _, a := range s.Assertions {
			open = open || a.Node == n && s.Care != n && a.Arrival.GetOrdinal() == s.Arrivals[n]+1
		}
		fmt.Fprintf(&b, " %v %d %v", slices.Contains(s.Former, n), s.Arrivals[n], open)
	}
	// What a fallen choice falls back to is not shown: try.
	fmt.Fprintf(&b, "|%s", fallsBackTo(c))
	return b.String()
}

func fallsBackTo(c *custody.Chain) string {
	chosen := c.State().Chosen()
	if chosen == nil || !chosen.Live() {
		return ""
	}
	fallen := c.Clone()
	_, err := fallen.Append(plainSigner{}, c.State().Owner, event("", "", &custodyv1.Event{Body: &custodyv1.Event_OfferWithdrawn{OfferWithdrawn: &custodyv1.OfferWithdrawn{Offer: chosen.Hash.Bytes()}}}).event)
	if err != nil {
		return err.Error()
	}
	return custody.StateName(fallen.State().State)
}

// explored is a state that was reached, and how.
type explored struct {
	chain  *custody.Chain
	from   string
	by     string
	next   []string
	depth  int
	leaves bool // a bound kept something from being tried
}

// trace says how a state was reached.
func trace(all map[string]*explored, at string) string {
	var steps []string
	for at != "" {
		steps = append(steps, all[at].by)
		at = all[at].from
	}
	slices.Reverse(steps)
	return strings.Join(steps, ", ")
}

// Every state that a chain can reach within bounds, each tried with every move of every node: what is allowed keeps the
// invariants, and from everywhere the referral can come to an end and an arrival can be taken in.
func TestEveryReachableState(t *testing.T) {
	placement, service := custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	usual := soaktest.Alone(3, 1) // those after them take minutes
	all := []bounds{
		{service, 2, 2, true, true},
		{placement, 1, 3, true, true},
		{placement, 2, 2, false, true},
		{placement, 2, 2, true, true},
		{placement, 2, 3, false, true},
		{placement, 3, 2, false, false},
	}
	for n := range soaktest.Rounds(t, usual, len(all)) {
		if n == len(all) {
			break
		}
		t.Run(all[n].String(), func(t *testing.T) { explore(t, all[n]) })
	}
}

func explore(t *testing.T, bound bounds) {
	begin := &custody.Chain{}
	first := submitted()
	first.GetSubmitted().Kind = bound.kind
	if _, err := begin.Append(plainSigner{}, "balochistan", first); err != nil {
		t.Fatal(err)
	}
	all := map[string]*explored{summary(begin): {chain: begin, by: "submit"}}
	queue := []string{summary(begin)}
	tried, deepest := 0, 0
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		e := all[at]
		seen := map[string]bool{}
		fresh := e.chain.Clone()
		for _, m := range moves(e.chain, bound) {
			tried++
			if _, err := fresh.Append(plainSigner{}, m.node, m.event); err != nil {
				continue // and fresh is as it was: what follows from it is compared with what its bytes say
			}
			c := fresh
			fresh = e.chain.Clone()
			if problem := broken(e.chain, c, m); problem != "" {
				t.Fatalf("%s: after %s, %s", problem, trace(all, at), m.name)
			}
			if c.State().Epoch > bound.epochs {
				e.leaves = true
				continue
			}
			to := summary(c)
			if !seen[to] {
				seen[to] = true
				e.next = append(e.next, to)
			}
			if all[to] == nil {
				all[to] = &explored{chain: c, from: at, by: m.name, depth: e.depth + 1}
				deepest = max(deepest, e.depth+1)
				queue = append(queue, to)
			}
		}
		if len(e.chain.State().Offers) == bound.offers {
			e.leaves = true
		}
		if summary(e.chain) != at {
			t.Fatalf("a state was changed by moves on its clones: %s", trace(all, at))
		}
		if bound.kind == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT {
			arrivalIsTaken(t, all, at)
		}
	}
	ends(t, all)
	t.Logf("%d states, %d moves tried, the deepest after %d events", len(all), tried, deepest)
}

// broken says which invariant a step breaks; empty for none.
func broken(before, after *custody.Chain, m move) string {
	was, is := before.State(), after.State()
	handsOver := m.event.GetDispatched() != nil || m.event.GetHandoverRefused() != nil
	switch {
	case m.event.GetHandoverRefused() == nil && m.node != was.Owner:
		return "I1: somebody else than the owner wrote"
	case m.event.GetHandoverRefused() != nil && m.node != was.Handover.By:
		return "I1: somebody else than its writer took a handover back"
	case is.Owner == "" || is.Care == "":
		return "I7: nobody owns the referral, or has the person"
	case (is.Epoch != was.Epoch) != handsOver || !handsOver && is.Owner != was.Owner:
		return "I1: ownership changed without a handover"
	case (is.Care != was.Care) && (m.event.GetArrived() == nil || is.Care != is.Owner):
		return "I6: the duty of care moved without an arrival at its new holder"
	case m.event.GetDispatched() != nil && is.Owner != was.Owner && !slices.Contains(is.Former, was.Owner):
		return "I7: a former owner is forgotten"
	case slices.Contains(is.Former, is.Owner):
		return "the owner is a former owner"
	case was.Terminal() && !is.Terminal() && m.event.GetReplyRecorded() != nil:
		return "a reply reopened what was over"
	case is.Outside && (is.Owner != is.Origin || is.Care != is.Origin || is.Handover != nil):
		return "I1, I6: an agency outside the network has taken something over"
	case m.event.GetExternalAnswered() != nil && !before.State().Offer(m.event.GetExternalAnswered().GetOffer()).External():
		return "I3: an answer was entered for a unit of the network"
	case m.event.GetReplyRecorded() != nil && before.State().Offer(custody.Recorded(m.event).GetOffer()) != nil && before.State().Offer(custody.Recorded(m.event).GetOffer()).External():
		return "a node answered for an agency outside the network"
	case is.State == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT && m.event.GetDispatched() != nil && len(m.event.GetDispatched().GetArrival()) == 0 && was.State != custodyv1.ReferralState_REFERRAL_STATE_READY:
		return "dispatched to a place that was not promised"
	}
	chosen, back := 0, 0
	for _, o := range is.Offers {
		if o.Return && o.Live() {
			back++
		}
		if o.State == custodyv1.OfferState_OFFER_STATE_CONFIRMED || o.State == custodyv1.OfferState_OFFER_STATE_READY {
			chosen++
		}
	}
	want := 0
	if is.State == custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED || is.State == custodyv1.ReferralState_REFERRAL_STATE_READY {
		want = 1
	}
	switch {
	case back > 1:
		return "two requests to return stand at once"
	case chosen != want:
		return fmt.Sprintf("%s with %d places chosen", custody.StateName(is.State), chosen)
	case is.Terminal() && len(is.LiveOffers()) > 0:
		return "over, and somebody is still asked"
	case is.Terminal() && is.State != custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW && is.Care != is.Owner:
		return "over, and its last owner does not have the person"
	case !after.Clone().State().Terminal() == is.Terminal():
		return "a clone is another"
	}
	if m.event.GetHandoverRefused() != nil {
		events := before.Message().GetEvents()
		given, err := custody.Load(events[:len(events)-1]...)
		if err != nil || given.State().Owner != is.Owner || !slices.Equal(given.State().Former, is.Former) || given.State().Leaves() != is.Leaves() {
			return "after a refused handover not all is as before it"
		}
	}
	again, err := custody.Load(after.Message().GetEvents()...)
	if err != nil || summary(again) != summary(after) {
		return "the chain folds to something else when it is read again"
	}
	return ""
}

// arrivalIsTaken: whatever the state, a node that has the person and does not own the referral gets it, with the steps that its
// owner takes by itself: record the assertion, take offers back, hand over; then the arrival is written.
func arrivalIsTaken(t *testing.T, all map[string]*explored, at string) {
	t.Helper()
	for _, node := range nodes {
		c := all[at].chain.Clone()
		s := c.State()
		onTheRoad := s.State == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT || s.State == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
		if s.Care == node && !(s.Outside && onTheRoad) { // who was sent to an agency may turn round
			continue
		}
		write := func(by string, e *custodyv1.Event) custody.Link {
			l, err := c.Append(plainSigner{}, by, event("", by, e).event)
			if err != nil {
				t.Fatalf("an arrival at %s is not taken in: %v; after %s", node, err, trace(all, at))
			}
			return l
		}
		if s.Owner != node {
			m := recorded(c, "", node, &custodyv1.Reply{Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: s.Arrivals[node] + 1}}})
			hash := write(s.Owner, m.event).Hash
			for _, o := range s.LiveOffers() {
				write(s.Owner, &custodyv1.Event{Body: &custodyv1.Event_OfferWithdrawn{OfferWithdrawn: &custodyv1.OfferWithdrawn{Offer: o.Hash.Bytes()}}})
			}
			write(s.Owner, &custodyv1.Event{Body: &custodyv1.Event_Dispatched{Dispatched: &custodyv1.Dispatched{ToNode: node, Arrival: hash.Bytes()}}})
		}
		write(node, &custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: &custodyv1.Arrived{}}})
		if c.State().Care != node || c.State().Owner != node || c.State().Outside {
			t.Fatalf("an arrival at %s is not taken in; after %s", node, trace(all, at))
		}
	}
}

// ends: from every state an end can be reached, unless a bound of the exploration stands in the way.
func ends(t *testing.T, all map[string]*explored) {
	t.Helper()
	before := map[string][]string{}
	good := map[string]bool{}
	var queue []string
	for at, e := range all {
		for _, to := range e.next {
			before[to] = append(before[to], at)
		}
		if e.chain.State().Terminal() || e.leaves {
			good[at] = true
			queue = append(queue, at)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, from := range before[at] {
			if !good[from] {
				good[from] = true
				queue = append(queue, from)
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if !good[at] {
			t.Fatalf("no end can be reached after %s", trace(all, at))
		}
	}
}
