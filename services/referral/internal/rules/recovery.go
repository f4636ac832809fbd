package rules

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// JudgeAnswers says which nodes a restored one still waits for, and, once it waits for none, whose answers contradict what others know
// (DESIGN section 4): answers count only when all name the same incarnations. known are the incarnations that the restored node itself
// knows, by node; restored says which nodes were restored once. A node that never heard of another agrees with everybody, unless that
// other was restored: then it may still hear of an earlier life of it.
func JudgeAnswers(r *referralv1.RecoveryRecord, known map[string]uint64, restored map[string]bool) (waiting, disagree []*referralv1.PeerRecord) {
	latest := map[string]uint64{}
	for node, incarnation := range known {
		latest[node] = incarnation
	}
	var answers []*referralv1.PeerRecord
	counts := map[string]bool{} // whose incarnation must agree
	for _, p := range r.GetPeers() {
		switch {
		case p.GetPeer().GetExcusedBy() != nil:
		case !p.GetAnswered():
			waiting = append(waiting, p)
		default:
			answers = append(answers, p)
			counts[p.GetPeer().GetNode()] = true
			for _, k := range p.GetKnown() {
				latest[k.GetNode()] = max(latest[k.GetNode()], k.GetIncarnation())
			}
		}
	}
	for _, p := range answers {
		named := map[string]uint64{}
		for _, k := range p.GetKnown() {
			named[k.GetNode()] = k.GetIncarnation()
		}
		for node := range counts {
			if named[node] != latest[node] && (named[node] != 0 || restored[node]) {
				disagree = append(disagree, p)
				break
			}
		}
	}
	return waiting, disagree
}

// Said is something that was said of an offer made to this node: by its owner, an event that stands alone, or by this node, a reply.
type Said struct {
	Event *custodyv1.Event
	Reply *custodyv1.Reply
}

// Recall rebuilds what this node did about an offer from what another node still knows, in order. It fills the record as far as replies
// tell: of a person's name, a telephone or a bed group nothing stands in them.
func Recall(r *referralv1.OfferRecord, said []Said) {
	r.State = custodyv1.OfferState_OFFER_STATE_RECEIVED
	r.ReleaseRequested, r.ReleaseReason, r.QuestionTopic, r.ReviewTime = false, "", "", nil
	for _, s := range said {
		if s.Event != nil {
			recallEvent(r, s.Event)
			continue
		}
		state := r.GetState()
		if state == custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED { // that it was answered may be lost
			if next, ok := custody.Answer(custodyv1.OfferState_OFFER_STATE_RECEIVED, s.Reply); ok {
				r.State = next
			}
		}
		if next, ok := custody.Answer(state, s.Reply); ok {
			r.State = next
		}
		recallReply(r, s.Reply)
	}
}

// Recallable says that replies that were lost can have brought an offer further: it is not over by its owner's word, nor is the person
// on the way.
func Recallable(state custodyv1.OfferState) bool {
	switch state {
	case custodyv1.OfferState_OFFER_STATE_WITHDRAWN, custodyv1.OfferState_OFFER_STATE_EXPIRED, custodyv1.OfferState_OFFER_STATE_FULFILLED:
		return false
	}
	return true
}

func recallEvent(r *referralv1.OfferRecord, e *custodyv1.Event) {
	switch {
	case e.GetOfferWithdrawn() != nil:
		r.DeclineReason = e.GetOfferWithdrawn().GetReason()
	case e.GetReleaseRefused() != nil:
		r.ReleaseRequested, r.ReleaseReason = false, ""
	case e.GetAnswered() != nil:
		r.QuestionTopic = ""
	case e.GetConfirmed() != nil:
		r.State = Follow(r.GetState(), custodyv1.OfferState_OFFER_STATE_CONFIRMED)
	}
	r.State = Hear(r.GetState(), e)
	if e.GetReleaseRefused() != nil {
		r.HeardSequence = max(r.GetHeardSequence(), e.GetSequence())
	}
}

func recallReply(r *referralv1.OfferRecord, reply *custodyv1.Reply) {
	switch b := reply.GetBody().(type) {
	case *custodyv1.Reply_Accepted:
		r.Actor, r.AnnexCommitment = reply.GetActor(), reply.GetAnnexCommitment()
		r.Hold, r.Fence, r.QuestionTopic = b.Accepted.GetHold(), b.Accepted.GetFence(), ""
	case *custodyv1.Reply_Ready:
		r.Fence = b.Ready.GetFence()
		r.HoldOver = r.GetAdmitted() // an older copy may have ended it, which knew of no promise; the shelter says what became of it
	case *custodyv1.Reply_Declined:
		r.DeclineReason = b.Declined.GetReason()
	case *custodyv1.Reply_AcceptanceWithdrawn:
		r.DeclineReason = b.AcceptanceWithdrawn.GetReason()
	case *custodyv1.Reply_Question:
		r.QuestionTopic = b.Question.GetTopic()
	case *custodyv1.Reply_Waitlisted:
		r.ReviewTime = b.Waitlisted.GetReviewTime()
	case *custodyv1.Reply_ReleaseRequested:
		r.ReleaseRequested, r.ReleaseReason = true, b.ReleaseRequested.GetReason()
	case *custodyv1.Reply_ScheduleProposed:
		r.MeetTime, r.PlaceCommitment = b.ScheduleProposed.GetMeetTime(), reply.GetAnnexCommitment()
	case *custodyv1.Reply_OutcomeReported:
		r.Outcome = b.OutcomeReported.GetOutcome()
	}
}
