package app

import (
	"slices"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// tell appends the events of one new link.
func (w *work) tell(l custody.Link) error {
	s := w.chain.State()
	if err := w.tellOwn(l); err != nil {
		return err
	}
	state, word := wordOf(l.Event)
	if reply := custody.Recorded(l.Event); reply != nil {
		if state, word = wordOfReply(s, reply); w.late(l, reply) {
			state, word = 0, ""
		}
		if err := w.tellReply(l, reply); err != nil {
			return err
		}
	}
	if entered := custody.Entered(l.Event); entered != nil {
		state, word = wordOfReply(s, entered)
		if err := w.tellEntered(l, entered); err != nil {
			return err
		}
	}
	if word == "" {
		return nil
	}
	if state == custodyv1.ReferralState_REFERRAL_STATE_UNSPECIFIED {
		state = s.State
	}
	return w.tellChanged(word, l, state)
}

// wordOf is the state a referral went to with an event, and how that is called; unspecified where it stayed, and empty where
// nothing is told.
func wordOf(e *custodyv1.Event) (state custodyv1.ReferralState, word string) {
	switch e.GetBody().(type) {
	case *custodyv1.Event_Submitted:
		return custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED, "submitted"
	case *custodyv1.Event_Confirmed:
		return custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, "confirmed"
	case *custodyv1.Event_Dispatched:
		return custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, "dispatched"
	case *custodyv1.Event_Arrived:
		return custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, "arrived"
	case *custodyv1.Event_ExternalAnswered:
		if e.GetExternalAnswered().GetArrived() != nil {
			return custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, "arrived"
		}
	case *custodyv1.Event_ServiceStarted:
		return custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, "in-service"
	case *custodyv1.Event_Completed:
		return custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, "completed"
	case *custodyv1.Event_Cancelled:
		return custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, "cancelled"
	case *custodyv1.Event_Expired:
		return custodyv1.ReferralState_REFERRAL_STATE_EXPIRED, "expired"
	case *custodyv1.Event_NoShow:
		return custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW, "no-show"
	case *custodyv1.Event_Returned:
		return custodyv1.ReferralState_REFERRAL_STATE_RETURNED, "returned"
	case *custodyv1.Event_CheckedIn:
		return 0, "checked-in"
	case *custodyv1.Event_ConsentEnded:
		return 0, "consent-ended"
	case *custodyv1.Event_Corrected:
		return 0, "corrected"
	}
	return 0, ""
}

func wordOfReply(s *custody.State, r *custodyv1.Reply) (state custodyv1.ReferralState, word string) {
	switch {
	case r.GetReady() != nil:
		return custodyv1.ReferralState_REFERRAL_STATE_READY, "ready"
	case r.GetServiceGiven() != nil:
		return custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, "in-service"
	case r.GetReturnRequested() != nil:
		return 0, "return-requested"
	case r.GetSafetyInformation().GetFound() && s.Found:
		return 0, "found"
	}
	return 0, ""
}

// late says that a service given was recorded when the referral was completed already: it stays so.
func (w *work) late(l custody.Link, r *custodyv1.Reply) bool {
	return r.GetServiceGiven() != nil && slices.ContainsFunc(w.chain.Links()[:l.Event.GetSequence()], func(before custody.Link) bool {
		return before.Event.GetCompleted() != nil
	})
}

// tellChanged says inside this node what an event of the chain changed.
func (w *work) tellChanged(word string, l custody.Link, state custodyv1.ReferralState) error {
	s := w.chain.State()
	data := &referralv1.ReferralChanged{
		Referral: s.Referral, State: state, OriginNode: s.Origin, OwnerNode: s.Owner,
		Unit: s.UnitAt(w.Node), Outcome: s.Completed.GetOutcome(), Reason: s.Reason, CareNode: s.Care, Kind: s.Submitted.GetKind(),
		Sequence: l.Event.GetSequence(), GiverNode: s.Giver, OwnerNodes: owners(w.chain), ConsentEnded: s.ConsentEnded,
		Outside: s.Outside, RequestId: w.request,
	}
	if chosen := s.Chosen(); chosen != nil {
		if chosen.Live() || !placement(s) {
			data.GiverNode = chosen.By
		}
		data.Returning = chosen.Return
		data.ToNode, data.Offer = chosen.Offered.GetToNode(), store.OfferName(s.Referral, chosen.Hash.String())
		if data.Unit == "" && data.GetToNode() == w.Node {
			data.Unit = chosen.Offered.GetToUnit()
		}
		if data.GetToNode() == w.Node && !chosen.Return {
			record, err := optional(store.Offers.Get(w.tx, store.OfferKey(data.GetOffer())))
			if err != nil {
				return err
			}
			data.OfferOver = record != nil && !rules.Open(record.GetState()) && record.GetState() != custodyv1.OfferState_OFFER_STATE_FULFILLED
		}
	}
	return w.Events.Append(w.tx, "referral.referral."+word+".v1", s.Referral, w.now, data)
}

// owners are the nodes that own a referral or owned it, the first owner at the front, and at the end once more where it owned it again.
func owners(chain *custody.Chain) []string {
	s := chain.State()
	all := []string{s.Origin}
	for _, node := range append(slices.Clone(s.Former), s.Owner) {
		if !slices.Contains(all, node) {
			all = append(all, node)
		}
	}
	another := false
	for _, l := range chain.Links() {
		if another && l.Event.GetOwner() == s.Origin {
			return append(all, s.Origin)
		}
		another = another || l.Event.GetOwner() != s.Origin
	}
	return all
}

func placement(s *custody.State) bool {
	return s.Submitted.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
}

// tellOwn says what the owner did with an offer. The unit asked says it itself when it hears of it; a first owner that asked for
// a return hears of it in the chain.
func (w *work) tellOwn(l custody.Link) error {
	s := w.chain.State()
	o := s.Offer(custody.OfferOf(l.Event))
	if o == nil || l.Event.GetOwner() != w.Node && (!o.Return || o.Offered.GetToNode() != w.Node) {
		return nil
	}
	return w.tellHeard(w.tx, w.now, l.Event, &referralv1.OfferChanged{
		Offer: store.OfferName(s.Referral, o.Hash.String()), Referral: s.Referral,
		FromNode: o.By, ToNode: o.Offered.GetToNode(), ToUnit: o.Offered.GetToUnit(),
	})
}

// tellHeard appends the event of what an owner did with an offer.
func (a *App) tellHeard(tx *kitstore.Tx, now time.Time, e *custodyv1.Event, data *referralv1.OfferChanged) error {
	word := ""
	switch b := e.GetBody().(type) {
	case *custodyv1.Event_OfferWithdrawn:
		data.State, word, data.Reason = custodyv1.OfferState_OFFER_STATE_WITHDRAWN, "withdrawn", b.OfferWithdrawn.GetReason()
	case *custodyv1.Event_OfferExpired:
		data.State, word = custodyv1.OfferState_OFFER_STATE_EXPIRED, "expired"
	case *custodyv1.Event_Answered:
		data.State, word = custodyv1.OfferState_OFFER_STATE_RECEIVED, "answered"
	case *custodyv1.Event_ReleaseRefused:
		data.State, word, data.Reason = custodyv1.OfferState_OFFER_STATE_READY, "release-refused", b.ReleaseRefused.GetReason()
	}
	return a.Events.Append(tx, "referral.offer."+word+".v1", data.GetOffer(), now, data)
}

// tellReply says at the owner what an asked unit of another node answered; that node says it
// itself when it answers.
func (w *work) tellReply(l custody.Link, reply *custodyv1.Reply) error {
	if l.Event.GetOwner() != w.Node || reply.GetNode() == w.Node {
		return nil
	}
	if !custody.AboutOffer(reply) {
		return w.tellWord(reply)
	}
	s := w.chain.State()
	offer := s.Offer(reply.GetOffer())
	return w.tellOffer(w.tx, w.now, reply, &referralv1.OfferChanged{
		Offer: store.OfferName(s.Referral, offer.Hash.String()), Referral: s.Referral,
		FromNode: l.Event.GetOwner(), ToNode: offer.Offered.GetToNode(), ToUnit: offer.Offered.GetToUnit(),
	})
}

// tellWord says at the owner what somebody else said of the referral as a whole, so that a person sees it.
func (w *work) tellWord(reply *custodyv1.Reply) error {
	s, word := w.chain.State(), ""
	data := &referralv1.OwnerTold{Referral: s.Referral, Node: reply.GetNode(), Unit: s.UnitAt(w.Node)}
	switch b := reply.GetBody().(type) {
	case *custodyv1.Reply_SafetyInformation:
		word, data.Code, data.Found = "safety-reported", b.SafetyInformation.GetCode(), b.SafetyInformation.GetFound()
	case *custodyv1.Reply_CorrectionRequested:
		word = "correction-requested"
	case *custodyv1.Reply_ConsentWithdrawn:
		word = "consent-withdrawn"
	default:
		return nil
	}
	return w.Events.Append(w.tx, "referral.owner."+word+".v1", s.Referral, w.now, data)
}

// tellOffer appends the event of a reply.
func (a *App) tellOffer(tx *kitstore.Tx, now time.Time, reply *custodyv1.Reply, data *referralv1.OfferChanged) error {
	word := ""
	switch reply.GetBody().(type) {
	case *custodyv1.Reply_Received:
		data.State, word = custodyv1.OfferState_OFFER_STATE_RECEIVED, "received"
	case *custodyv1.Reply_Accepted:
		data.State, word = custodyv1.OfferState_OFFER_STATE_ACCEPTED, "accepted"
	case *custodyv1.Reply_Declined:
		data.State, word = custodyv1.OfferState_OFFER_STATE_DECLINED, "declined"
	case *custodyv1.Reply_AcceptanceWithdrawn:
		data.State, word = custodyv1.OfferState_OFFER_STATE_LAPSED, "acceptance-withdrawn"
	case *custodyv1.Reply_Question:
		data.State, word = custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED, "question-asked"
	case *custodyv1.Reply_Waitlisted:
		data.State, word = custodyv1.OfferState_OFFER_STATE_WAITLISTED, "waitlisted"
	case *custodyv1.Reply_ReleaseRequested:
		data.State, word = custodyv1.OfferState_OFFER_STATE_READY, "release-requested"
	case *custodyv1.Reply_ScheduleProposed:
		data.State, word = custodyv1.OfferState_OFFER_STATE_READY, "schedule-proposed"
	case *custodyv1.Reply_ServiceGiven:
		data.State, word = custodyv1.OfferState_OFFER_STATE_FULFILLED, "service-given"
	case *custodyv1.Reply_OutcomeReported:
		data.State, word = custodyv1.OfferState_OFFER_STATE_FULFILLED, "outcome-reported"
	case *custodyv1.Reply_Ready:
		data.State, word = custodyv1.OfferState_OFFER_STATE_READY, "ready"
	default:
		return nil
	}
	return a.Events.Append(tx, "referral.offer."+word+".v1", data.GetOffer(), now, data)
}
