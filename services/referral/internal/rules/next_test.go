package rules_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/referral/internal/rules"
)

// Referral states, short.
const (
	isSubmitted = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
	isConfirmed = custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
	isReady     = custodyv1.ReferralState_REFERRAL_STATE_READY
	onTheRoad   = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
	arrived     = custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
	inService   = custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
	completed   = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	cancelled   = custodyv1.ReferralState_REFERRAL_STATE_CANCELLED
	isExpired   = custodyv1.ReferralState_REFERRAL_STATE_EXPIRED
	noShow      = custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
	returned    = custodyv1.ReferralState_REFERRAL_STATE_RETURNED
)

const day = 24 * time.Hour

// offerTo is an offer of balochistan to punjab, to be answered in two hours.
func offerTo(state custodyv1.OfferState) *custody.Offer {
	return &custody.Offer{State: state, By: "balochistan", Offered: &custodyv1.Offered{
		ToNode: "punjab", ToUnit: "nodes/punjab/units/lahore", AnswerBy: timestamppb.New(now.Add(2 * time.Hour)),
	}}
}

// referralIn is a referral from balochistan in a state. Before the handover balochistan owns it; then sindh does, and punjab owned it
// in between. Who has the duty of care has it by the state.
func referralIn(state custodyv1.ReferralState, offers ...*custody.Offer) *custody.State {
	s := &custody.State{
		Referral: "nodes/balochistan/referrals/1", State: state, Origin: "balochistan", Owner: "balochistan", Care: "balochistan", Last: now,
		Submitted: &custodyv1.Submitted{Unit: "nodes/balochistan/units/hub", Urgency: custodyv1.Urgency_URGENCY_HIGH}, Offers: offers,
	}
	switch state {
	case onTheRoad, arrived, inService, completed, noShow:
		s.Owner, s.Care, s.Former = "sindh", "sindh", []string{"balochistan", "punjab"}
		s.Dispatched = &custodyv1.Dispatched{ToNode: "sindh", ExpectTime: timestamppb.New(now.Add(10 * time.Hour))}
		to := func(node, unit string) *custody.Offer {
			return &custody.Offer{State: fulfilled, Offered: &custodyv1.Offered{ToNode: node, ToUnit: "nodes/" + node + "/units/" + unit}}
		}
		s.Offers = append([]*custody.Offer{to("punjab", "lahore"), to("sindh", "karachi")}, offers...)
	}
	if state == onTheRoad || state == noShow {
		s.Care = "punjab"
	}
	return s
}

// due is a deadline, shortly; none has no kind.
type due struct {
	kind referralv1.Deadline_Kind
	in   time.Duration
}

const (
	kReceive  = referralv1.Deadline_KIND_RECEIVE
	kAnswer   = referralv1.Deadline_KIND_ANSWER
	kConfirm  = referralv1.Deadline_KIND_CONFIRM
	kReady    = referralv1.Deadline_KIND_READY
	kDispatch = referralv1.Deadline_KIND_DISPATCH
	kArrive   = referralv1.Deadline_KIND_ARRIVE
	kServe    = referralv1.Deadline_KIND_SERVE
	kComplete = referralv1.Deadline_KIND_COMPLETE
	kAgain    = referralv1.Deadline_KIND_ASK_AGAIN
	kWatch    = referralv1.Deadline_KIND_WATCH
	kQuestion = referralv1.Deadline_KIND_INFORM
	kRelease  = referralv1.Deadline_KIND_RELEASE
	kCheckIn  = referralv1.Deadline_KIND_CHECK_IN
	kFind     = referralv1.Deadline_KIND_FIND
	kReturn   = referralv1.Deadline_KIND_RETURN
)

// Every state in every role: the owner has a step, the origin and the former owners a watch, whoever has the duty of care for a
// lost person the search, and nobody else anything.
func TestNextInEveryStateAndRole(t *testing.T) {
	none := due{}
	for _, c := range []struct {
		name                          string
		s                             *custody.State
		owner, origin, former, nobody due
	}{
		{"nobody asked", referralIn(isSubmitted), due{kAgain, time.Hour}, none, none, none},
		{"sent", referralIn(isSubmitted, offerTo(sent)), due{kReceive, time.Hour}, none, none, none},
		{"received", referralIn(isSubmitted, offerTo(received)), due{kAnswer, 2 * time.Hour}, none, none, none},
		{"declined", referralIn(isSubmitted, offerTo(declined)), due{kAgain, time.Hour}, none, none, none},
		{"expired offer", referralIn(isSubmitted, offerTo(expired)), due{kAgain, time.Hour}, none, none, none},
		{"question", referralIn(isSubmitted, offerTo(received), offerTo(asked)), due{kQuestion, time.Hour}, none, none, none},
		{"accepted", referralIn(isSubmitted, offerTo(asked), offerTo(accepted), offerTo(sent)), due{kConfirm, time.Hour}, none, none, none},
		{"confirmed", referralIn(isConfirmed, offerTo(confirmed)), due{kReady, time.Hour}, none, none, none},
		{"ready", referralIn(isReady, offerTo(ready)), due{kDispatch, day}, none, none, none},
		{"release", releasing(), due{kRelease, time.Hour}, none, none, none},
		{"on the road", referralIn(onTheRoad), due{kArrive, 16 * time.Hour}, due{kWatch, 16 * time.Hour}, due{kWatch, 16 * time.Hour}, none},
		{"heard of on the road", heardOf(3 * time.Hour), due{kCheckIn, 3 * time.Hour}, due{kCheckIn, 4 * time.Hour}, due{kCheckIn, 4 * time.Hour}, none},
		{"heard of before the end", heardOf(20 * time.Hour), due{kArrive, 16 * time.Hour}, due{kWatch, 16 * time.Hour}, due{kWatch, 16 * time.Hour}, none},
		{"return asked on the road", referralIn(onTheRoad, offerTo(accepted)), due{kConfirm, time.Hour}, due{kWatch, 16 * time.Hour}, due{kWatch, 16 * time.Hour}, none},
		{"arrived", referralIn(arrived), due{kServe, day}, due{kWatch, 7 * day}, due{kWatch, 7 * day}, none},
		{"asked further", referralIn(arrived, offerTo(received)), due{kServe, day}, due{kWatch, 7 * day}, due{kWatch, 7 * day}, none},
		{"asked back", referralIn(arrived, offerTo(asked)), due{kQuestion, time.Hour}, due{kWatch, 7 * day}, due{kWatch, 7 * day}, none},
		{"in service", referralIn(inService), due{kComplete, 7 * day}, due{kWatch, 7 * day}, due{kWatch, 7 * day}, none},
		{"return asked", referralIn(inService, offerTo(accepted)), due{kConfirm, time.Hour}, due{kWatch, 7 * day}, due{kWatch, 7 * day}, none},
		{"completed", referralIn(completed), none, none, none, none},
		{"cancelled", referralIn(cancelled), none, none, none, none},
		{"expired", referralIn(isExpired), none, none, none, none},
		{"returned", referralIn(returned), none, none, none, none},
		{"no-show", referralIn(noShow), none, none, due{kFind, time.Hour}, none},
		{"found", found(), none, none, none, none},
	} {
		roles := map[string]due{c.s.Owner: c.owner}
		if c.s.Owner == "sindh" {
			roles["balochistan"], roles["punjab"], roles["sindh"] = c.origin, c.former, c.owner
		} else {
			roles["punjab"], roles["sindh"] = c.former, c.nobody
		}
		roles["kashmir"] = c.nobody
		for node, want := range roles {
			got := rules.Next(c.s, node, false, nil, now, rules.DefaultLimits())
			checkDue(t, c.name+" at "+node, got, want)
			if got == nil {
				continue
			}
			if again := rules.Next(c.s, node, false, got, now.Add(time.Minute), rules.DefaultLimits()); want.kind != kWatch && !proto.Equal(again, got) {
				t.Errorf("%s at %s: the same step began anew: %v", c.name, node, again)
			}
		}
	}
	for _, state := range []custodyv1.ReferralState{onTheRoad, arrived, inService} { // the origin waits for the owner's answer
		checkDue(t, "return asked for", rules.Next(referralIn(state), "balochistan", true, nil, now, rules.DefaultLimits()), due{kReturn, time.Hour})
	}
	checkDue(t, "return asked for in vain", rules.Next(referralIn(completed), "balochistan", true, nil, now, rules.DefaultLimits()), none)
}

func checkDue(t *testing.T, name string, got *referralv1.DeadlineRecord, want due) {
	t.Helper()
	if d := got.GetDeadline(); d.GetKind() != want.kind || got != nil && (d.GetDueTime().AsTime().Sub(now) != want.in || d.GetUnit() == "") {
		t.Errorf("%s: %v in %v, want %v in %v", name, d, d.GetDueTime().AsTime().Sub(now), want.kind, want.in)
	}
}

func releasing() *custody.State {
	o := offerTo(ready)
	o.ReleaseRequested = &custodyv1.ReleaseRequested{}
	return referralIn(isReady, o)
}

func heardOf(next time.Duration) *custody.State {
	s := referralIn(onTheRoad)
	s.CheckedIn = &custodyv1.CheckedIn{NextTime: timestamppb.New(now.Add(next))}
	return s
}

func found() *custody.State {
	s := referralIn(noShow)
	s.Found = true
	return s
}

// A time that is agreed anew begins its step anew, with nothing missed yet; any other step goes on as it was.
func TestWhatWasAgreedAnewBeginsAnew(t *testing.T) {
	limits := rules.DefaultLimits()
	held := rules.Next(heardOf(time.Hour), "sindh", false, nil, now, limits)
	held.Deadline.Missed = 2
	if same := rules.Next(heardOf(time.Hour), "sindh", false, held, now, limits); same.GetDeadline().GetMissed() != 2 {
		t.Errorf("the same check-in: %v", same)
	}
	if anew := rules.Next(heardOf(5*time.Hour), "sindh", false, held, now, limits); anew.GetDeadline().GetMissed() != 0 || anew.GetDeadline().GetDueTime().AsTime().Sub(now) != 5*time.Hour {
		t.Errorf("another check-in: %v", anew)
	}
}

func TestWhatEndsByItself(t *testing.T) {
	waitlisted, answered := offerTo(waiting), offerTo(received)
	waitlisted.Waitlisted, waitlisted.Listed = &custodyv1.Waitlisted{ReviewTime: timestamppb.New(now.Add(9 * time.Hour))}, now
	answered.Answered = now.Add(time.Hour)
	for name, c := range map[string]struct {
		s      *custody.State
		in     time.Duration // 0: never
		offers int
	}{
		"sent":                       {referralIn(isSubmitted, offerTo(sent)), 2 * time.Hour, 1},
		"received, two":              {referralIn(isSubmitted, offerTo(received), offerTo(received)), 2 * time.Hour, 2},
		"waitlisted past its day":    {referralIn(isSubmitted, waitlisted), 12 * time.Hour, 1},
		"answered a question":        {referralIn(isSubmitted, answered), 4 * time.Hour, 1},
		"a question waits":           {referralIn(isSubmitted, offerTo(asked)), 0, 0},
		"accepted":                   {referralIn(isSubmitted, offerTo(accepted)), 0, 0},
		"accepted, another received": {referralIn(isSubmitted, offerTo(accepted), offerTo(received)), 2 * time.Hour, 1},
		"nobody asked":               {referralIn(isSubmitted, offerTo(declined)), 7 * day, 0},
		"ready":                      {referralIn(isReady, offerTo(ready)), 0, 0},
		"asked from there":           {referralIn(arrived, offerTo(received)), 2 * time.Hour, 1},
		"arrived":                    {referralIn(arrived), 0, 0},
		"cancelled":                  {referralIn(cancelled), 0, 0},
	} {
		limits := rules.DefaultLimits()
		next := rules.Next(c.s, c.s.Owner, false, nil, now, limits)
		if c.in == 0 {
			if next.GetExpireTime() != nil {
				t.Errorf("%s: ends in %v", name, next.GetExpireTime().AsTime().Sub(now))
			}
			continue
		}
		if got := next.GetExpireTime().AsTime().Sub(now); got != c.in {
			t.Errorf("%s: ends in %v, want %v", name, got, c.in)
		}
		if offers, whole := rules.Expired(c.s, now.Add(c.in-1), limits); len(offers) != 0 || whole {
			t.Errorf("%s: ended before its time", name)
		}
		if offers, whole := rules.Expired(c.s, now.Add(c.in), limits); len(offers) != c.offers || whole != (c.offers == 0) {
			t.Errorf("%s: %d offers ended, the referral: %v", name, len(offers), whole)
		}
	}
}
