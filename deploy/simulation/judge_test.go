package simulation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/store"
)

// steady says that all referral services run and know what they knew: then what they say together is the whole truth.
func (c *country) steady() bool {
	for _, h := range c.houses {
		if h.service == "referral" && (h.down() || h.unsure || h.referral.Recovering()) {
			return false
		}
	}
	return true
}

// chain is a referral's chain at a node, nil where it has none, or does not answer.
func (c *country) chain(node, name string) *chainFacts {
	client := c.client(node, "gateway")
	if client == nil {
		return nil
	}
	all, err := client.GetCustodyChain(context.Background(), &referralv1.GetCustodyChainRequest{Name: name})
	if err != nil {
		return nil
	}
	return c.chains.of(all.GetEvents())
}

// sight is how a chain was seen at a node.
type sight struct {
	life  int
	chain *chainFacts
}

// forget is for a referral that was lost with the only copy of it.
func (c *country) forget(name string) {
	for _, node := range c.nodes {
		delete(c.seen, [2]string{node, name})
	}
}

// sees judges a chain at a node by itself, and by what it was there before: what was answered stays, and nothing is undone.
func (c *country) sees(h *house, n *child) *chainFacts {
	f, key := c.chain(h.node, n.referral), [2]string{h.node, n.referral}
	was := c.seen[key]
	if was.life != h.life {
		was.chain = nil
	}
	switch {
	case f == nil && was.chain == nil:
		return nil
	case f == nil:
		if !h.failed() {
			c.breaks("KEPT (acknowledged): %s no longer has the chain of child %d", h, n.number)
		}
		return nil
	case f.wrong != "":
		c.breaks("CHAIN: of child %d at %s %s", n.number, h.node, f.wrong)
	case !f.promised:
		c.breaks("READY (sent): child %d was sent to a place that did not promise", n.number)
	}
	if was.chain != nil && was.chain != f {
		before, links := was.chain.chain.Links(), f.chain.Links()
		if len(links) < len(before) || links[len(before)-1].Hash != before[len(before)-1].Hash {
			c.breaks("I8 (nothing is undone): of child %d %s had %d events, and now has %d of which those are not the first", n.number, h, len(before), len(links))
		}
	}
	c.seen[key] = sight{h.life, f}
	if most := c.most[key]; most == nil || len(most.chain.Links()) < len(f.chain.Links()) {
		c.most[key] = f
	}
	return f
}

// judge holds what must be so of one referral at any moment.
func (c *country) judge(n *child) {
	if n.referral == "" || c.broken != "" {
		return
	}
	steady := c.steady()
	if steady {
		c.did["judged while all knew what they knew"]++
	}
	var writers, carers []string
	var longest []custody.Link
	for _, node := range c.nodes {
		h := c.house(node, "referral")
		if h.down() || h.unsure {
			continue
		}
		f := c.sees(h, n)
		if f == nil || !steady {
			continue
		}
		if f.state.Owner == node {
			writers = append(writers, node)
		}
		if f.state.Care == node {
			carers = append(carers, node)
		}
		c.judgeTogether(n, h, f)
		links := f.chain.Links()
		for i := range min(len(links), len(longest)) {
			if links[i].Hash != longest[i].Hash {
				c.breaks("FORK: of child %d two different events stand at position %d (%s): %s, and %s", n.number, i+1, node, tellLink(links[i]), tellLink(longest[i]))
				return
			}
		}
		if len(links) > len(longest) {
			longest = links
		}
	}
	if len(writers) > 1 {
		c.breaks("I1 (one writer): %s may write of child %d", strings.Join(writers, " and "), n.number)
	}
	if steady && len(longest) > 0 && len(carers) == 0 && !c.asserted(n.referral) {
		c.breaks("I6 (care): nobody has the duty of care of child %d", n.number)
	}
}

// judgeTogether holds that those who go together were sent to one place, and by who sends them in one transaction: nobody goes alone. A node
// that was restored may have lost one of them, or that one goes no more: the others have left by then.
func (c *country) judgeTogether(n *child, h *house, f *chainFacts) {
	to, by := sentTo(f.chain)
	for _, other := range n.siblings {
		if other == n || to == "" || other.referral == "" || n.again || other.again {
			continue
		}
		o := c.chain(h.node, other.referral)
		if o == nil {
			continue
		}
		c.did["judged whether siblings were parted"]++
		switch also, _ := sentTo(o.chain); {
		case also != "" && also != to:
			c.breaks("PARTED: child %d was sent to %s, and child %d to %s", n.number, to, other.number, also)
		case also == "" && by == h.node && h.life == 0 && o.state.Epoch == 1 && !o.state.Terminal():
			c.breaks("PARTED: %s has sent child %d to %s, and not child %d, who goes with them", h.node, n.number, to, other.number)
		}
	}
}

// asserted says that a node says it has the person, and waits for the referral.
func (c *country) asserted(name string) bool {
	for _, node := range c.nodes {
		due, err := c.client(node, "gateway").ListDeadlines(context.Background(), &referralv1.ListDeadlinesRequest{Parent: "nodes/" + node, PageSize: 500})
		if !c.answered(err) {
			return true
		}
		for _, d := range due.GetDeadlines() {
			if d.GetKind() == referralv1.Deadline_KIND_FOLLOW_PERSON && d.GetReferral() == name {
				return true
			}
		}
	}
	return false
}

// judgeAll holds all that must be so at any moment.
func (c *country) judgeAll() {
	c.rounds++
	c.judgeBeds()
	for _, n := range c.people {
		if c.looksAt(n) {
			c.judge(n)
		}
	}
	for _, h := range c.houses {
		if h.service == Federal && !h.down() && !h.unsure {
			c.judgeReceipts(h)
			c.judgeQuarantine(h)
		}
		if h.service == "protection" && !h.down() && !h.unsure {
			c.judgeReceipts(h)
			c.judgeBelieved(h)
			c.judgeQuarantine(h)
		}
		if h.service == "referral" && !h.down() && !h.unsure {
			c.judgeDeadlines(h)
			c.judgeReceipts(h)
			c.judgeBelieved(h)
			c.judgeQuarantine(h)
			if err := h.engine.In("forks", func([]byte, []byte) { c.breaks("FORK: %s holds a chain that contradicts its own", h) }); err != nil {
				c.breaks("STORE: %s: %v", h, err)
			}
		}
	}
}

// answered says that a service has answered a judge, who must not be refused: then nothing would be judged.
func (c *country) answered(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented, codes.Internal:
		c.breaks("INTERNAL: a judge is refused: %v", err)
	}
	return err == nil
}

// looksAt says whose referral is judged this time: one that is over, every sixth time.
func (c *country) looksAt(n *child) bool {
	return n.referral != "" && (!n.over || n.number%6 == c.rounds%6)
}

// judgeDeadlines: every live referral and offer has a next deadline at who owns or owned it, and at who is asked; and a place that is promised
// has a hold.
func (c *country) judgeDeadlines(h *house) {
	if h.referral.Recovering() || c.broken != "" {
		return
	}
	ctx, client, parent := context.Background(), c.client(h.node, "gateway"), "nodes/"+h.node
	due, asserted := map[string]bool{}, map[string]bool{}
	for token := ""; ; {
		page, err := client.ListDeadlines(ctx, &referralv1.ListDeadlinesRequest{Parent: parent, PageSize: 500, PageToken: token})
		if !c.answered(err) {
			return
		}
		for _, d := range page.GetDeadlines() {
			if !strings.HasPrefix(d.GetUnit(), parent+"/units/") {
				c.breaks("I7 (unit): at %s %q answers for a deadline (%s)", h.node, d.GetUnit(), c.whose(d.GetReferral()))
			}
			switch {
			case d.GetKind() == referralv1.Deadline_KIND_FOLLOW_PERSON:
				asserted[d.GetReferral()] = true
			case d.GetOffer() != "":
				due[d.GetOffer()] = true
			default:
				due[d.GetReferral()] = true
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	holds := c.holds(h.node)
	for _, n := range c.people {
		if !c.looksAt(n) {
			continue
		}
		f := c.chain(h.node, n.referral)
		if f != nil && f.state.Owned(h.node) && !f.state.Terminal() && !due[n.referral] {
			c.breaks("I7 (deadline): %s owns or owned child %d's live referral and has no deadline for it", h.node, n.number)
		}
		has := asserted[n.referral] || f != nil && f.state.Care == h.node
		for _, o := range c.offersTo(h, n) {
			if o.GetAcceptFailure() == "NO_CAPACITY" {
				c.did["offers seen for which no bed was free"]++
			}
			if liveOffer(o.GetState()) && !due[o.GetName()] {
				c.breaks("I7 (deadline): an offer to %s about child %d is %s and has no deadline", h.node, n.number, custody.OfferStateName(o.GetState()))
			}
			if promised := o.GetState().String() == "OFFER_STATE_READY" && o.GetReleaseReason() == "" && o.GetHold() != "" && !has; promised && holds != nil && !holds[o.GetHold()] && !c.heldToIt(n, o.GetName()) {
				c.breaks("READY: %s has promised child %d a place without a confirmed hold", h.node, n.number)
			}
		}
	}
}

// heldToIt says that a unit whose bed was lost asked to be let go, and its owner did not: a person there looks for another bed.
func (c *country) heldToIt(n *child, offer string) bool {
	return slices.ContainsFunc(c.nodes, func(node string) bool {
		f := c.seen[[2]string{node, n.referral}].chain
		return f != nil && slices.ContainsFunc(f.chain.Links(), func(l custody.Link) bool {
			refused := l.Event.GetReleaseRefused()
			return refused != nil && strings.HasSuffix(offer, custody.Hash(refused.GetOffer()).String())
		})
	})
}

// offersTo are a referral's offers as the unit asked at a node knows them, of those that anybody has seen in a chain.
func (c *country) offersTo(h *house, n *child) (all []*referralv1.Offer) {
	asked := map[string]bool{}
	for _, node := range c.nodes {
		if f := c.seen[[2]string{node, n.referral}].chain; f != nil {
			for _, o := range f.state.Offers {
				if o.Offered.GetToNode() == h.node && !o.Return {
					asked[n.referral+"/offers/"+o.Hash.String()] = true
				}
			}
		}
	}
	for name := range asked {
		if o, err := c.client(h.node, "gateway").GetOffer(context.Background(), &referralv1.GetOfferRequest{Name: name}); err == nil {
			all = append(all, o)
		}
	}
	return all
}

// holds are those confirmed or occupied at a node; nil where its shelter does not answer.
func (c *country) holds(node string) map[string]bool {
	if h := c.house(node, "shelter"); h.down() || h.unsure {
		return nil
	}
	all, err := c.allHolds(node)
	if !c.answered(err) {
		return nil // it was restored, and compares first
	}
	firm := map[string]bool{}
	for _, one := range all {
		if one.GetState() == shelterv1.Hold_STATE_CONFIRMED || one.GetState() == shelterv1.Hold_STATE_OCCUPIED {
			firm[one.GetName()] = true
		}
	}
	return firm
}

// allHolds are the holds of a node's shelter service, which runs.
func (c *country) allHolds(node string) (all []*shelterv1.Hold, err error) {
	h := c.house(node, "shelter")
	client := shelterv1.NewShelterServiceClient(h.shelter.Server.From("gateway", h.token()))
	for token := ""; ; {
		page, err := client.ListHolds(context.Background(), &shelterv1.ListHoldsRequest{Parent: "nodes/" + node, PageSize: 500, PageToken: token})
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetHolds()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// judgeReceipts: what a receipt of this life covered, and its sender still keeps, is here: applied, or refused.
func (c *country) judgeReceipts(h *house) {
	for _, from := range c.houses {
		if from.down() || from.unsure || from == h || from.service == "shelter" || from.service != h.service && h.service != Federal {
			continue
		}
		for _, lane := range lanes {
			mark := h.promised[promised{from.node, from.service, lane, from.incarnation()}]
			if mark == 0 {
				continue
			}
			link := store.K(h.node, h.service, uint32(lane))
			err := from.engine.In("post_outbox", func(key, payload []byte) {
				rest, mine := strings.CutPrefix(string(key), string(link))
				if !mine || binary.BigEndian.Uint64([]byte(rest)) > mark {
					return
				}
				l := &postv1.Letter{}
				if err := proto.Unmarshal(payload, l); err != nil {
					c.breaks("STORE: %s: %v", from, err)
				} else if !h.engine.Has("post_known", store.K(from.node, from.service, l.GetLetterId())) {
					c.breaks("RECEIPT (kept): %s wrote a receipt for letter %d of %s (%s), which it does not have", h, l.GetSequence(), from, l.GetKind())
				}
			})
			if err != nil {
				c.breaks("STORE: %s: %v", from, err)
			}
		}
	}
}

// judgeBelieved: what a sender holds for received, its receiver wrote a receipt for.
func (c *country) judgeBelieved(h *house) {
	err := h.engine.In("post_sending", func(_, payload []byte) {
		s := &postv1.SendingState{}
		if err := proto.Unmarshal(payload, s); err != nil {
			c.breaks("STORE: %s: %v", h, err)
			return
		}
		to := s.GetLink().GetTo()
		told := c.receipts[believed{h.name, to.GetNode() + "/" + to.GetService(), s.GetLink().GetLane(), s.GetOwnIncarnation()}]
		if to.GetNode() != h.node && s.GetReceiptedSequence() > told {
			c.breaks("RECEIPT (believed): %s holds letters up to %d for received by %s, which has written receipts up to %d", h, s.GetReceiptedSequence(), to.GetNode(), told)
		}
	})
	if err != nil {
		c.breaks("STORE: %s: %v", h, err)
	}
}

// judgeQuarantine: no letter of an honest node is refused, but for what is said of a person in a referral that all have lost: a person must read that.
func (c *country) judgeQuarantine(h *house) {
	err := h.engine.In("post_quarantine", func(_, payload []byte) {
		q, r := &postv1.QuarantinedLetter{}, &postv1.Refusal{}
		if err := errors.Join(proto.Unmarshal(payload, q), proto.Unmarshal(q.GetRefusal().GetRefusal(), r)); err != nil {
			c.breaks("STORE: %s: %v", h, err)
			return
		}
		if len(r.GetBehindLetterId()) > 0 {
			return
		}
		about := "nobody"
		for _, n := range c.people {
			if n.referral == q.GetLetter().GetSubject() {
				about = fmt.Sprint("child ", n.number)
			}
		}
		if about == "nobody" && h.life > 0 && aboutPerson(q.GetLetter()) {
			c.did["words of referrals that all have lost"]++
			return
		}
		c.breaks("REFUSED (letter): %s has refused %s of %s (%s): %s, %v", h, tellLetter(q.GetLetter()), q.GetLink().GetFrom().GetNode(), about, r.GetReason(), q.GetTime().AsTime())
	})
	if err != nil {
		c.breaks("STORE: %s: %v", h, err)
	}
}

// kept judges a service that was opened again: the marks that its receipts have told are there.
func (h *house) kept() {
	if h.referral == nil && h.protection == nil {
		return
	}
	links, err := h.post().Status(context.Background())
	if err != nil {
		return
	}
	for key, mark := range h.promised {
		for _, l := range links {
			from := l.Link.GetFrom()
			if !l.Outgoing && from.GetNode() == key.node && from.GetService() == key.service && l.Link.GetLane() == key.lane && l.Mark < mark {
				if sender := h.c.house(key.node, key.service); sender.service == h.service && !sender.down() && sender.incarnation() == key.sender {
					h.c.breaks("RECEIPT (kept): %s wrote a receipt for letter %d of %s, and after a crash it is at %d", h, mark, sender, l.Mark)
				}
			}
		}
	}
}

// apply is told of a letter that was applied.
func (h *house) apply(from *postv1.Address, letter *postv1.Letter) {
	id := from.GetNode() + "/" + from.GetService() + string(letter.GetLetterId())
	if h.applied[id] {
		h.c.breaks("ONCE (letter): %s has applied letter %d of %s (%s) twice", h, letter.GetSequence(), from.GetNode(), letter.GetKind())
	}
	h.applied[id] = true
	h.c.did["letters applied"]++
	if letter.GetKind() == kindDossier {
		h.c.judgeArrival(h, from.GetNode(), letter)
	}
}

// judgeBeds holds that no bed is promised or taken twice.
func (c *country) judgeBeds() {
	for _, node := range c.nodes {
		h := c.house(node, "shelter")
		if h.down() {
			continue
		}
		all, err := c.allHolds(node)
		if !c.answered(err) {
			return // it was restored, and compares first
		}
		var taken int32
		for _, one := range all {
			if held(one) {
				taken += one.GetQuantity()
			}
		}
		client := shelterv1.NewShelterServiceClient(h.shelter.Server.From("gateway", h.token()))
		for token := ""; ; {
			page, err := client.ListStays(context.Background(), &shelterv1.ListStaysRequest{Parent: "nodes/" + node, PageSize: 500, PageToken: token})
			if !c.answered(err) {
				return
			}
			for _, one := range page.GetStays() {
				if one.GetState() != shelterv1.Stay_STATE_DISCHARGED {
					taken += one.GetQuantity()
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
		if taken > c.plan.beds {
			c.breaks("CAPACITY: %s has %d beds and %d are taken", node, c.plan.beds, taken)
		}
	}
}

// tellLink says what an event is, for people.
func tellLink(l custody.Link) string {
	said := custody.Name(l.Event)
	if r := custody.Recorded(l.Event); r != nil {
		said = custody.ReplyName(r) + " of " + r.GetNode()
	}
	return fmt.Sprintf("%s at %s", said, l.Event.GetTime().AsTime().Format("01-02 15:04:05.000"))
}
