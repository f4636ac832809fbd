package custody

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/mutant"
)

type kind int

const (
	unknown kind = iota
	received
	accepted
	declined
	acceptanceWithdrawn
	ready
	question
	waitlisted
	releaseRequested
	scheduleProposed
	arrivalAsserted
	serviceGiven
	outcomeReported
	returnRequested
	consentWithdrawn
	dossierClosed
	safetyInformation
	correctionRequested
	refused
)

type moves = map[custodyv1.OfferState]custodyv1.OfferState

// replyMoves says to which state a reply moves the offer it answers; where there is no entry the reply is not possible. After
// READY the destination can only ask to be let go (DESIGN section 3).
var replyMoves = map[kind]moves{
	received: {offerSent: offerReceived},
	question: {offerReceived: offerInformation},
	waitlisted: {
		offerReceived: offerWaitlisted, offerWaitlisted: offerWaitlisted,
	},
	accepted: {offerReceived: offerAccepted, offerWaitlisted: offerAccepted},
	declined: {
		offerReceived: offerDeclined, offerInformation: offerDeclined, offerWaitlisted: offerDeclined,
	},
	acceptanceWithdrawn: {
		offerReceived: offerLapsed, offerInformation: offerLapsed, offerWaitlisted: offerLapsed,
		offerAccepted: offerLapsed, offerConfirmed: offerLapsed,
	},
	ready:            {offerConfirmed: offerReady},
	releaseRequested: {offerReady: offerReady},
	scheduleProposed: {offerReady: offerReady},
	serviceGiven:     {offerReady: offerFulfilled, offerFulfilled: offerFulfilled},
	outcomeReported:  {offerFulfilled: offerFulfilled},
}

var replyNames = map[kind]string{
	unknown: "a reply of a later version", received: "received", accepted: "accepted", declined: "declined",
	acceptanceWithdrawn: "acceptance withdrawn", ready: "ready", question: "question", waitlisted: "waitlisted",
	releaseRequested: "request for release", scheduleProposed: "proposed schedule", arrivalAsserted: "asserted arrival",
	serviceGiven: "service given", outcomeReported: "outcome", returnRequested: "request to return", consentWithdrawn: "consent withdrawn",
	dossierClosed: "dossier closed", safetyInformation: "safety information", correctionRequested: "request for correction", refused: "refusal of a handover",
}

func replyKind(r *custodyv1.Reply) kind {
	switch r.GetBody().(type) {
	case *custodyv1.Reply_Received:
		return received
	case *custodyv1.Reply_Accepted:
		return accepted
	case *custodyv1.Reply_Declined:
		return declined
	case *custodyv1.Reply_AcceptanceWithdrawn:
		return acceptanceWithdrawn
	case *custodyv1.Reply_Ready:
		return ready
	case *custodyv1.Reply_Question:
		return question
	case *custodyv1.Reply_Waitlisted:
		return waitlisted
	case *custodyv1.Reply_ReleaseRequested:
		return releaseRequested
	case *custodyv1.Reply_ScheduleProposed:
		return scheduleProposed
	case *custodyv1.Reply_ArrivalAsserted:
		return arrivalAsserted
	case *custodyv1.Reply_ServiceGiven:
		return serviceGiven
	case *custodyv1.Reply_OutcomeReported:
		return outcomeReported
	case *custodyv1.Reply_ReturnRequested:
		return returnRequested
	case *custodyv1.Reply_ConsentWithdrawn:
		return consentWithdrawn
	case *custodyv1.Reply_DossierClosed:
		return dossierClosed
	case *custodyv1.Reply_SafetyInformation:
		return safetyInformation
	case *custodyv1.Reply_CorrectionRequested:
		return correctionRequested
	case *custodyv1.Reply_Refused:
		return refused
	}
	return unknown
}

// ReplyName is a reply's kind in the field's words, for errors and logs.
func ReplyName(r *custodyv1.Reply) string { return replyNames[replyKind(r)] }

// ReplyHash names a reply: the SHA-256 of its bytes.
func ReplyHash(signed *custodyv1.SignedReply) Hash { return sha256.Sum256(signed.GetReply()) }

// Answer is the state in which a reply leaves the offer it answers; false where the offer cannot be answered so. The owner's
// chain and the unit that answers both go by it.
func Answer(state custodyv1.OfferState, r *custodyv1.Reply) (custodyv1.OfferState, bool) {
	next, ok := replyMoves[replyKind(r)][state]
	return next, ok
}

// SignReply writes a reply as this node. The caller fills it whole.
func SignReply(s Signer, r *custodyv1.Reply) (*custodyv1.SignedReply, error) {
	raw, err := proto.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("marshal the reply: %w", err)
	}
	return &custodyv1.SignedReply{Reply: raw, Signature: s.Sign(DomainReply, raw)}, nil
}

// OpenReply checks a reply's signature by the node it names and decodes it.
func OpenReply(v Verifier, signed *custodyv1.SignedReply) (*custodyv1.Reply, error) {
	r, err := decodeReply(signed)
	if err != nil {
		return nil, err
	}
	if err := v.Verify(r.GetNode(), signing, DomainReply, signed.GetReply(), signed.GetSignature()); err != nil {
		return nil, fmt.Errorf("signature of the reply by %s: %w", r.GetNode(), err)
	}
	return r, nil
}

func decodeReply(signed *custodyv1.SignedReply) (*custodyv1.Reply, error) {
	r := &custodyv1.Reply{}
	if err := proto.Unmarshal(signed.GetReply(), r); err != nil {
		return nil, fmt.Errorf("the reply's bytes are not a reply: %w", err)
	}
	if r.GetReferral() == "" || r.GetNode() == "" {
		return nil, errors.New("a reply must name referral and node")
	}
	if AboutOffer(r) != (len(r.GetOffer()) == len(Hash{})) || !AboutOffer(r) && len(r.GetOffer()) > 0 {
		return nil, errors.New("a reply must name the offer it answers, and only that")
	}
	return r, nil
}

// AboutOffer says that a reply answers an offer. The others are about the referral as a whole.
func AboutOffer(r *custodyv1.Reply) bool {
	_, answers := replyMoves[replyKind(r)]
	return answers
}

// Holds says whether the chain has recorded a reply: then it is a no-op, for ever (I3). What can be said but once of an offer, an
// arrival or an ownership is known by that, all else by its bytes.
func (c *Chain) Holds(signed *custodyv1.SignedReply) bool {
	r, err := decodeReply(signed)
	if err != nil {
		return false
	}
	for _, l := range c.links {
		recorded := l.Event.GetReplyRecorded().GetReply()
		if recorded == nil {
			recorded = l.Event.GetHandoverRefused().GetRefusal()
		}
		if recorded == nil {
			continue
		}
		if bytes.Equal(recorded.GetReply(), signed.GetReply()) && !mutant.Off("again") {
			return true
		}
		if other, err := decodeReply(recorded); err == nil && saidOnce(r, other) && !c.promisesAgain(r) {
			return true
		}
	}
	return false
}

// Recorded says whether this very reply stands in the chain, byte for byte.
func (c *Chain) Recorded(signed *custodyv1.SignedReply) bool {
	return slices.ContainsFunc(c.links, func(l Link) bool {
		recorded := l.Event.GetReplyRecorded().GetReply()
		return recorded != nil && bytes.Equal(recorded.GetReply(), signed.GetReply())
	})
}

// promisesAgain: who takes a person back promises again where an arrival undid the choice and it was made anew (foldArrived).
func (c *Chain) promisesAgain(r *custodyv1.Reply) bool {
	o := c.state.Offer(r.GetOffer())
	return replyKind(r) == ready && o != nil && o.Return && o.State == offerConfirmed
}

// SaidOnce says that a reply is of a kind that a chain records but once of an offer, an arrival or an ownership, and so cannot fill it.
func SaidOnce(r *custodyv1.Reply) bool { return saidOnce(r, r) }

// saidOnce says that two replies are the same, whatever else they say.
func saidOnce(a, b *custodyv1.Reply) bool {
	if replyKind(a) != replyKind(b) || a.GetNode() != b.GetNode() || !bytes.Equal(a.GetOffer(), b.GetOffer()) {
		return false
	}
	switch replyKind(a) {
	case received, accepted, declined, acceptanceWithdrawn, ready, outcomeReported:
		return true
	case arrivalAsserted:
		return a.GetArrivalAsserted().GetOrdinal() == b.GetArrivalAsserted().GetOrdinal()
	case returnRequested:
		return a.GetReturnRequested().GetEpoch() == b.GetReturnRequested().GetEpoch() &&
			a.GetReturnRequested().GetOrdinal() == b.GetReturnRequested().GetOrdinal()
	case refused:
		return bytes.Equal(a.GetRefused().GetDispatched(), b.GetRefused().GetDispatched())
	}
	return false
}

func (s *State) foldReply(l Link, b *custodyv1.ReplyRecorded) error {
	r, err := decodeReply(b.GetReply())
	switch {
	case err != nil:
		return err
	case r.GetReferral() != s.Referral:
		return illegal(l.Event, "it belongs to another referral")
	case AboutOffer(r):
		return s.takeAnswer(l, r, ReplyHash(b.GetReply()))
	}
	return s.takeWord(l, r)
}

// takeAnswer moves the offer a reply answers. It is the one place that says which answer an offer in a given state may get.
func (s *State) takeAnswer(l Link, r *custodyv1.Reply, hash Hash) error {
	o := s.Offer(r.GetOffer())
	switch {
	case o == nil:
		return illegal(l.Event, "the referral has no such offer")
	case r.GetNode() != o.Offered.GetToNode():
		return illegal(l.Event, "its writer was not asked")
	}
	next, ok := Answer(o.State, r)
	if !ok {
		return illegal(l.Event, fmt.Sprintf("%s is no answer to an offer that is %s", ReplyName(r), OfferStateName(o.State)))
	}
	if k := replyKind(r); (k == serviceGiven || k == outcomeReported) && s.Submitted.GetKind() != service {
		return illegal(l.Event, "the referral is not for a service")
	}
	s.move(l, o, next, r, hash)
	return nil
}

// move takes an answer in that an offer may get. hash names the answer.
func (s *State) move(l Link, o *Offer, next custodyv1.OfferState, r *custodyv1.Reply, hash Hash) {
	switch b := r.GetBody().(type) {
	case *custodyv1.Reply_Accepted:
		o.Accepted = b.Accepted
	case *custodyv1.Reply_Question:
		o.Asked, o.Question = hash.Bytes(), b.Question
	case *custodyv1.Reply_Waitlisted:
		o.Waitlisted, o.Listed = b.Waitlisted, l.Event.GetTime().AsTime()
	case *custodyv1.Reply_Declined:
		s.close(o, next, b.Declined.GetReason())
	case *custodyv1.Reply_AcceptanceWithdrawn:
		s.close(o, next, b.AcceptanceWithdrawn.GetReason())
	case *custodyv1.Reply_Ready:
		o.Ready, s.State = b.Ready, isReady
	case *custodyv1.Reply_ReleaseRequested:
		o.ReleaseRequested = b.ReleaseRequested
	case *custodyv1.Reply_ScheduleProposed:
		o.Proposed = b.ScheduleProposed
	case *custodyv1.Reply_ServiceGiven:
		if s.late = s.late || s.State == isCompleted; !s.late { // one that comes late stands in the chain, and reopens nothing
			s.State = isInService
		}
		s.ServiceStarted = &custodyv1.ServiceStarted{Services: together(s.ServiceStarted.GetServices(), b.ServiceGiven.GetServices())}
	case *custodyv1.Reply_OutcomeReported:
		o.Outcome = b.OutcomeReported
	}
	o.State = next
}

// together are services given before and now, each once.
func together(before, now []string) []string {
	all := slices.Clone(before)
	for _, service := range now {
		if !slices.Contains(all, service) {
			all = append(all, service)
		}
	}
	return all
}

// takeWord takes in what a node says of the referral as a whole.
func (s *State) takeWord(l Link, r *custodyv1.Reply) error {
	node := r.GetNode()
	switch b := r.GetBody().(type) {
	case *custodyv1.Reply_ArrivalAsserted: // from whoever has the person, known or not
		a := Assertion{Node: node, Arrival: b.ArrivalAsserted}
		if s.Submitted.GetKind() != placement {
			return illegal(l.Event, "nobody moves in a referral for a service")
		}
		if !s.answers(a) {
			return illegal(l.Event, "the arrival was taken into the chain before")
		}
		s.Assertions[l.Hash] = a
		return nil
	case *custodyv1.Reply_ReturnRequested:
		return s.takeReturn(l, node, b.ReturnRequested)
	}
	if !s.Owned(node) && !s.Asked(node) {
		return illegal(l.Event, "its writer is no party to the referral")
	}
	switch b := r.GetBody().(type) {
	case *custodyv1.Reply_ConsentWithdrawn:
		s.ConsentEnded = true
	case *custodyv1.Reply_DossierClosed:
	case *custodyv1.Reply_SafetyInformation: // who was only asked never met the person, and does not end the search
		s.Found = s.Found || s.State == isNoShow && b.SafetyInformation.GetFound() && s.Owned(node)
	case *custodyv1.Reply_CorrectionRequested:
		if h := b.CorrectionRequested.GetEvent(); len(h) != len(Hash{}) || s.events[Hash(h)] == nil {
			return illegal(l.Event, "the chain has no such event")
		}
	default:
		return illegal(l.Event, ReplyName(r)+" is not recorded")
	}
	return nil
}

// takeReturn counts the first owner's wish as its acceptance of an offer that the event itself makes.
func (s *State) takeReturn(l Link, node string, r *custodyv1.ReturnRequested) error {
	switch s.State {
	case isInTransit, isArrived, isInService:
	default:
		return illegal(l.Event, s.is())
	}
	switch {
	case node != s.Origin || node == s.Owner:
		return illegal(l.Event, "only the first owner asks for a return")
	case r.GetEpoch() != s.Epoch:
		return illegal(l.Event, "it was asked of another owner")
	case r.GetOrdinal() != s.Returns:
		return illegal(l.Event, "this owner has answered another number of requests")
	case slices.ContainsFunc(s.LiveOffers(), func(o *Offer) bool { return o.Return }):
		return illegal(l.Event, "the request before it stands")
	}
	s.Returns++
	s.Offers = append(s.Offers, &Offer{
		Hash: l.Hash, By: l.Event.GetOwner(), Return: true, State: offerAccepted, Accepted: &custodyv1.Accepted{}, Time: l.Event.GetTime().AsTime(),
		Offered: &custodyv1.Offered{
			ToNode: node, ToUnit: r.GetUnit(), Kind: s.Submitted.GetKind(), Service: s.Submitted.GetService(),
			Urgency: s.Submitted.GetUrgency(), Needs: s.Submitted.GetNeeds(), Reference: s.Submitted.GetReference(),
		},
	})
	return nil
}

// StateName is a referral's state in plain words, such as "in transit".
func StateName(s custodyv1.ReferralState) string { return plain(s.String(), "REFERRAL_STATE_") }

// OfferStateName is an offer's state in plain words.
func OfferStateName(s custodyv1.OfferState) string { return plain(s.String(), "OFFER_STATE_") }

func plain(name, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", " "))
}
