package simulation

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	kitfacts "amanat.example/services/kit/facts"
)

// agree holds what must be so when all has been calm for long: all know the same, and nothing waits.
func (c *country) agree() {
	for _, n := range c.people {
		if wrong := c.settled(n); wrong != "" && c.broken == "" {
			for _, node := range c.nodes {
				if f := c.chain(node, n.referral); f != nil {
					var names []string
					for _, l := range f.chain.Links() {
						names = append(names, custody.Name(l.Event)+"@"+l.Event.GetOwner())
					}
					c.tell("%s has %v: %s (child %d)", node, names, knows(f), n.number)
				}
			}
			c.breaks("HEAL %s (child %d, %s)", wrong, n.number, n.referral)
		}
		c.hasBack(n)
	}
	for _, h := range c.houses {
		if c.broken != "" {
			return
		}
		if h.referral != nil || h.protection != nil {
			c.atRest(h)
		}
	}
	for _, node := range c.nodes {
		c.bedsInUse(node)
		c.bedsOfThoseHere(node)
		c.nobodys(node)
	}
	if c.plan.cases {
		c.agreeCases()
	}
	c.reconcile()
}

// bedsInUse: no bed is kept for an offer that is over, or that nobody knows.
func (c *country) bedsInUse(node string) {
	h, offers := c.house(node, "shelter"), c.client(node, "gateway")
	all, err := c.allHolds(node)
	if err != nil {
		c.breaks("BED (in use): %s: %v", h, err)
		return
	}
	for _, one := range all {
		if !held(one) || one.GetOffer() == "" {
			continue
		}
		c.did["beds in use"]++
		o, err := offers.GetOffer(context.Background(), &referralv1.GetOfferRequest{Name: one.GetOffer()})
		if err != nil || !liveOffer(o.GetState()) && o.GetState() != custodyv1.OfferState_OFFER_STATE_FULFILLED {
			c.breaks("BED (in use): %s keeps a bed (%s) for an offer that is %s: %v", h, one.GetState(), custody.OfferStateName(o.GetState()), err)
		}
	}
}

// bedsOfThoseHere: who has come by a promise has the bed that was promised, or a person was told that it is gone.
func (c *country) bedsOfThoseHere(node string) {
	h := c.house(node, "referral")
	all, err := c.allHolds(node)
	if err != nil {
		c.breaks("BED (here): %s: %v", h, err)
		return
	}
	states := map[string]shelterv1.Hold_State{}
	for _, one := range all {
		states[one.GetName()] = one.GetState()
	}
	lost := c.toldLost(h)
	for _, n := range c.people {
		f := c.chain(node, n.referral)
		if f == nil || !f.stays(node) {
			continue
		}
		for _, o := range c.offersTo(h, n) {
			if o.GetState() != custodyv1.OfferState_OFFER_STATE_FULFILLED || o.GetHold() == "" {
				continue
			}
			if lost[o.GetName()] {
				c.did["beds that a person was told are gone"]++
				continue
			}
			c.did["beds of those who came"]++
			if state := states[o.GetHold()]; state != shelterv1.Hold_STATE_OCCUPIED {
				c.breaks("BED (here): child %d has come to %s, and the bed that was promised is %v", n.number, node, state)
			}
		}
	}
}

// toldLost are the offers of whose bed a node's people were told that it is gone.
func (c *country) toldLost(h *house) map[string]bool {
	client, lost := eventsv1.NewEventServiceClient(h.referral.Server.From("protection", nil)), map[string]bool{}
	for after := uint64(0); ; {
		page, err := client.ListEvents(context.Background(), &eventsv1.ListEventsRequest{After: after, PageSize: 1000})
		if err != nil {
			c.breaks("INTERNAL: a judge is refused: %v", err)
			return nil
		}
		for _, e := range page.GetEvents() {
			if after = e.GetPosition(); e.GetType() == "referral.offer.bed-lost.v1" {
				lost[e.GetSubject()] = true
			}
		}
		if len(page.GetEvents()) == 0 {
			return lost
		}
	}
}

// stays says that a node has the person, or had when the referral was closed, and that they came when they were expected and never left: who did
// not come, or was sent away, finds their bed given back.
func (f *chainFacts) stays(node string) bool {
	switch f.state.State {
	case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
	default:
		return false
	}
	left := slices.ContainsFunc(f.chain.Links(), func(l custody.Link) bool {
		return l.Event.GetOwner() == node && (l.Event.GetNoShow() != nil || l.Event.GetDispatched() != nil)
	})
	return !left && f.state.Owner == node && f.state.Care == node && !f.state.Outside
}

// hasBack: a party that was restored has every event again that it once had and that anybody still has.
func (c *country) hasBack(n *child) {
	has, longest := map[string]int{}, &chainFacts{chain: &custody.Chain{}}
	for _, node := range c.nodes {
		f := c.chain(node, n.referral)
		if f == nil {
			continue
		}
		if has[node] = len(f.chain.Links()); has[node] > len(longest.chain.Links()) {
			longest = f
		}
	}
	all := longest.chain.Links()
	for _, node := range c.nodes {
		most := c.most[[2]string{node, n.referral}]
		if most == nil || len(all) == 0 || !longest.state.Party(node) {
			continue
		}
		had := 0
		for i, l := range most.chain.Links() {
			if i == len(all) || l.Hash != all[i].Hash {
				break
			}
			had++
		}
		if c.house(node, "referral").life > 0 {
			c.did["events had again"] += had
		}
		if has[node] < had {
			c.breaks("BACK (events): of child %d %s once had %d events that are still somewhere, and has %d", n.number, node, had, has[node])
		}
	}
}

// nobodys: no referral goes on that is nobody's, since one was made twice for a child, or is there again that all had lost.
func (c *country) nobodys(node string) {
	for token := ""; ; {
		page, err := c.client(node, "gateway").ListReferrals(context.Background(), &referralv1.ListReferralsRequest{Parent: "nodes/" + node, PageSize: 500, PageToken: token})
		if !c.answered(err) {
			c.breaks("ONCE (referral): %s does not say which referrals it has: %v", node, err)
			return
		}
		for _, r := range page.GetReferrals() {
			switch {
			case over(r) || c.whose(r.GetName()) != "nobody":
			case c.plan.cases && c.house(r.GetOriginNode(), "protection").life > 0: // its case was lost, and was taken in again: a person is told
				c.did["referrals whose case was lost"]++
			default:
				c.breaks("ONCE (referral): at %s a referral goes on that is nobody's (%s)", node, r.GetName())
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return
		}
	}
}

// atRest: nothing waits at a service.
func (c *country) atRest(h *house) {
	links, err := h.post().Status(context.Background())
	if err != nil {
		c.breaks("HEAL (letters): %v", err)
		return
	}
	for _, l := range links {
		if l.Outgoing && l.Gap > 0 && c.now.Sub(l.Oldest) > time.Hour { // those just written are under way: services go on comparing, and asking
			c.breaks("HEAL (letters): %s has %d letters to %s without receipt", h, l.Gap, l.Link.GetTo().GetNode())
		}
	}
	if waiting, err := h.waiting(); err != nil || waiting {
		c.breaks("HEAL (commands): %s has commands without result (%v)", h, err)
	}
}

// reconcile: of every day the federal cell has as many facts as were told, and the same.
func (c *country) reconcile() {
	h := c.house(Federal, Federal)
	if h.down() || c.broken != "" {
		return
	}
	client := federalv1.NewFiguresServiceClient(h.federal.Server.From("operator", h.token()))
	count, kept := uint64(0), map[string]*federalv1.FlowDay{}
	for token := ""; ; {
		page, err := client.ListDays(context.Background(), &federalv1.ListDaysRequest{PageSize: 500, PageToken: token})
		if err != nil {
			c.breaks("FEDERAL (days): %v", err)
			return
		}
		for _, d := range page.GetDays() {
			count += uint64(d.GetKept().GetFacts())
			kept[d.GetNode()+"/"+d.GetService()+" "+d.GetKept().GetDay()] = d.GetKept()
			if d.GetDifferTime() != nil {
				c.breaks("FEDERAL (days): of %s the cell has %d facts of %s and was told of %d", d.GetNode(), d.GetKept().GetFacts(), d.GetKept().GetDay(), d.GetTold().GetFacts())
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	c.did["facts reconciled"] = int(count)
	submitted := slices.ContainsFunc(c.people, func(n *child) bool { return n.referral != "" })
	if submitted && count == 0 {
		c.breaks("FEDERAL (days): nobody has told anything")
	}
	c.compareDays(kept)
	c.compareFlows(h)
}

// compareFlows holds what the cell has of each referral's flow against its chain: what happened was told, and nothing else, but for what a life
// told that is lost: that did happen, and stays told. What a correction has taken the place of does not count.
func (c *country) compareFlows(cell *house) {
	var all []*federalv1.FactRecord
	corrected := map[string]bool{}
	err := cell.engine.In("facts", func(_, payload []byte) {
		r := &federalv1.FactRecord{}
		if err := proto.Unmarshal(payload, r); err != nil {
			c.breaks("STORE: %s: %v", cell, err)
		}
		all = append(all, r)
		corrected[string(r.GetFact().GetCorrects())] = true
	})
	if err != nil {
		c.breaks("STORE: %s: %v", cell, err)
	}
	type of struct{ flow, kind string }
	kept, lives := map[of]int{}, map[of]bool{}
	for _, r := range all {
		what := of{string(r.GetFact().GetFlowId()), r.GetFact().GetKind()}
		if !corrected[string(r.GetFactId())] {
			kept[what]++
			lives[what] = lives[what] || c.house(r.GetSourceNode(), "referral").life > 0
		}
	}
	for _, n := range c.people {
		f := c.writerOf(n)
		if f == nil || c.now.Sub(f.state.Last) < 24*time.Hour {
			continue
		}
		c.did["flows compared"]++
		times := happened(f.chain)
		for _, kind := range slices.Sorted(maps.Keys(times)) {
			what, want := of{string(f.state.Submitted.GetFlowId()), kind}, times[kind]
			if has := kept[what]; has < want || has > want && !lives[what] {
				c.breaks("FEDERAL (flows): of child %d %d times %s happened, and the cell has %d (%s)", n.number, want, kind, has, n.referral)
			}
		}
	}
}

// happened is how often what the federal cell counts stands in a chain.
func happened(chain *custody.Chain) map[string]int {
	times := map[string]int{
		kitfacts.Referred: 0, kitfacts.Dispatched: 0, kitfacts.Arrived: 0, kitfacts.NoShow: 0, kitfacts.Returned: 0, kitfacts.Completed: 0, kitfacts.Cancelled: 0, kitfacts.Expired: 0,
	}
	back := false // a way back to the origin is told as a return alone
	for _, l := range chain.Links() {
		switch b := l.Event.GetBody().(type) {
		case *custodyv1.Event_Submitted:
			times[kitfacts.Referred]++
		case *custodyv1.Event_Dispatched:
			if back = l.Event.GetOwner() != chain.State().Origin && b.Dispatched.GetToNode() == chain.State().Origin; !back {
				times[kitfacts.Dispatched]++
			}
		case *custodyv1.Event_Arrived:
			if !back {
				times[kitfacts.Arrived]++
			}
		case *custodyv1.Event_ExternalAnswered:
			if b.ExternalAnswered.GetArrived() != nil {
				times[kitfacts.Arrived]++
			}
		case *custodyv1.Event_NoShow:
			times[kitfacts.NoShow]++
		case *custodyv1.Event_Returned:
			times[kitfacts.Returned]++
		case *custodyv1.Event_Completed:
			times[kitfacts.Completed]++
		case *custodyv1.Event_Cancelled:
			times[kitfacts.Cancelled]++
		case *custodyv1.Event_Expired:
			times[kitfacts.Expired]++
		}
	}
	return times
}

// writerOf is the chain of who owns a referral by its own; nil for nobody.
func (c *country) writerOf(n *child) (writer *chainFacts) {
	for _, node := range c.nodes {
		if f := c.chain(node, n.referral); f != nil && f.state.Owner == node {
			writer = f
		}
	}
	return writer
}

// compareDays holds what the cell has of each day against what the service itself has of it, whatever either believes that it told or was told.
// What happened lately is under way.
func (c *country) compareDays(kept map[string]*federalv1.FlowDay) {
	lately := kitfacts.Day(c.now.Add(-24 * time.Hour))
	own := map[string]*federalv1.FlowDay{}
	for _, h := range c.houses {
		if h.service != "referral" && h.service != "protection" {
			continue
		}
		err := h.engine.In("flow_days", func(_, payload []byte) {
			m := &federalv1.FlowDayMark{}
			if err := proto.Unmarshal(payload, m); err != nil {
				c.breaks("STORE: %s: %v", h, err)
			}
			own[h.name+" "+m.GetDay().GetDay()] = m.GetDay()
		})
		if err != nil {
			c.breaks("STORE: %s: %v", h, err)
		}
	}
	for _, of := range slices.Sorted(maps.Keys(own)) {
		if own[of].GetDay() < lately && !kitfacts.Same(own[of], kept[of]) {
			c.breaks("FEDERAL (facts): %s: the service has %d facts, and the cell %d", of, own[of].GetFacts(), kept[of].GetFacts())
		}
		c.did["days compared"]++
	}
	for _, of := range slices.Sorted(maps.Keys(kept)) {
		if own[of] == nil && kept[of].GetDay() < lately && kept[of].GetFacts() > 0 {
			c.breaks("FEDERAL (facts): %s: the service has none, and the cell %d", of, kept[of].GetFacts())
		}
	}
}

// lostByAll says that every node which ever held the chain of a child was put back to before it.
func (c *country) lostByAll(n *child) bool {
	for _, node := range c.nodes {
		if c.most[[2]string{node, n.referral}] != nil && c.house(node, "referral").life == 0 {
			return false
		}
	}
	return c.nowhere(n)
}

// settled says what of a child is not as it must be when all has calmed down; empty for nothing.
func (c *country) settled(n *child) string {
	if n.referral == "" {
		return "SUBMITTED: the referral was never made"
	}
	writer := c.writerOf(n)
	if writer == nil {
		if n.over && c.lostByAll(n) { // after the end nobody is left who would refer the child again
			c.did["lost after they had ended"]++
			return ""
		}
		return "OWNER: nobody owns the referral"
	}
	if writer.state.Care != n.where {
		return "CARE: " + writer.state.Care + " has the duty of care, and the child is at " + n.where + " (" + custody.StateName(writer.state.State) + ")"
	}
	for _, node := range c.nodes {
		f := c.chain(node, n.referral)
		switch {
		case f == nil && writer.state.Owned(node):
			return "CHAIN: " + node + " is party to the referral and holds no chain"
		case f != nil && writer.state.Party(node) && knows(f) != knows(writer):
			return "CHAIN: " + node + " believes " + knows(f) + " where the owner knows " + knows(writer)
		}
	}
	return ""
}
