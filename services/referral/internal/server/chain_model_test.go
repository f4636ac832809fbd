package server_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
)

// What callers of a history ask for.
const (
	opSubmit = iota
	opOffer
	opAsk
	opAnswer
	opAccept
	opDecline
	opConfirm
	opWithdraw
	opCancel
	opChain
)

var opNames = []string{"submit", "offer", "ask", "answer", "accept", "decline", "confirm", "withdraw", "cancel", "chain"}

// chainCall is what one caller asked of one referral for a service, whose units are all of one node.
type chainCall struct {
	op, referral int
	offer        int    // which of its offers, as the chain counts them
	code         string // reason, topic, or the unit to ask
	tag          string // of the referral, as the caller had read it
}

// chainAnswer is what the caller was told.
type chainAnswer struct {
	// unknown: the service failed meanwhile. Either the call was made before it was there again, or never.
	unknown  bool
	reason   string // why not, with the state that the refusal names; empty: done
	name     string // of the referral that was submitted
	sequence uint64 // of the referral shown
	tag      string
	chain    string // what the chain holds
}

// askedUnit is an offer as the owner's chain has it, and as the unit that was asked has it. What one says reaches the other by a letter.
type askedUnit struct {
	unit          string
	chain, own    custodyv1.OfferState // own is 0 while the offer has not come
	reason, topic string               // in the unit's record
	chainReason   string
	heard         uint64 // sequence of what the unit has heard of the owner last
}

// underWay is a letter within the node.
type underWay struct {
	kind     string // of the owner's event or the unit's reply
	offer    int
	code     string
	sequence uint64
}

// chainState is a referral. Steps copy it.
type chainState struct {
	name    string
	ended   string // reason of the cancellation
	version int
	events  []string
	offers  []askedUnit
	letters []underWay
}

func (s *chainState) equal(o *chainState) bool {
	return s.name == o.name && s.ended == o.ended && s.version == o.version && slices.Equal(s.events, o.events) &&
		slices.Equal(s.offers, o.offers) && slices.Equal(s.letters, o.letters)
}

func (s *chainState) clone() *chainState {
	c := *s
	c.events, c.offers, c.letters = slices.Clone(s.events), slices.Clone(s.offers), slices.Clone(s.letters)
	return &c
}

// oneChain is what referrals may answer: who may write what next, that nothing written is ever gone, and nothing stands twice. Letters
// between the unit that was asked and the owner come in order, each at some time after it was written.
var oneChain = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var parts [][]porcupine.Operation
		for _, op := range history {
			n := op.Input.(chainCall).referral
			for n >= len(parts) {
				parts = append(parts, nil)
			}
			parts[n] = append(parts[n], op)
		}
		return parts
	},
	Init:  func() []any { return []any{&chainState{}} },
	Equal: func(a, b any) bool { return a.(*chainState).equal(b.(*chainState)) },
	Step: func(state, input, output any) (next []any) {
		in, out := input.(chainCall), output.(chainAnswer)
		for s := state.(*chainState); ; {
			done := s.clone()
			want := done.call(in, out.name)
			if out.unknown {
				next = append(next, s)
			}
			if out.unknown || want == out {
				next = append(next, done)
			}
			if len(s.letters) == 0 {
				return next
			}
			s = s.clone()
			s.deliver()
		}
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%s %+v: %+v", opNames[input.(chainCall).op], input, output)
	},
}).ToModel()

const wrong = "REASON_WRONG_STATE "

// refusedIn refuses what cannot be done with a unit's offer.
func refusedIn(state custodyv1.OfferState) chainAnswer {
	return chainAnswer{reason: wrong + custody.OfferStateName(state)}
}

// call makes a call, and says how it must be answered. named is what a submission may call a referral that is new.
func (s *chainState) call(in chainCall, named string) chainAnswer {
	if in.op == opSubmit {
		return s.submit(in, named)
	}
	if in.op == opChain {
		return chainAnswer{chain: strings.Join(s.events, ",")}
	}
	if in.op == opOffer {
		return s.offer(in)
	}
	if in.op == opCancel {
		return s.cancel(in.code)
	}
	if in.offer >= len(s.offers) {
		return chainAnswer{reason: "no such offer"} // whoever knows of it knows that the referral has it
	}
	o := &s.offers[in.offer]
	switch in.op {
	case opAsk, opAccept, opDecline:
		return s.say(o, in)
	case opAnswer:
		if o.chain != custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED {
			return chainAnswer{reason: wrong}
		}
		o.chain = custodyv1.OfferState_OFFER_STATE_RECEIVED
		s.write("answered", in.offer, "", true)
		return s.end()
	case opConfirm:
		return s.confirm(in.offer)
	}
	switch { // opWithdraw
	case o.chain == custodyv1.OfferState_OFFER_STATE_WITHDRAWN && o.chainReason == in.code:
		return s.show()
	case !live(o.chain):
		return chainAnswer{reason: wrong}
	}
	s.withdraw(in.offer, in.code)
	return s.end()
}

func (s *chainState) submit(in chainCall, named string) chainAnswer {
	if s.version > 0 { // the request id began it before
		shown := s.show()
		if s.name == "" {
			s.name = named // whoever submitted it heard nothing
		}
		shown.name = s.name
		return shown
	}
	s.name = named
	s.write("submitted", -1, "", false)
	s.ask(in.code)
	shown := s.end()
	shown.name = s.name
	return shown
}

func (s *chainState) ask(unit string) {
	s.offers = append(s.offers, askedUnit{unit: unit, chain: custodyv1.OfferState_OFFER_STATE_SENT})
	s.write("offered", len(s.offers)-1, "", true)
}

func (s *chainState) offer(in chainCall) chainAnswer {
	if in.tag != fmt.Sprint(s.version) {
		return chainAnswer{reason: "REASON_STALE_ETAG "}
	}
	chosen := false
	for _, o := range s.offers {
		if live(o.chain) && o.unit == in.code {
			return chainAnswer{reason: wrong}
		}
		chosen = chosen || isChosen(o.chain)
	}
	if s.ended != "" || chosen {
		return chainAnswer{reason: wrong}
	}
	s.ask(in.code)
	return s.end()
}

func (s *chainState) cancel(reason string) chainAnswer {
	switch {
	case s.ended == reason:
		return s.show()
	case s.ended != "":
		return chainAnswer{reason: wrong}
	}
	for i, o := range s.offers {
		if live(o.chain) {
			s.withdraw(i, "NOT_NEEDED")
		}
	}
	s.ended = reason
	s.write("cancelled", -1, "", false)
	return s.end()
}

// confirm chooses an acceptance; who else was asked is not needed.
func (s *chainState) confirm(chosen int) chainAnswer {
	switch o := s.offers[chosen]; {
	case isChosen(o.chain):
		return s.show()
	case o.chain != custodyv1.OfferState_OFFER_STATE_ACCEPTED:
		return chainAnswer{reason: wrong}
	}
	for i, o := range s.offers {
		if i != chosen && live(o.chain) {
			s.withdraw(i, "OTHER_CHOSEN")
		}
	}
	s.offers[chosen].chain = custodyv1.OfferState_OFFER_STATE_CONFIRMED
	s.write("confirmed", chosen, "", false)
	return s.end()
}

// say is what the unit that was asked does.
func (s *chainState) say(o *askedUnit, in chainCall) chainAnswer {
	again, kind, next := false, "", custodyv1.OfferState_OFFER_STATE_UNSPECIFIED
	received := o.own == custodyv1.OfferState_OFFER_STATE_RECEIVED
	asking := o.own == custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED
	switch in.op {
	case opAsk:
		again = asking && o.topic == in.code
		if received {
			kind, next = "question", custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED
		}
	case opAccept:
		again = o.own == custodyv1.OfferState_OFFER_STATE_ACCEPTED || isChosen(o.own)
		if received {
			kind, next = "accepted", custodyv1.OfferState_OFFER_STATE_ACCEPTED
		}
	case opDecline:
		again = o.own == custodyv1.OfferState_OFFER_STATE_DECLINED && o.reason == in.code
		if received || asking {
			kind, next = "declined", custodyv1.OfferState_OFFER_STATE_DECLINED
		}
	}
	switch {
	case o.own == 0:
		return chainAnswer{reason: "REASON_NOT_FOUND "}
	case again:
		return chainAnswer{}
	case kind == "":
		return refusedIn(o.own)
	}
	o.own = next
	switch in.op {
	case opAsk:
		o.topic = in.code
	case opDecline:
		o.reason, o.topic = in.code, ""
	}
	s.letters = append(s.letters, underWay{kind: kind, offer: in.offer, code: in.code})
	return chainAnswer{}
}

// write appends an event; alone is one of which the unit has word by a letter.
func (s *chainState) write(kind string, offer int, code string, alone bool) {
	name := kind
	if offer >= 0 {
		name = fmt.Sprint(kind, " ", offer)
	}
	s.events = append(s.events, name)
	if alone {
		s.letters = append(s.letters, underWay{kind: kind, offer: offer, code: code, sequence: uint64(len(s.events))})
	}
}

func (s *chainState) withdraw(offer int, reason string) {
	o := &s.offers[offer]
	o.chain, o.chainReason = custodyv1.OfferState_OFFER_STATE_WITHDRAWN, reason
	s.write("offer_withdrawn", offer, reason, true)
}

// end commits what was written; the units of this node follow its chain at once.
func (s *chainState) end() chainAnswer {
	s.version++
	for i := range s.offers {
		o := &s.offers[i]
		switch {
		case o.chain == custodyv1.OfferState_OFFER_STATE_CONFIRMED && o.own == custodyv1.OfferState_OFFER_STATE_ACCEPTED:
			o.own = custodyv1.OfferState_OFFER_STATE_READY // nobody needs a bed: the promise is given at once
			s.letters = append(s.letters, underWay{kind: "ready", offer: i})
		case o.chain == custodyv1.OfferState_OFFER_STATE_WITHDRAWN && live(o.own):
			o.own, o.reason, o.topic = custodyv1.OfferState_OFFER_STATE_WITHDRAWN, o.chainReason, ""
		}
	}
	return s.show()
}

func (s *chainState) show() chainAnswer {
	return chainAnswer{sequence: uint64(len(s.events)), tag: fmt.Sprint(s.version)}
}

// replyStates is to which state a reply moves the owner's offer, from which.
var replyStates = map[string]map[custodyv1.OfferState]custodyv1.OfferState{
	"received": {custodyv1.OfferState_OFFER_STATE_SENT: custodyv1.OfferState_OFFER_STATE_RECEIVED},
	"question": {custodyv1.OfferState_OFFER_STATE_RECEIVED: custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED},
	"accepted": {custodyv1.OfferState_OFFER_STATE_RECEIVED: custodyv1.OfferState_OFFER_STATE_ACCEPTED},
	"declined": {
		custodyv1.OfferState_OFFER_STATE_RECEIVED:              custodyv1.OfferState_OFFER_STATE_DECLINED,
		custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED: custodyv1.OfferState_OFFER_STATE_DECLINED,
	},
	"ready": {custodyv1.OfferState_OFFER_STATE_CONFIRMED: custodyv1.OfferState_OFFER_STATE_READY},
}

// deliver lets the next letter come.
func (s *chainState) deliver() {
	l := s.letters[0]
	s.letters = s.letters[1:]
	o := &s.offers[l.offer]
	switch l.kind {
	case "offered":
		o.own = custodyv1.OfferState_OFFER_STATE_RECEIVED
		s.letters = append(s.letters, underWay{kind: "received", offer: l.offer})
	case "answered":
		if l.sequence > o.heard && o.own == custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED {
			o.own, o.heard, o.topic = custodyv1.OfferState_OFFER_STATE_RECEIVED, l.sequence, ""
		}
	case "offer_withdrawn":
		if l.sequence > o.heard && live(o.own) {
			o.own, o.heard, o.reason, o.topic = custodyv1.OfferState_OFFER_STATE_WITHDRAWN, l.sequence, l.code, ""
		}
	default:
		next, ok := replyStates[l.kind][o.chain]
		if !ok {
			return // it came too late
		}
		o.chain = next
		if l.kind == "declined" {
			o.chainReason = l.code
		}
		s.write("reply_recorded "+l.kind, l.offer, "", false)
		s.end()
	}
}

func live(state custodyv1.OfferState) bool {
	switch state {
	case custodyv1.OfferState_OFFER_STATE_SENT, custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED,
		custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED, custodyv1.OfferState_OFFER_STATE_READY:
		return true
	}
	return false
}

func isChosen(state custodyv1.OfferState) bool {
	return state == custodyv1.OfferState_OFFER_STATE_CONFIRMED || state == custodyv1.OfferState_OFFER_STATE_READY
}
