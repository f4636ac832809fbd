package app

import (
	"errors"

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
	held, err := chainOf(tx, letter.GetReferral())
	if err != nil {
		return err
	}
	if proto.Size(letter.GetChain()) > maxChain {
		return refuse(reasonChain)
	}
	came, err := custody.Verify(a.Roster, letter.GetChain().GetEvents(), held)
	if err != nil {
		return refuse(reasonChain)
	}
	s := came.State()
	switch {
	case s.Referral != letter.GetReferral():
		return refuse(reasonChain)
	case !s.Party(from):
		return refuse(reasonSender)
	case !s.Party(a.Node):
		return refuse(reasonReceiver)
	}
	w := &work{App: a, tx: tx, now: a.Now(), chain: came}
	switch custody.Compare(held, came) {
	case custody.Forked:
		return w.forked(letter)
	case custody.Ahead:
		if refused, err := w.refuseHandover(); refused || err != nil {
			return err
		}
		return w.take(held)
	}
	return nil
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
	if err := w.takeArrival(); err != nil {
		return err
	}
	_, err = w.end(record)
	return err
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
	if !w.chain.State().Party(from) {
		return refuse(reasonSender)
	}
	return w.sendChain(w.lane(), from)
}
