package app

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// debtPage is how many referrals one transaction of an answer covers.
const debtPage = 64

// receiveQuery notes that a restored node is owed an answer. That the query came says that nothing of an earlier life of the asker is
// applied any more: the post sees to it. So what is told from now on is all there will be.
func (a *App) receiveQuery(tx *kitstore.Tx, from string, _ *custodyv1.RecoveryQuery) error {
	a.Log.Warn("another node was restored, and asks what this one holds", logging.Peer(from, "referral"))
	tx.AfterCommit(a.WakeRecovery)
	return store.Debts.Put(tx, kitstore.K(from), &referralv1.DebtRecord{Node: from})
}

// payDebts tells restored nodes what this one holds. later is when to come again for one that takes no part now, or could not be told; zero
// for no such. One that cannot be told keeps no other waiting, nor what this node has lost itself.
func (a *App) payDebts(ctx context.Context) (later time.Time, err error) {
	var owed []string
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		return store.Debts.Scan(r, kitstore.Range{}, func(_ kitstore.Key, d *referralv1.DebtRecord) error {
			switch {
			case d.GetPaid():
			case !a.takesPart(d.GetNode()):
				later = a.Now().Add(askAgain)
			default:
				owed = append(owed, d.GetNode())
			}
			return nil
		})
	})
	if err != nil {
		return later, err
	}
	for _, node := range owed {
		err := a.payDebt(ctx, node)
		switch {
		case err == nil:
			continue
		case stops(ctx, err):
			return later, err
		}
		a.Log.Error("a node that was restored cannot be told what this one holds; it is tried again", logging.Peer(node, "referral"), logging.Err(err))
		if later.IsZero() {
			later = a.Now().Add(askSeldom)
		}
	}
	return later, nil
}

// payDebt tells one node all, a page in each transaction. What was told stays told when it fails.
func (a *App) payDebt(ctx context.Context, node string) (err error) {
	for paid := false; !paid && err == nil; {
		err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
			d, err := store.Debts.Get(tx, kitstore.K(node))
			if err != nil {
				return err
			}
			if err := a.pay(tx, node, d); err != nil {
				return err
			}
			paid = d.GetPaid()
			return store.Debts.Put(tx, kitstore.K(node), d)
		})
	}
	return err
}

// pay tells one page: the chains in which the node takes part, then the offers it made to this one, then that this is all. One that became absent
// meanwhile is told the page again once it is there: nothing it says here is passed over as mail does, since nobody asks for it a second time.
func (a *App) pay(tx *kitstore.Tx, node string, d *referralv1.DebtRecord) error {
	switch {
	case mutant.Off("resync"):
		d.Paid = true
		return a.endAnswer(tx, node)
	case !d.GetChainsTold():
		rows, next, err := store.Referrals.Page(tx, kitstore.Range{After: d.GetAfter()}, debtPage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := a.tellChain(tx, node, row.Value.GetReferral().GetName()); err != nil {
				return err
			}
		}
		d.After, d.ChainsTold = next, next == nil
	default:
		rows, next, err := store.Offers.Page(tx, kitstore.Range{After: d.GetAfter()}, debtPage)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := a.tellMade(tx, node, row.Value); err != nil {
				return err
			}
		}
		if d.After = next; next != nil {
			return nil
		}
		d.Paid = true
		return a.endAnswer(tx, node)
	}
	return nil
}

func (a *App) endAnswer(tx *kitstore.Tx, node string) error {
	known, err := a.known(tx)
	if err != nil {
		return err
	}
	list := make([]*custodyv1.Incarnation, 0, len(known))
	for _, name := range slices.Sorted(maps.Keys(known)) {
		list = append(list, &custodyv1.Incarnation{Node: name, Incarnation: known[name]})
	}
	own, err := store.Recovery.Get(tx, store.RecoveryKey)
	if err != nil {
		return err
	}
	return a.Post.Queue(tx, toRestored(node, kindAnswer, "", &custodyv1.RecoveryAnswer{Known: list, Restored: own.GetBeginTime() != nil}))
}

// tellChain tells a node what the chain of a referral holds for it: all, when it is a party, else what was said to it and by it.
func (a *App) tellChain(tx *kitstore.Tx, node, referral string) error {
	chain, err := chainOf(tx, referral)
	if err != nil || chain == nil {
		return err
	}
	s := chain.State()
	part := &custodyv1.RecoveryPart{Referral: referral}
	switch {
	case s.Party(node):
		part.Chain = chain.Message()
	case s.Asked(node):
		for _, step := range stepsOf(chain, node) {
			if step.Event.GetConfirmed() == nil { // which proves nothing without its chain; it is over, else the node were a party
				part.Steps = append(part.Steps, step.message())
			}
		}
		for _, refused := range refusalsOf(chain, node) {
			part.Steps = append(part.Steps, &custodyv1.RecoveryStep{Step: &custodyv1.RecoveryStep_Refused{Refused: refused}})
		}
	default:
		return nil
	}
	if err := a.Post.Queue(tx, partFor(node, part)); err != nil {
		return err
	}
	if err := a.tellWords(tx, node, chain); err != nil || s.Owner != node {
		return err
	}
	w := &work{App: a, tx: tx, now: a.Now(), chain: chain, stored: len(chain.Links())}
	return w.follow() // what the owner said of an offer alone is not in the chain
}

// partFor has no subject: it waits behind nothing of the referral in the asker's quarantine. Else the asker would go on without it when all have
// answered, and write a second event at a position.
func partFor(node string, part *custodyv1.RecoveryPart) post.Outgoing {
	return toRestored(node, kindPart, "", part)
}

// tellWords sends again what this node said of a referral that the other owns, and the annexes that the other had.
func (a *App) tellWords(tx *kitstore.Tx, node string, chain *custody.Chain) error {
	s := chain.State()
	var said []*custodyv1.SignedReply
	if s.Owner == node {
		for _, key := range append(offersMadeTo(s, a.Node), s.Referral) {
			replies, err := repliesTo(tx, key)
			if err != nil {
				return err
			}
			said = append(said, replies...)
		}
		arrival, err := optional(store.Arrivals.Get(tx, kitstore.K(s.Referral)))
		if err != nil {
			return err
		}
		if arrival != nil && !arrival.GetTaken() {
			said = append(said, arrival.GetReply())
		}
	}
	annexes := commitmentsFor(chain, node)
	for _, signed := range said {
		if chain.Holds(signed) {
			continue
		}
		commitment, err := a.sayAgain(tx, node, s.Referral, signed)
		if err != nil {
			return err
		}
		annexes = append(annexes, commitment)
	}
	return a.sendAnnexes(tx, a.Post.Queue, postv1.Lane_LANE_URGENT, node, s.Referral, annexes)
}

func (a *App) sayAgain(tx *kitstore.Tx, node, referral string, signed *custodyv1.SignedReply) (commitment []byte, err error) {
	reply := &custodyv1.Reply{}
	if err := proto.Unmarshal(signed.GetReply(), reply); err != nil {
		return nil, err
	}
	return reply.GetAnnexCommitment(), a.Post.Queue(tx, toRestored(node, kindReply, referral, &custodyv1.ReplyLetter{Reply: signed}))
}

// sendAnnexes sends what was written beside words, in their lane, so that nothing overtakes what it belongs to, and as they are sent.
func (a *App) sendAnnexes(tx *kitstore.Tx, send func(*kitstore.Tx, post.Outgoing) error, lane postv1.Lane, node, referral string, commitments [][]byte) error {
	for _, c := range commitments {
		annex, err := a.annexBeside(tx, referral, c)
		if err != nil {
			return err
		}
		if annex == nil {
			continue
		}
		err = send(tx, post.Outgoing{To: referralAt(node), Lane: lane, Kind: kindAnnex, Subject: referral, Body: annex, Sealed: true})
		if err != nil {
			return err
		}
	}
	return nil
}

// tellMade tells a node of an offer it made to this one, where the chain that this node holds, if any, does not tell of it, and says its
// answers again.
func (a *App) tellMade(tx *kitstore.Tx, node string, record *referralv1.OfferRecord) error {
	event := &custodyv1.Event{}
	if err := proto.Unmarshal(record.GetOffered().GetEvent(), event); err != nil {
		return err
	}
	if event.GetOwner() != node {
		return nil
	}
	held, err := chainOf(tx, event.GetReferral())
	if err != nil || held != nil && held.Has(custody.HashOf(record.GetOffered().GetEvent())) {
		return err
	}
	part := &custodyv1.RecoveryPart{Referral: event.GetReferral(), Steps: []*custodyv1.RecoveryStep{
		{Step: &custodyv1.RecoveryStep_Event{Event: record.GetOffered()}},
	}}
	if err := a.Post.Queue(tx, partFor(node, part)); err != nil {
		return err
	}
	name := store.OfferName(event.GetReferral(), custody.HashOf(record.GetOffered().GetEvent()).String())
	replies, err := repliesTo(tx, name)
	if err != nil {
		return err
	}
	annexes := [][]byte{event.GetAnnexCommitment()}
	for _, signed := range replies {
		commitment, err := a.sayAgain(tx, node, event.GetReferral(), signed)
		if err != nil {
			return err
		}
		annexes = append(annexes, commitment)
	}
	return a.sendAnnexes(tx, a.Post.Queue, postv1.Lane_LANE_URGENT, node, event.GetReferral(), annexes)
}

// repliesTo are this node's replies to an offer, or to a referral as a whole, in order.
func repliesTo(r kitstore.Reader, name string) (said []*custodyv1.SignedReply, err error) {
	err = store.Replies.Scan(r, kitstore.Range{Prefix: kitstore.K(name)}, func(_ kitstore.Key, signed *custodyv1.SignedReply) error {
		said = append(said, signed)
		return nil
	})
	return said, err
}

func offersMadeTo(s *custody.State, node string) (names []string) {
	for _, o := range s.Offers {
		if o.Offered.GetToNode() == node {
			names = append(names, store.OfferName(s.Referral, o.Hash.String()))
		}
	}
	return names
}

// commitmentsFor are those of annexes that a node wrote or was given: beside its own events and replies, and beside what it heard.
func commitmentsFor(chain *custody.Chain, node string) (all [][]byte) {
	links := chain.Links()
	for i, before := range chain.Prefixes() {
		l, hears := links[i], before.Hears()
		reply := &custodyv1.Reply{}
		_ = proto.Unmarshal(l.Event.GetReplyRecorded().GetReply().GetReply(), reply) // of another event: none
		switch {
		case reply.GetNode() == node || l.Event.GetReplyRecorded() != nil && l.Event.GetOwner() == node:
			all = append(all, reply.GetAnnexCommitment())
		case l.Event.GetOwner() != node && notFor(l.Event, before.State(), node):
		case l.Event.GetReplyRecorded() == nil && (l.Event.GetOwner() == node || hears.Alone == node || slices.Contains(hears.Chain, node)):
			all = append(all, l.Event.GetAnnexCommitment())
		}
	}
	return all
}

// notFor says that what people wrote beside an event was not for a node which hears of the event: how the person travels is for the next
// owner, the feedback for who had the person, and what an agency outside the network said for the origin.
func notFor(e *custodyv1.Event, s *custody.State, node string) bool {
	switch b := e.GetBody().(type) {
	case *custodyv1.Event_ExternalAnswered:
		return true
	case *custodyv1.Event_Dispatched:
		return b.Dispatched.GetToNode() != node
	case *custodyv1.Event_Completed:
		return !s.Owned(node)
	}
	return false
}
