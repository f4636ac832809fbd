package rules_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
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

// state is a referral from balochistan, with one offer to punjab.
func state(s custodyv1.ReferralState, offer custodyv1.OfferState, owner string) *custody.State {
	st := &custody.State{
		Referral: "nodes/balochistan/referrals/1", State: s, Origin: "balochistan", Owner: owner,
		Submitted: &custodyv1.Submitted{Unit: "nodes/balochistan/units/hub", Urgency: custodyv1.Urgency_URGENCY_HIGH},
		Offers: []*custody.Offer{{State: offer, Offered: &custodyv1.Offered{
			ToNode: "punjab", ToUnit: "nodes/punjab/units/lahore", AnswerBy: timestamppb.New(now.Add(2 * time.Hour)),
		}}},
		Dispatched: &custodyv1.Dispatched{ToNode: "punjab", ExpectTime: timestamppb.New(now.Add(10 * time.Hour))},
	}
	if owner != st.Origin {
		st.Former = []string{st.Origin}
	}
	return st
}

func TestNextInEveryState(t *testing.T) {
	const (
		submitted = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
		day       = 24 * time.Hour
	)
	for name, c := range map[string]struct {
		s    *custody.State
		node string
		kind referralv1.Deadline_Kind
		in   time.Duration
		unit string
	}{
		"sent":        {state(submitted, sent, "balochistan"), "balochistan", referralv1.Deadline_KIND_RECEIVE, time.Hour, "hub"},
		"received":    {state(submitted, received, "balochistan"), "balochistan", referralv1.Deadline_KIND_ANSWER, 2 * time.Hour, "hub"},
		"accepted":    {state(submitted, accepted, "balochistan"), "balochistan", referralv1.Deadline_KIND_CONFIRM, time.Hour, "hub"},
		"declined":    {state(submitted, declined, "balochistan"), "balochistan", referralv1.Deadline_KIND_ASK_AGAIN, time.Hour, "hub"},
		"withdrawn":   {state(submitted, withdrawn, "balochistan"), "balochistan", referralv1.Deadline_KIND_ASK_AGAIN, time.Hour, "hub"},
		"confirmed":   {state(custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, confirmed, "balochistan"), "balochistan", referralv1.Deadline_KIND_READY, time.Hour, "hub"},
		"ready":       {state(custodyv1.ReferralState_REFERRAL_STATE_READY, ready, "balochistan"), "balochistan", referralv1.Deadline_KIND_DISPATCH, day, "hub"},
		"on the road": {state(custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, fulfilled, "punjab"), "punjab", referralv1.Deadline_KIND_ARRIVE, 16 * time.Hour, "lahore"},
		"arrived":     {state(custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, fulfilled, "punjab"), "punjab", referralv1.Deadline_KIND_SERVE, day, "lahore"},
		"in service":  {state(custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, fulfilled, "punjab"), "punjab", referralv1.Deadline_KIND_COMPLETE, 7 * day, "lahore"},
		"watched on the road": {
			state(custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, fulfilled, "punjab"), "balochistan", referralv1.Deadline_KIND_WATCH, 16 * time.Hour, "hub",
		},
		"watched there": {state(custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, fulfilled, "punjab"), "balochistan", referralv1.Deadline_KIND_WATCH, 7 * day, "hub"},
		"completed":     {state(custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, fulfilled, "punjab"), "punjab", 0, 0, ""},
		"watch ended":   {state(custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, fulfilled, "punjab"), "balochistan", 0, 0, ""},
		"not a party":   {state(submitted, sent, "balochistan"), "sindh", 0, 0, ""},
	} {
		got := rules.Next(c.s, c.node, nil, now, rules.DefaultLimits())
		if c.kind == 0 {
			if got != nil {
				t.Errorf("%s: %v", name, got)
			}
			continue
		}
		d := got.GetDeadline()
		if d.GetKind() != c.kind || d.GetDueTime().AsTime().Sub(now) != c.in || d.GetUnit() != "nodes/"+c.node+"/units/"+c.unit {
			t.Errorf("%s: %v in %v", name, d, d.GetDueTime().AsTime().Sub(now))
		}
		again := rules.Next(c.s, c.node, got, now.Add(time.Minute), rules.DefaultLimits())
		if kept := again == got; kept == (c.kind == referralv1.Deadline_KIND_WATCH) {
			t.Errorf("%s: the same step kept: %v", name, kept)
		}
	}
}

func TestNextOfferInEveryState(t *testing.T) {
	event := &custodyv1.Event{Referral: "nodes/balochistan/referrals/1", Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
		ToUnit: "nodes/punjab/units/lahore", Urgency: custodyv1.Urgency_URGENCY_MEDIUM, AnswerBy: timestamppb.New(now.Add(5 * time.Hour)),
	}}}
	want := map[custodyv1.OfferState]struct {
		kind referralv1.Deadline_Kind
		in   time.Duration
	}{
		received:  {referralv1.Deadline_KIND_ANSWER, 5 * time.Hour},
		accepting: {referralv1.Deadline_KIND_ANSWER, 5 * time.Hour},
		accepted:  {referralv1.Deadline_KIND_CONFIRM, 24 * time.Hour},
		confirmed: {referralv1.Deadline_KIND_READY, 3 * time.Hour},
		ready:     {referralv1.Deadline_KIND_DISPATCH, 72 * time.Hour},
	}
	for _, s := range offerStates {
		got := rules.NextOffer("offer", event, s, nil, now, rules.DefaultLimits())
		w, open := want[s]
		if !open {
			if got != nil {
				t.Errorf("%v: %v", s, got)
			}
			continue
		}
		d := got.GetDeadline()
		if d.GetKind() != w.kind || d.GetDueTime().AsTime().Sub(now) != w.in || d.GetUnit() != "nodes/punjab/units/lahore" || d.GetOffer() != "offer" {
			t.Errorf("%v: %v", s, d)
		}
	}
}

func TestMissClimbs(t *testing.T) {
	d := &referralv1.DeadlineRecord{Urgency: custodyv1.Urgency_URGENCY_HIGH, Deadline: &referralv1.Deadline{DueTime: timestamppb.New(now)}}
	if rules.Due(d, now.Add(-1)) || !rules.Due(d, now) {
		t.Error("a deadline is due from its time on")
	}
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
