package app

import (
	"errors"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
)

// Refused says that a letter can never be applied. The reason is for programs and holds no
// personal data.
type Refused struct{ Reason string }

// Error is the reason.
func (r *Refused) Error() string { return "the letter is refused: " + r.Reason }

func refuse(reason string) error { return &Refused{Reason: reason} }

// Reasons for which letters are refused.
const (
	reasonBody     = "body-not-readable"
	reasonSender   = "sender-not-allowed"
	reasonOffer    = "offer-not-valid"
	reasonReply    = "reply-not-valid"
	reasonChain    = "chain-not-valid"
	reasonUnknown  = "referral-unknown"
	reasonReceiver = "not-for-this-node"
	reasonAnnex    = "annex-not-valid"
	reasonKind     = "unknown-kind"
	reasonPanic    = "handler-failed"
	reasonState    = "not-possible-here"
)

// Handler applies one letter in the transaction that also moves the link's mark. A [Refused]
// error says that the letter can never be applied; any other that it should be tried again.
type Handler func(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error

// Handlers are the letters this service takes, by kind. One may have to wait while this node, restored, asks the others.
func (a *App) Handlers() map[string]Handler {
	all := map[string]Handler{}
	for kind, apply := range a.kinds() {
		all[kind] = func(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
			waits, err := a.waits(tx, from.GetNode(), kind, letter.GetSubject())
			switch {
			case err != nil:
				return err
			case waits:
				return a.waitLetter(tx, from, &standsStill{referral: letter.GetSubject()}, letter)
			}
			return a.orWait(tx, apply(tx, from, letter), from, letter)
		}
	}
	return all
}

// neverAJam refuses a letter for which a rule says no where none should: tried again for ever it would hold up all that comes behind it.
// In the quarantine a person sees it, and it is tried again each day. What a recovery says passes by itself.
func (a *App) neverAJam(err error, letter *postv1.Letter) error {
	refusal, ok := errors.AsType[*fault.Error](err)
	if !ok || refusal.Reason() == fault.Recovering {
		return err
	}
	a.Log.Error("a letter cannot be applied, which is a fault of this service; it is refused", logging.Referral(letter.GetSubject()), logging.Err(err))
	return refuse(reasonState)
}

// kinds apply each kind of letter at once.
func (a *App) kinds() map[string]Handler {
	return map[string]Handler{
		kindOffer:  handle(a.receiveOffer),
		kindReply:  handle(a.recordReply),
		kindChain:  handle(a.receiveChain),
		kindHead:   handle(a.answerHead),
		kindAnnex:  handle(a.receiveAnnex),
		kindDigest: handle(a.receiveDigest),
		kindHeads:  handle(a.receiveHeads),
		kindQuery:  handle(a.receiveQuery),
		kindPart:   handle(a.receivePart),
		kindAnswer: handle(a.receiveAnswer),
		kindVoid:   handle(a.receiveVoid),
	}
}

// handle decodes a letter's body. Only referral services write to this one.
func handle[T any, M interface {
	*T
	proto.Message
}](apply func(tx *kitstore.Tx, from string, body M) error) Handler {
	return func(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
		if from.GetService() != "referral" {
			return refuse(reasonSender)
		}
		body := M(new(T))
		if err := proto.Unmarshal(letter.GetBody(), body); err != nil {
			return refuse(reasonBody)
		}
		return apply(tx, from.GetNode(), body)
	}
}
