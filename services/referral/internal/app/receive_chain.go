package app

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// receiveChain takes what is new in a chain. Who sends it and who takes it must both be party to
// it; every signature in it is verified.
func (a *App) receiveChain(tx *kitstore.Tx, from string, letter *custodyv1.ChainLetter) error {
	return a.takeChain(tx, from, letter, false)
}

// takeChain takes a chain in. One that a node tells which this one, restored, has asked is recalled: nothing is judged before all have answered.
func (a *App) takeChain(tx *kitstore.Tx, from string, letter *custodyv1.ChainLetter, recalled bool) error {
	held, err := chainOf(tx, letter.GetReferral())
	if err != nil {
		return err
	}
	came, err := a.verifyChain(from, letter, held)
	if err != nil {
		return err
	}
	w := &work{App: a, tx: tx, now: a.Now(), chain: came, recalled: recalled}
	switch custody.Compare(held, came) {
	case custody.Forked:
		return w.forked(letter)
	case custody.Ahead:
		still, err := w.still()
		if err != nil {
			return err
		}
		if still || recalled { // what this node promised may be among what it lost
			known, err := w.refusedBefore()
			if err != nil {
				return err
			}
			if !known {
				return w.recall(held)
			}
		}
		if refused, err := w.refuseHandover(); refused || err != nil {
			return err
		}
		return w.take(held)
	}
	return nil
}

// verifyChain verifies a chain that came, and that both who sends it and who takes it are party to it.
func (a *App) verifyChain(from string, letter *custodyv1.ChainLetter, held *custody.Chain) (*custody.Chain, error) {
	if proto.Size(letter.GetChain()) > maxChain {
		return nil, refuse(reasonChain)
	}
	came, err := custody.Verify(a.Roster, letter.GetChain().GetEvents(), held)
	if err != nil {
		return nil, refuse(reasonChain)
	}
	s := came.State()
	switch {
	case s.Referral != letter.GetReferral():
		return nil, refuse(reasonChain)
	case !s.Party(from):
		return nil, refuse(reasonSender)
	case !s.Party(a.Node):
		return nil, refuse(reasonReceiver)
	}
	return came, nil
}

// take stores what continues the chain held here.
func (w *work) take(held *custody.Chain) error {
	if held != nil {
		w.stored = len(held.Links())
	}
	record, err := optional(store.Referrals.Get(w.tx, kitstore.K(w.chain.State().Referral)))
	if err != nil {
		return err
	}
	w.tellOwnAgain()
	if still, err := w.still(); err != nil {
		return err
	} else if still {
		if err := w.wait(); err != nil {
			return err
		}
	} else if err := w.takeOwn(); err != nil {
		return err
	}
	_, err = w.end(record)
	return err
}

// tellOwnAgain has those hear again who should have heard of events that this node wrote and had lost: the letters may be lost with them.
// Who was chosen then, and is no party any more, gets no chain: what ended its offer is told by itself.
func (w *work) tellOwnAgain() {
	links := w.chain.Links()
	own := func(l custody.Link) bool { return l.Event.GetOwner() == w.Node }
	if !slices.ContainsFunc(links[w.stored:], own) {
		return // as ever, but for a store that was restored
	}
	for i, before := range w.chain.Prefixes() {
		if i >= w.stored && own(links[i]) {
			audience := before.Hears()
			audience.Chain = slices.DeleteFunc(audience.Chain, func(node string) bool { return !w.chain.State().Party(node) })
			w.hear(links[i], audience)
		}
	}
}

// forked keeps a chain that contradicts the one held: proof that a rule was broken somewhere.
// The chain held stays as it is until a person decides. The letter is kept rather than refused,
// since what a refusal's transaction writes is undone, and the evidence with it.
func (w *work) forked(letter *custodyv1.ChainLetter) error {
	s := w.chain.State()
	err := store.Forks.Insert(w.tx, kitstore.K(s.Referral, s.Head.Bytes()), letter)
	if errors.Is(err, kitstore.ErrExists) {
		return nil
	}
	if err != nil {
		return err
	}
	w.Log.Error("two chains of one referral contradict each other; a person must decide", logging.Referral(s.Referral))
	return w.Events.Append(w.tx, "referral.referral.forked.v1", s.Referral, w.now, &referralv1.ReferralChanged{
		Referral: s.Referral, State: s.State, OriginNode: s.Origin, OwnerNode: s.Owner,
	})
}

// answerHead sends the chain to a party that asks for it.
func (a *App) answerHead(tx *kitstore.Tx, from string, query *custodyv1.HeadQuery) error {
	w, err := a.begin(tx, query.GetReferral())
	if fault.ReasonOf(err) == fault.Missing {
		return refuse(reasonUnknown)
	}
	if err != nil {
		return err
	}
	switch s := w.chain.State(); {
	case s.Party(from):
		return w.sendChain(w.lane(), from)
	case s.Asked(from):
		return nil // it was one when it asked, and was told of what ended that: the refusal of a handover crossed its question
	}
	return refuse(reasonSender)
}
