package rules

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/mutant"
)

// Kinds, short.
const (
	receive  = referralv1.Deadline_KIND_RECEIVE
	answer   = referralv1.Deadline_KIND_ANSWER
	confirm  = referralv1.Deadline_KIND_CONFIRM
	ready    = referralv1.Deadline_KIND_READY
	dispatch = referralv1.Deadline_KIND_DISPATCH
	arrive   = referralv1.Deadline_KIND_ARRIVE
	serve    = referralv1.Deadline_KIND_SERVE
	complete = referralv1.Deadline_KIND_COMPLETE
	askAgain = referralv1.Deadline_KIND_ASK_AGAIN
	watch    = referralv1.Deadline_KIND_WATCH

	inform       = referralv1.Deadline_KIND_INFORM
	release      = referralv1.Deadline_KIND_RELEASE
	checkIn      = referralv1.Deadline_KIND_CHECK_IN
	find         = referralv1.Deadline_KIND_FIND
	comeBack     = referralv1.Deadline_KIND_RETURN
	review       = referralv1.Deadline_KIND_REVIEW
	followPerson = referralv1.Deadline_KIND_FOLLOW_PERSON
	closeLoop    = referralv1.Deadline_KIND_CLOSE
)

// step is what is due, and by when. agreed is a time that was agreed with somebody, on which it rests: another one begins the step
// anew, while one that counts from when the step began goes on.
type step struct {
	kind   referralv1.Deadline_Kind
	due    time.Time
	agreed time.Time
}

// Next is what a node must do or watch for next in a referral (invariant I7): a step if it owns it, a watch if it began or owned
// it before, the search if it has the duty of care for a person who did not come; nil when it is none of these, or when nothing can
// follow. asked says that the node wants the person back and has no answer. held is the deadline that stands; it stays, with its
// missed count, while the same step is due. A watch begins anew whenever the chain grew, for then the owner was heard.
func Next(s *custody.State, node string, asked bool, held *referralv1.DeadlineRecord, now time.Time, limits Limits) *referralv1.DeadlineRecord {
	if s.Submitted == nil {
		return nil
	}
	limit := limits.of(s.Submitted.GetUrgency())
	next, ok := stepOf(s, node, asked, now, limit)
	if !ok {
		return nil
	}
	answers := node
	if mutant.Off("unit") {
		answers = s.Owner
	}
	record := &referralv1.DeadlineRecord{
		Urgency: s.Submitted.GetUrgency(), FirstDueTime: timestamppb.New(next.due), Reference: s.Submitted.GetReference(),
		Deadline: &referralv1.Deadline{
			Referral: s.Referral, Kind: next.kind, DueTime: timestamppb.New(next.due), Unit: s.UnitAt(answers),
		},
	}
	if !next.agreed.IsZero() {
		record.AgreedTime = timestamppb.New(next.agreed)
	}
	if next.kind != watch && held.GetDeadline().GetKind() == next.kind && held.GetAgreedTime().AsTime().Equal(record.GetAgreedTime().AsTime()) {
		record.Deadline.DueTime, record.Deadline.Missed = held.GetDeadline().GetDueTime(), held.GetDeadline().GetMissed()
		record.FirstDueTime = held.GetFirstDueTime()
	}
	if node == s.Owner {
		if at, ok := expires(s, limit); ok {
			record.ExpireTime = timestamppb.New(at)
		}
	}
	return record
}

func stepOf(s *custody.State, node string, asked bool, now time.Time, l Limit) (step, bool) {
	switch {
	case s.State == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW:
		return step{kind: find, due: now.Add(l.Acknowledge)}, node == s.Care && !s.Found
	case s.Terminal():
		return step{}, false
	case node == s.Owner:
		return ownerStep(s, now, l), true
	case !s.Owned(node), mutant.Off("watch"):
		return step{}, false
	case asked:
		return step{kind: comeBack, due: now.Add(l.Acknowledge)}, true
	}
	return watchStep(s, now, l), true
}

func ownerStep(s *custody.State, now time.Time, l Limit) step {
	forService := s.Submitted.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	switch s.State {
	case custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED:
		return step{kind: ready, due: now.Add(l.Acknowledge)}
	case custodyv1.ReferralState_REFERRAL_STATE_READY:
		if s.Chosen().ReleaseRequested != nil {
			return step{kind: release, due: now.Add(l.Acknowledge)}
		}
		if forService {
			return step{kind: serve, due: now.Add(l.Seen)}
		}
		return step{kind: dispatch, due: now.Add(l.Seen)}
	}
	asked, open := askedStep(s, now, l)
	if open && (asked.kind == confirm || asked.kind == inform) {
		return asked // these wait for the owner alone, wherever the person is
	}
	switch s.State {
	case custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED:
		return asked
	case custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT:
		return roadStep(s, now)
	case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED:
		return step{kind: serve, due: now.Add(l.Seen)}
	}
	if chosen := s.Chosen(); (forService || s.Outside) && chosen != nil && chosen.Outcome != nil {
		return step{kind: closeLoop, due: now.Add(l.Seen)}
	}
	return step{kind: complete, due: now.Add(l.FollowUp)}
}

// askedStep is due while no acceptance is chosen: what waits for the owner before what waits for others.
func askedStep(s *custody.State, now time.Time, l Limit) (next step, open bool) {
	rank := map[referralv1.Deadline_Kind]int{confirm: 4, inform: 3, answer: 2, receive: 1}
	next = step{kind: askAgain, due: now.Add(l.Acknowledge)}
	for _, o := range s.LiveOffers() {
		var one step
		switch o.State {
		case custodyv1.OfferState_OFFER_STATE_ACCEPTED:
			one = step{kind: confirm, due: now.Add(l.Acknowledge)}
		case custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED:
			one = step{kind: inform, due: now.Add(l.Acknowledge)}
		case custodyv1.OfferState_OFFER_STATE_SENT:
			one = step{kind: receive, due: now.Add(l.Acknowledge)}
		default:
			until := answerUntil(o, l)
			one = step{kind: answer, due: until, agreed: until}
		}
		if rank[one.kind] > rank[next.kind] || rank[one.kind] == rank[next.kind] && one.due.Before(next.due) {
			next = one
		}
		open = true
	}
	return next, open
}

// roadStep: somebody on the road is heard of when that was agreed, and is there at last. Another node wrote when, so it is not believed
// beyond the longest road.
func roadStep(s *custody.State, now time.Time) step {
	longest := now.Add(MaxRoad)
	expected := s.Dispatched.GetExpectTime().AsTime()
	if check := s.CheckedIn.GetNextTime(); check != nil && check.AsTime().Before(expected.Add(Overdue)) {
		return step{kind: checkIn, due: earlier(later(now, check.AsTime()), longest), agreed: check.AsTime()}
	}
	return step{kind: arrive, due: earlier(later(now, expected), longest).Add(Overdue), agreed: expected}
}

// watchStep gives the owner the time to write, and the letter the time to come.
func watchStep(s *custody.State, now time.Time, l Limit) step {
	if s.State != custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT {
		return step{kind: watch, due: now.Add(l.FollowUp)}
	}
	road := roadStep(s, now)
	if road.kind == checkIn {
		return step{kind: checkIn, due: road.due.Add(l.Acknowledge), agreed: road.agreed}
	}
	return step{kind: watch, due: road.due}
}

// answerUntil is when an offer that is not answered ends: at its answer time; and not before the unit has had the usual time for what
// it asked back, or from the day on which it looks for a place again.
func answerUntil(o *custody.Offer, l Limit) time.Time {
	until := o.Offered.GetAnswerBy().AsTime()
	if o.Waitlisted != nil && o.State == custodyv1.OfferState_OFFER_STATE_WAITLISTED {
		until = later(until, earlier(o.Waitlisted.GetReviewTime().AsTime(), o.Listed.Add(MaxReview)).Add(l.Answer))
	}
	if !o.Answered.IsZero() {
		until = later(until, o.Answered.Add(l.Answer))
	}
	return until
}

// expires is when something of a referral ends by itself at its owner: an offer that is not answered, or a referral that nobody
// took since the last that was heard of it.
func expires(s *custody.State, l Limit) (at time.Time, ok bool) {
	for _, o := range s.LiveOffers() {
		if !waits(o) {
			continue
		}
		if until := answerUntil(o, l); !ok || until.Before(at) {
			at, ok = until, true
		}
	}
	if s.State == custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED && len(s.LiveOffers()) == 0 && s.Care == s.Owner && s.Owner == s.Origin {
		return s.Last.Add(l.FollowUp), true
	}
	return at, ok
}

// waits says that an offer waits for the unit's answer. While the unit waits for the owner's, its time does not run out.
func waits(o *custody.Offer) bool {
	switch o.State {
	case custodyv1.OfferState_OFFER_STATE_SENT, custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_WAITLISTED:
		return true
	}
	return false
}

// Expired are the offers whose time has run out; whole says that the referral itself has ended, because nobody took it.
func Expired(s *custody.State, now time.Time, limits Limits) (offers []*custody.Offer, whole bool) {
	limit := limits.of(s.Submitted.GetUrgency())
	if at, ok := expires(s, limit); !ok || now.Before(at) || s.Terminal() {
		return nil, false
	}
	for _, o := range s.LiveOffers() {
		if waits(o) && !now.Before(answerUntil(o, limit)) {
			offers = append(offers, o)
		}
	}
	return offers, len(offers) == 0
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stands says that the deadline held goes on: the same step is due. A date that was named anew, and lies ahead, replaces it.
func stands(held *referralv1.DeadlineRecord, kind referralv1.Deadline_Kind, due, now time.Time) bool {
	return held.GetDeadline().GetKind() == kind && (kind != review || !due.After(now))
}

// NextOffer is what must happen next in an offer made to this node; nil when it is over.
func NextOffer(name string, offered *custodyv1.Event, r *referralv1.OfferRecord, held *referralv1.DeadlineRecord, now time.Time, limits Limits) *referralv1.DeadlineRecord {
	o := offered.GetOffered()
	kind, due := offerStep(o, r, now, limits.of(o.GetUrgency()))
	switch {
	case kind == referralv1.Deadline_KIND_UNSPECIFIED:
		return nil
	case stands(held, kind, due, now):
		return held
	}
	return &referralv1.DeadlineRecord{
		Urgency: o.GetUrgency(), FirstDueTime: timestamppb.New(due), Reference: o.GetReference(),
		Deadline: &referralv1.Deadline{
			Referral: offered.GetReferral(), Offer: name, Kind: kind, DueTime: timestamppb.New(due), Unit: o.GetToUnit(),
		},
	}
}

// offerStep is what is due in an offer made to this node; without a kind when nothing is. Another node wrote by when it is to be answered,
// so that is not believed beyond the longest time to answer.
func offerStep(o *custodyv1.Offered, r *referralv1.OfferRecord, now time.Time, l Limit) (kind referralv1.Deadline_Kind, due time.Time) {
	forService := o.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	answerBy := earlier(o.GetAnswerBy().AsTime(), now.Add(MaxAnswer))
	switch r.GetState() {
	case custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_ACCEPTING:
		return answer, answerBy
	case custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED:
		return inform, later(now.Add(l.Acknowledge), answerBy)
	case custodyv1.OfferState_OFFER_STATE_WAITLISTED:
		return review, r.GetReviewTime().AsTime()
	case custodyv1.OfferState_OFFER_STATE_ACCEPTED:
		return confirm, now.Add(l.Answer)
	case custodyv1.OfferState_OFFER_STATE_CONFIRMED:
		return ready, now.Add(l.Acknowledge)
	case custodyv1.OfferState_OFFER_STATE_READY:
		switch {
		case r.GetReleaseRequested():
			return release, now.Add(l.Acknowledge)
		case forService:
			return serve, now.Add(l.Seen)
		}
		return dispatch, now.Add(l.Seen)
	case custodyv1.OfferState_OFFER_STATE_FULFILLED: // who gives a service owns nothing, and owes the outcome
		if forService && r.GetOutcome() == "" {
			return complete, now.Add(l.FollowUp)
		}
	}
	return 0, time.Time{}
}

// NextArrival is until when the owner must have followed a person who is at this node. It is always urgent.
func NextArrival(referral, reference, unit string, held *referralv1.DeadlineRecord, now time.Time, limits Limits) *referralv1.DeadlineRecord {
	if held != nil {
		return held
	}
	const urgency = custodyv1.Urgency_URGENCY_HIGH
	due := timestamppb.New(now.Add(limits.of(urgency).Acknowledge))
	return &referralv1.DeadlineRecord{Urgency: urgency, FirstDueTime: due, Reference: reference, Deadline: &referralv1.Deadline{
		Referral: referral, Kind: followPerson, DueTime: due, Unit: unit,
	}}
}

// ToldAgain is how far ahead a deadline lies at most that was missed: it is told again by then.
func (l Limits) ToldAgain() (longest time.Duration) {
	for _, limit := range l {
		longest = max(longest, limit.Acknowledge, limit.Answer)
	}
	return longest
}

// escalated is when the provincial focal point has been told: there is no higher step.
const escalated = 3

// Miss moves a deadline that has passed to its next step: worker, supervisor, provincial focal
// point, and then again and again, more slowly. The next due time counts from now, so that a node
// that was off for days speaks once and not once per missed hour.
func Miss(d *referralv1.DeadlineRecord, now time.Time, limits Limits) {
	l := limits.of(d.GetUrgency())
	step := l.Acknowledge
	if d.GetDeadline().GetMissed()+1 >= escalated {
		step = l.Answer
	}
	d.Deadline.Missed++
	d.Deadline.DueTime = timestamppb.New(now.Add(step))
}
