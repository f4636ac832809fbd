package rules_test

import (
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/referral/internal/rules"
)

func TestNextOfferInEveryState(t *testing.T) {
	event := &custodyv1.Event{Referral: "nodes/balochistan/referrals/1", Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
		ToUnit: "nodes/punjab/units/lahore", Urgency: custodyv1.Urgency_URGENCY_MEDIUM, AnswerBy: timestamppb.New(now.Add(5 * time.Hour)),
	}}}
	type step struct {
		kind referralv1.Deadline_Kind
		in   time.Duration
	}
	placement := map[custodyv1.OfferState]step{
		received:  {referralv1.Deadline_KIND_ANSWER, 5 * time.Hour},
		accepting: {referralv1.Deadline_KIND_ANSWER, 5 * time.Hour},
		asked:     {referralv1.Deadline_KIND_INFORM, 5 * time.Hour},
		waiting:   {referralv1.Deadline_KIND_REVIEW, 9 * day},
		accepted:  {referralv1.Deadline_KIND_CONFIRM, day},
		confirmed: {referralv1.Deadline_KIND_READY, 3 * time.Hour},
		ready:     {referralv1.Deadline_KIND_DISPATCH, 3 * day},
	}
	forService := maps.Clone(placement)
	forService[ready] = step{referralv1.Deadline_KIND_SERVE, 3 * day}
	forService[fulfilled] = step{referralv1.Deadline_KIND_COMPLETE, 14 * day}
	released := maps.Clone(placement)
	released[ready] = step{referralv1.Deadline_KIND_RELEASE, 3 * time.Hour}
	reported := maps.Clone(forService)
	delete(reported, fulfilled)
	review := timestamppb.New(now.Add(9 * day))
	for name, c := range map[string]struct {
		kind   custodyv1.ReferralKind
		record *referralv1.OfferRecord
		want   map[custodyv1.OfferState]step
	}{
		"placement":          {custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, &referralv1.OfferRecord{}, placement},
		"service":            {custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, &referralv1.OfferRecord{}, forService},
		"release asked":      {custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, &referralv1.OfferRecord{ReleaseRequested: true}, released},
		"outcome of service": {custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, &referralv1.OfferRecord{Outcome: "SERVICE_GIVEN"}, reported},
	} {
		event.GetOffered().Kind, c.record.ReviewTime = c.kind, review
		for _, s := range offerStates {
			c.record.State = s
			got := rules.NextOffer("offer", event, c.record, nil, now, rules.DefaultLimits())
			w, open := c.want[s]
			if !open {
				if got != nil {
					t.Errorf("%s, %v: %v", name, s, got)
				}
				continue
			}
			d := got.GetDeadline()
			if d.GetKind() != w.kind || d.GetDueTime().AsTime().Sub(now) != w.in || d.GetUnit() != "nodes/punjab/units/lahore" || d.GetOffer() != "offer" {
				t.Errorf("%s, %v: %v", name, s, d)
			}
			again := rules.NextOffer("offer", event, c.record, got, now.Add(time.Minute), rules.DefaultLimits())
			if !proto.Equal(again, got) {
				t.Errorf("%s, %v: the same step is due at another time: %v", name, s, again)
			}
		}
	}
}

// A date on the waiting list is kept while it is the same, and is replaced by another, also by an earlier one, and after it was missed.
func TestReviewIsRenewed(t *testing.T) {
	event := &custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{Urgency: custodyv1.Urgency_URGENCY_HIGH}}}
	record := &referralv1.OfferRecord{State: waiting, ReviewTime: timestamppb.New(now.Add(48 * time.Hour))}
	held := rules.NextOffer("offer", event, record, nil, now, rules.DefaultLimits())
	record.ReviewTime = timestamppb.New(now.Add(24 * time.Hour))
	held = rules.NextOffer("offer", event, record, held, now, rules.DefaultLimits())
	if got := held.GetDeadline().GetDueTime().AsTime().Sub(now); got != 24*time.Hour {
		t.Fatalf("an earlier date is due in %v", got)
	}
	at := now.Add(25 * time.Hour)
	rules.Miss(held, at, rules.DefaultLimits())
	if again := rules.NextOffer("offer", event, record, held, at, rules.DefaultLimits()); again != held {
		t.Errorf("a missed date begins anew: %v", again)
	}
	record.ReviewTime = timestamppb.New(at.Add(time.Hour))
	if d := rules.NextOffer("offer", event, record, held, at, rules.DefaultLimits()).GetDeadline(); d.GetMissed() != 0 || d.GetDueTime().AsTime().Sub(at) != time.Hour {
		t.Errorf("another date after a missed one: %v", d)
	}
}

func TestWithdrawAcceptanceInEveryState(t *testing.T) {
	can := map[custodyv1.OfferState]bool{accepting: true, accepted: true, confirmed: true}
	reply := &custodyv1.Reply{Body: &custodyv1.Reply_AcceptanceWithdrawn{AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{}}}
	for _, s := range offerStates {
		again, err := rules.WithdrawAcceptance(s)
		if again != (s == lapsed) || (err == nil) != (can[s] || again) {
			t.Errorf("in %v: again %v, %v", s, again, err)
		}
		if !can[s] {
			continue
		}
		if next, err := rules.Say("taken back", s, reply); next != lapsed || err != nil {
			t.Errorf("from %v it goes to %v, %v", s, next, err)
		}
	}
}

// Who may say that a person is there: by the chain's owner, its holder of the duty of care, and its state.
func TestAssertInEveryState(t *testing.T) {
	for i := range custodyv1.ReferralState_name {
		s := custodyv1.ReferralState(i)
		for _, owner := range []string{"balochistan", "punjab"} {
			for _, care := range []string{"balochistan", "punjab"} {
				st := referralIn(s, offerTo(fulfilled))
				st.Owner, st.Care, st.Submitted.Kind = owner, care, custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
				onTheRoad := s == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT || s == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
				write, err := rules.Assert(st, "punjab")
				wantWrite := owner == "punjab" && (care != "punjab" || onTheRoad)
				refused := !wantWrite && care == "punjab"
				if write != wantWrite || (err != nil) != refused {
					t.Errorf("%v of %s in the care of %s: write %v, %v", s, owner, care, write, err)
				}
				st.Submitted.Kind = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
				if _, err := rules.Assert(st, "sindh"); err == nil {
					t.Errorf("%v: somebody came in a referral for a service", s)
				}
			}
		}
	}
}

// serving is a referral for a service that balochistan owns.
func serving(state custodyv1.ReferralState, offer custodyv1.OfferState, outcome string) *custody.State {
	o := offerTo(offer)
	if outcome != "" {
		o.Outcome = &custodyv1.OutcomeReported{Outcome: outcome}
	}
	s := referralIn(isSubmitted, o)
	s.State, s.Submitted.Kind = state, custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
	return s
}

// What an owner waits for in a referral for a service, where nobody moves.
func TestNextOfAService(t *testing.T) {
	for name, c := range map[string]struct {
		s    *custody.State
		kind referralv1.Deadline_Kind
		in   time.Duration
	}{
		"promised":         {serving(isReady, ready, ""), referralv1.Deadline_KIND_SERVE, day},
		"given":            {serving(inService, fulfilled, ""), referralv1.Deadline_KIND_COMPLETE, 7 * day},
		"outcome reported": {serving(inService, fulfilled, "SERVICE_GIVEN"), referralv1.Deadline_KIND_CLOSE, day},
	} {
		d := rules.Next(c.s, "balochistan", false, nil, now, rules.DefaultLimits()).GetDeadline()
		if d.GetKind() != c.kind || d.GetDueTime().AsTime().Sub(now) != c.in {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// What another node wrote makes no deadline that nobody lives to see, and none that is forgotten.
func TestTimesOfOthersAreBounded(t *testing.T) {
	never, limits := &timestamppb.Timestamp{Seconds: 253402300799}, rules.DefaultLimits() // the year 9999
	within := func(what string, d *referralv1.DeadlineRecord, most time.Duration) {
		t.Helper()
		if due := d.GetDeadline().GetDueTime().AsTime(); d == nil || due.After(now.Add(most)) {
			t.Errorf("%s is due in %v", what, d)
		}
		if at := d.GetExpireTime(); at != nil && at.AsTime().After(now.Add(most)) {
			t.Errorf("%s ends by itself in %v", what, at)
		}
	}
	for _, by := range []*timestamppb.Timestamp{never, timestamppb.New(time.Time{})} {
		event := &custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{ToUnit: "nodes/punjab/units/lahore", AnswerBy: by}}}
		for _, state := range []custodyv1.OfferState{received, accepting, asked} {
			within("an offer", rules.NextOffer("offer", event, &referralv1.OfferRecord{State: state}, nil, now, limits), rules.MaxAnswer)
		}
	}
	listed := offerTo(waiting)
	listed.Waitlisted, listed.Listed = &custodyv1.Waitlisted{ReviewTime: never}, now
	within("a waiting list", rules.Next(referralIn(isSubmitted, listed), "balochistan", false, nil, now, limits), rules.MaxReview+limits[custodyv1.Urgency_URGENCY_HIGH].Answer)
	for _, node := range []string{"balochistan", "punjab", "sindh"} {
		s := referralIn(onTheRoad)
		s.Dispatched.ExpectTime = never
		within("a person on the road", rules.Next(s, node, false, nil, now, limits), rules.MaxRoad+rules.Overdue)
		s.CheckedIn = &custodyv1.CheckedIn{NextTime: never}
		within("who is heard of", rules.Next(s, node, false, nil, now, limits), rules.MaxRoad+rules.Overdue+limits[custodyv1.Urgency_URGENCY_HIGH].Acknowledge)
	}
}
