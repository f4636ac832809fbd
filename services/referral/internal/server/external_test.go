package server_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/rpc/rpctest"
)

func agency() *custodyv1.Agency {
	return &custodyv1.Agency{Kind: "NGO", DisplayName: "A home", ContactDisplayName: "Shazia", Phone: phone, Address: "A street"}
}

// entry is what an agency says, by telephone.
func entry(offer string, e *referralv1.RecordExternalAnswerRequest) *referralv1.RecordExternalAnswerRequest {
	e = proto.CloneOf(e)
	e.Name, e.Means, e.SayTime, e.Note = offer, "PHONE", ahead(-time.Minute), "A note."
	return e
}

var (
	saysReceived = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Received{Received: &custodyv1.Received{}}}
	saysWaitlist = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Waitlisted{
		Waitlisted: &referralv1.ExternalWaitlist{ReviewTime: ahead(time.Hour)},
	}}
	saysYes = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Accepted{
		Accepted: &referralv1.ExternalAcceptance{Worker: &identityv1.WorkerContact{DisplayName: "Shazia", Phone: phone}},
	}}
	saysNo = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Declined{
		Declined: &referralv1.ExternalRefusal{Reason: "OTHER"},
	}}
	takesBack = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_AcceptanceWithdrawn{
		AcceptanceWithdrawn: &referralv1.ExternalRefusal{Reason: "OTHER"},
	}}
	saysReady = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Ready{Ready: &referralv1.ExternalPromise{}}}
	saysCame  = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_Arrived{
		Arrived: &referralv1.ExternalArrival{Identification: []string{"REFERRAL_SLIP"}, ArriveTime: ahead(-time.Minute)},
	}}
	saysGiven = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_ServiceGiven{
		ServiceGiven: &referralv1.ExternalService{Services: []string{"HEALTH"}},
	}}
	saysOutcome = &referralv1.RecordExternalAnswerRequest{Answer: &referralv1.RecordExternalAnswerRequest_OutcomeReported{
		OutcomeReported: &referralv1.ExternalOutcome{Outcome: "REUNIFIED", Services: []string{"HEALTH"}},
	}}
)

// outside takes a new referral of punjab's to an agency outside the network up to a step.
func (w *world) outside(t testing.TB, to step) *referralv1.Referral {
	t.Helper()
	ctx := context.Background()
	request := local(w)
	request.ToUnit, request.External = "", agency()
	v, err := w.punjab.SubmitReferral(ctx, request)
	must(t, err)
	name, offer := v.GetName(), v.GetOffers()[0].GetName()
	say := func(e *referralv1.RecordExternalAnswerRequest) error {
		_, err := w.punjab.RecordExternalAnswer(ctx, entry(offer, e), actor)
		return err
	}
	steps := []func() error{
		func() error { return say(saysYes) },
		func() error {
			if _, err := w.punjab.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: offer}, actor); err != nil {
				return err
			}
			return say(saysReady)
		},
		func() error { _, err := w.punjab.DispatchReferral(ctx, dispatch(name), actor); return err },
		func() error { return say(saysCame) },
		func() error { return say(saysGiven) },
		func() error {
			if err := say(saysOutcome); err != nil {
				return err
			}
			_, err := w.punjab.CompleteReferral(ctx, completion(name))
			return err
		},
	}
	for _, do := range steps[:to] {
		must(t, do())
	}
	w.settle(t)
	return w.read(t, v)
}

// confirmedOutside is one whose agency is chosen, and has not said that it keeps the place.
func (w *world) confirmedOutside(t testing.TB) *referralv1.Referral {
	t.Helper()
	v := w.outside(t, accepted)
	v, err := w.punjab.ConfirmOffer(context.Background(), &referralv1.ConfirmOfferRequest{Name: v.GetOffers()[0].GetName()}, actor)
	must(t, err)
	return v
}

func externalCalls(w *world) map[string]rpctest.Call {
	return map[string]rpctest.Call{
		"RecordExternalAnswer": {Requests: func(t testing.TB) (all []proto.Message) {
			for _, c := range []struct {
				v    *referralv1.Referral
				says *referralv1.RecordExternalAnswerRequest
			}{
				{w.outside(t, asked), saysReceived},
				{w.outside(t, asked), saysWaitlist},
				{w.outside(t, asked), saysYes},
				{w.outside(t, asked), saysNo},
				{w.outside(t, ready), takesBack},
				{w.confirmedOutside(t), saysReady},
				{w.outside(t, onTheRoad), saysCame},
				{w.outside(t, arrived), saysGiven},
				{w.outside(t, inService), saysOutcome},
			} {
				r := entry(c.v.GetOffers()[0].GetName(), c.says)
				r.Etag = c.v.GetEtag()
				all = append(all, r)
			}
			return all
		}},
	}
}

// A person goes to an agency outside the network, by calls as people make them; and what cannot be entered changes nothing.
func TestAnAgencyOutsideTheNetwork(t *testing.T) {
	w, s := newSuite(t)
	c := newCallers(t, s)
	v := w.declined(t)
	v, err := c.gateway.OfferReferral(c.person, &referralv1.OfferReferralRequest{Name: v.GetName(), External: agency(), Etag: v.GetEtag()})
	must(t, err)
	offer := v.GetOffers()[1].GetName()
	say := func(e *referralv1.RecordExternalAnswerRequest) *referralv1.Referral {
		t.Helper()
		v, err := c.gateway.RecordExternalAnswer(c.person, entry(offer, e))
		must(t, err)
		return v
	}
	say(saysReceived)
	say(saysYes)
	_, err = c.gateway.ConfirmOffer(c.person, &referralv1.ConfirmOfferRequest{Name: offer})
	must(t, err)
	say(saysReady)
	_, err = c.gateway.DispatchReferral(c.person, dispatch(v.GetName()))
	must(t, err)
	say(saysCame)
	say(saysGiven)
	v = say(saysOutcome)
	if v.GetState() != custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE || !v.GetOutside() || v.GetOwnerNode() != "punjab" || v.GetCareNode() != "punjab" {
		t.Errorf("after the outcome: %v", v)
	}
	v, err = c.protection.CompleteReferral(t.Context(), completion(v.GetName()))
	must(t, err)
	if v.GetState() != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || v.GetNextDeadline() != nil {
		t.Errorf("at the end: %v", v)
	}
}

func TestRefusedEntries(t *testing.T) {
	w, s := newSuite(t)
	c := newCallers(t, s)
	fresh, road, here := w.outside(t, asked), w.outside(t, onTheRoad), w.outside(t, arrived)
	declined, network := w.declined(t), w.walk(t, asked)
	foreign := w.walkFrom(t, w.nodes["balochistan"], w.punjab, w.submission("nodes/balochistan", hub, lahore), 0)
	gone := w.walkFrom(t, w.punjab, w.nodes["balochistan"], w.submission("nodes/punjab", multan, hub), onTheRoad)
	offerOf := func(v *referralv1.Referral) string { return v.GetOffers()[0].GetName() }
	say := func(v *referralv1.Referral, e *referralv1.RecordExternalAnswerRequest, change func(r *referralv1.RecordExternalAnswerRequest)) func() error {
		r := entry(offerOf(v), e)
		if change != nil {
			change(r)
		}
		return call(c.person, c.gateway.RecordExternalAnswer, r)
	}
	ask := func(change func(r *referralv1.OfferReferralRequest)) func() error {
		r := &referralv1.OfferReferralRequest{Name: declined.GetName(), External: agency(), Etag: declined.GetEtag()}
		change(r)
		return call(c.person, c.gateway.OfferReferral, r)
	}
	runRefused(t, s, map[string]refused{
		"for a unit of the network": {say(network, saysYes, nil), state("WRONG_STATE", "to_unit="+lahore)},
		"for what another owns":     {say(gone, saysYes, nil), state("NOT_OWNER", "")},
		"for a mere offer":          {say(foreign, saysYes, nil), missing("kind=referral")},
		"for no such referral":      {say(fresh, saysYes, func(r *referralv1.RecordExternalAnswerRequest) { r.Name = noOffer }), missing("kind=referral")},
		"for no such offer": {
			say(fresh, saysYes, func(r *referralv1.RecordExternalAnswerRequest) { r.Name = fresh.GetName() + "/offers/" + noHash }), missing("kind=offer"),
		},
		"what changed":          {say(fresh, saysYes, func(r *referralv1.RecordExternalAnswerRequest) { r.Etag = "77" }), stale},
		"in the future":         {say(fresh, saysYes, func(r *referralv1.RecordExternalAnswerRequest) { r.SayTime = ahead(time.Hour) }), invalid("say_time")},
		"a no and not why":      {say(fresh, saysNo, func(r *referralv1.RecordExternalAnswerRequest) { r.Note = " " }), invalid("note")},
		"a day that has passed": {say(fresh, saysWaitlist, func(r *referralv1.RecordExternalAnswerRequest) { r.GetWaitlisted().ReviewTime = ahead(-time.Hour) }), invalid("waitlisted.review_time")},
		"a day after a season": {say(fresh, saysWaitlist, func(r *referralv1.RecordExternalAnswerRequest) {
			r.GetWaitlisted().ReviewTime = ahead(91 * 24 * time.Hour)
		}), invalid("waitlisted.review_time")},
		"ready before it is chosen": {say(fresh, saysReady, nil), wrongState},
		"there before departure":    {say(fresh, saysCame, nil), wrongState},
		"there in the future":       {say(road, saysCame, func(r *referralv1.RecordExternalAnswerRequest) { r.GetArrived().ArriveTime = ahead(time.Hour) }), invalid("arrived.arrive_time")},
		"served before arrival":     {say(road, saysGiven, nil), wrongState},
		"an outcome before service": {say(here, saysOutcome, nil), wrongState},

		"an arrival there as one here": {call(c.person, c.gateway.RecordArrival, arrival(road.GetName())), wrongState},
		"a service there as one here":  {call(c.person, c.gateway.StartService, start(here.GetName())), wrongState},
		"an end without its word":      {call(t.Context(), c.protection.CompleteReferral, completion(w.outside(t, inService).GetName())), wrongState},

		"asking a unit and an agency": {ask(func(r *referralv1.OfferReferralRequest) { r.ToUnit = hub }), invalid("to_unit")},
		"asking nobody":               {ask(func(r *referralv1.OfferReferralRequest) { r.External = nil }), invalid("to_unit")},
		"an agency nobody can reach":  {ask(func(r *referralv1.OfferReferralRequest) { r.External.Phone, r.External.Address = "", "" }), invalid("external.phone")},
		"beginning with nobody": {call(t.Context(), c.protection.SubmitReferral, func() *referralv1.SubmitReferralRequest {
			r := local(w)
			r.ToUnit = ""
			return r
		}()), invalid("to_unit")},
	})
	// As with a note: the key that seals an agency is made before the transaction that knows the request again.
	used := local(w)
	used.ToUnit, used.External = "", agency()
	for range 2 {
		_, err := c.protection.SubmitReferral(t.Context(), used)
		must(t, err)
	}
	submit := func(change func(r *referralv1.SubmitReferralRequest)) func() error {
		r := proto.CloneOf(used)
		change(r)
		return call(t.Context(), c.protection.SubmitReferral, r)
	}
	rowsOnly := *s
	rowsOnly.Writes = rpctest.Watch(w.punjab.DB)
	reused := rpctest.Refusal{Code: codes.AlreadyExists, Reason: "IDEMPOTENCY_MISMATCH"}
	runRefused(t, &rowsOnly, map[string]refused{
		"a key used for another agency":    {submit(func(r *referralv1.SubmitReferralRequest) { r.External.DisplayName = "Another" }), reused},
		"a key used for an agency, now no": {submit(func(r *referralv1.SubmitReferralRequest) { r.External, r.ToUnit = nil, lahore }), reused},
	})
}
