package rules_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/rules"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// Offer states, short.
const (
	sent      = custodyv1.OfferState_OFFER_STATE_SENT
	received  = custodyv1.OfferState_OFFER_STATE_RECEIVED
	accepting = custodyv1.OfferState_OFFER_STATE_ACCEPTING
	accepted  = custodyv1.OfferState_OFFER_STATE_ACCEPTED
	confirmed = custodyv1.OfferState_OFFER_STATE_CONFIRMED
	ready     = custodyv1.OfferState_OFFER_STATE_READY
	fulfilled = custodyv1.OfferState_OFFER_STATE_FULFILLED
	declined  = custodyv1.OfferState_OFFER_STATE_DECLINED
	withdrawn = custodyv1.OfferState_OFFER_STATE_WITHDRAWN
	asked     = custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED
	waiting   = custodyv1.OfferState_OFFER_STATE_WAITLISTED
	lapsed    = custodyv1.OfferState_OFFER_STATE_LAPSED
	expired   = custodyv1.OfferState_OFFER_STATE_EXPIRED
)

var offerStates = []custodyv1.OfferState{sent, received, accepting, accepted, confirmed, ready, fulfilled, declined, withdrawn, asked, waiting, lapsed, expired}

func TestAcceptAndDeclineInEveryState(t *testing.T) {
	type answer struct{ again, refused bool }
	acceptable := map[custodyv1.OfferState]answer{
		received: {}, waiting: {}, accepting: {again: true}, accepted: {again: true}, confirmed: {again: true}, ready: {again: true}, fulfilled: {again: true},
	}
	declinable := map[custodyv1.OfferState]answer{received: {}, asked: {}, waiting: {}, declined: {again: true}}
	for _, s := range offerStates {
		for what, c := range map[string]struct {
			rule func(custodyv1.OfferState) (bool, error)
			want map[custodyv1.OfferState]answer
		}{"accept": {rules.Accept, acceptable}, "decline": {rules.Decline, declinable}} {
			want, ok := c.want[s]
			want.refused = !ok
			again, err := c.rule(s)
			if again != want.again || (err != nil) != want.refused {
				t.Errorf("%s in %v: again %v, %v", what, s, again, err)
			}
			if err != nil && !errors.Is(err, fault.New(fault.WrongState, "")) {
				t.Errorf("%s in %v: %v", what, s, err)
			}
		}
	}
}

func TestFollowInEveryPairOfStates(t *testing.T) {
	over := map[custodyv1.OfferState]bool{fulfilled: true, declined: true, withdrawn: true, lapsed: true, expired: true}
	for _, own := range offerStates {
		for _, chain := range offerStates {
			want := own
			switch {
			case chain == confirmed && own == accepted:
				want = confirmed
			case (chain == fulfilled || chain == withdrawn || chain == expired) && !over[own]:
				want = chain
			}
			if got := rules.Follow(own, chain); got != want {
				t.Errorf("own %v, chain %v: got %v, want %v", own, chain, got, want)
			}
		}
	}
}

func TestMissClimbs(t *testing.T) {
	d := &referralv1.DeadlineRecord{Urgency: custodyv1.Urgency_URGENCY_HIGH, Deadline: &referralv1.Deadline{DueTime: timestamppb.New(now)}}
	at := now
	for i, step := range []time.Duration{time.Hour, time.Hour, 3 * time.Hour, 3 * time.Hour} {
		before := proto.CloneOf(d)
		rules.Miss(d, at, rules.DefaultLimits())
		if d.GetDeadline().GetMissed() != int32(i+1) || d.GetDeadline().GetDueTime().AsTime().Sub(at) != step {
			t.Errorf("after %v came %v", before, d)
		}
		at = d.GetDeadline().GetDueTime().AsTime()
	}
}

func TestAnUnknownRiskIsHigh(t *testing.T) {
	got, err := rules.AnswerBy(nil, custodyv1.Urgency(99), now, rules.DefaultLimits())
	if err != nil || got.Sub(now) != 3*time.Hour {
		t.Errorf("%v, %v", got.Sub(now), err)
	}
}
