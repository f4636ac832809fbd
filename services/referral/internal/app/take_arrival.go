package app

import (
	"bytes"
	"errors"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
)

// waiting is an arrival asserted here that the referral has not followed yet; nil for none.
func (w *work) waiting() (*asserted, error) {
	g := &asserted{App: w.App, tx: w.tx, now: w.now, referral: w.chain.State().Referral, work: w}
	if err := g.load(); err != nil || g.record == nil || g.record.GetTaken() {
		return nil, err
	}
	return g, nil
}

// takeOwn compares what this node said of the referral with a chain that has come, in the order in which it is said.
func (w *work) takeOwn() error {
	if err := w.takeWords(); err != nil {
		return err
	}
	return w.takeArrival()
}

// takeArrival compares an arrival asserted here with a chain that has come. A chain that makes this node the owner is continued with
// what was asserted. One that has another owner is told to that owner; the assertion is signed anew where the chain had more
// arrivals at this node than was known, for the owner takes each but once.
func (w *work) takeArrival() error {
	g, err := w.waiting()
	if g == nil || err != nil {
		return err
	}
	s := w.chain.State()
	write, refused := rules.Assert(s, w.Node)
	switch {
	case refused != nil || g.stands(): // nothing is left to follow: the chain says that this node had the person
		g.record.Taken = true
		return g.put()
	case write:
		err := g.write()
		if _, illegal := errors.AsType[*custody.Illegal](err); illegal { // a later version's chain: a person must look
			w.Log.Error("an arrival asserted here cannot be written", logging.Referral(s.Referral))
			return nil
		}
		return err
	case g.reply.GetArrivalAsserted().GetOrdinal() != s.Arrivals[w.Node]+1:
		if err := g.sign(); err != nil {
			return err
		}
		return g.say()
	case g.record.GetToldNode() != s.Owner:
		return g.say()
	}
	return nil
}

// takeWords continues a chain that makes this node the owner with what it had said to the owner before it knew: that one had handed over by
// then, and could not write it down any more. An arrival is taken by takeArrival; a refusal and a request for return were for that owner alone.
func (w *work) takeWords() error {
	s := w.chain.State()
	if s.Owner != w.Node {
		return nil
	}
	said, err := repliesTo(w.tx, s.Referral)
	if err != nil {
		return err
	}
	for _, signed := range said {
		r := &custodyv1.Reply{}
		if err := proto.Unmarshal(signed.GetReply(), r); err != nil {
			return err
		}
		if r.GetArrivalAsserted() != nil || r.GetRefused() != nil || r.GetReturnRequested() != nil || w.chain.Holds(signed) {
			continue
		}
		if err := w.takeWord(signed, r); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) takeWord(signed *custodyv1.SignedReply, r *custodyv1.Reply) error {
	_, err := w.append(r.GetActor(), r.GetAnnexCommitment(), &custodyv1.Event{
		Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}},
	})
	if _, illegal := errors.AsType[*custody.Illegal](err); illegal {
		w.Log.Warn("what this node said of a referral cannot be written into its chain any more", logging.Referral(r.GetReferral()), logging.Err(err))
		return nil
	}
	if err != nil {
		return err
	}
	annex, err := w.annexBeside(w.tx, r.GetReferral(), r.GetAnnexCommitment())
	if err != nil {
		return err
	}
	if err := w.attach(annex, w.lane(), w.others()...); err != nil {
		return err
	}
	return w.consequences(r)
}

// stands says that the chain holds this very assertion and the arrival that followed it.
func (g *asserted) stands() bool {
	s := g.work.chain.State()
	if s.Arrivals[g.Node] < g.reply.GetArrivalAsserted().GetOrdinal() {
		return false
	}
	for _, l := range g.work.chain.Links() {
		if bytes.Equal(l.Event.GetReplyRecorded().GetReply().GetReply(), g.record.GetReply().GetReply()) {
			return true
		}
	}
	return false
}

// write continues the chain, as its owner, with the arrival that was asserted.
func (g *asserted) write() error {
	w, b := g.work, g.reply.GetArrivalAsserted()
	_, err := w.append(g.reply.GetActor(), g.reply.GetAnnexCommitment(), &custodyv1.Event{Body: &custodyv1.Event_Arrived{
		Arrived: &custodyv1.Arrived{Identification: b.GetIdentification(), ArriveTime: b.GetArriveTime()},
	}})
	if err != nil {
		return err
	}
	annex, err := g.annexBeside(g.tx, g.referral, g.reply.GetAnnexCommitment())
	if err != nil {
		return err
	}
	if err := w.attach(annex, postv1.Lane_LANE_URGENT, w.others()...); err != nil {
		return err
	}
	g.record.Taken, g.record.ToldNode = true, w.Node
	if err := g.put(); err != nil {
		return err
	}
	return g.announce("taken")
}

// assertAgain repeats an arrival that nobody has followed yet.
func (a *App) assertAgain(tx *kitstore.Tx, referral string) error {
	g, err := a.openAsserted(tx, referral)
	if err != nil || g.record == nil || g.record.GetTaken() {
		return err
	}
	return g.say()
}

// sendWord sends what this node says of a referral as a whole. To a new owner the chain goes ahead: by this node's link it may come before
// the handover comes by its writer's.
func (a *App) sendWord(tx *kitstore.Tx, to string, signed *custodyv1.SignedReply, r *custodyv1.Reply) error {
	chain, err := chainOf(tx, r.GetReferral())
	if err != nil {
		return err
	}
	if chain != nil && chain.State().Owner == to && chain.State().Party(a.Node) {
		w := &work{App: a, tx: tx, chain: chain}
		if err := w.sendChain(laneOfReply(r, postv1.Lane_LANE_BULK), to); err != nil {
			return err
		}
	}
	return a.mail(tx, post.Outgoing{
		To: referralAt(to), Lane: laneOfReply(r, postv1.Lane_LANE_BULK), Kind: kindReply, Subject: r.GetReferral(),
		Body: &custodyv1.ReplyLetter{Reply: signed},
	})
}
