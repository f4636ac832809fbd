package server_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/rpc/rpctest"
)

// promisedService is the offer of a service that punjab has promised to balochistan, and given where it says so.
func (w *world) promisedService(t testing.TB, given bool) *referralv1.Offer {
	t.Helper()
	request := w.submission("nodes/balochistan", hub, lahore)
	request.Kind, request.Service = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, "LEGAL"
	origin, ctx := w.nodes["balochistan"], context.Background()
	v, err := origin.SubmitReferral(ctx, request)
	must(t, err)
	w.settle(t)
	name := v.GetOffers()[0].GetName()
	accept := acceptance(name, "punjab")
	accept.Group, accept.HoldExpireTime = "", nil
	_, err = w.punjab.AcceptOffer(ctx, accept, actor)
	must(t, err)
	w.settle(t)
	_, err = origin.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: name}, actor)
	must(t, err)
	w.settle(t)
	if given {
		_, err = w.punjab.GiveService(ctx, &referralv1.GiveServiceRequest{Name: name, Services: []string{"LEGAL"}}, actor)
		must(t, err)
		w.settle(t)
	}
	return w.offer(t, v)
}

// abroad is a referral that began in punjab and is on its way to balochistan, as punjab sees it.
func (w *world) abroad(t testing.TB) *referralv1.Referral {
	t.Helper()
	return w.walkFrom(t, w.punjab, w.nodes["balochistan"], w.submission("nodes/punjab", multan, hub), onTheRoad)
}

// destinationCalls are valid calls of whoever was asked, or has the person.
func destinationCalls(w *world) map[string]rpctest.Call {
	one := func(make func(t testing.TB) proto.Message) rpctest.Call {
		return rpctest.Call{Requests: func(t testing.TB) []proto.Message { return []proto.Message{make(t)} }}
	}
	offer := func(t testing.TB, to step) *referralv1.Offer { return w.offer(t, w.walk(t, to)) }
	schedule := one(func(t testing.TB) proto.Message {
		o := offer(t, ready)
		return &referralv1.ProposeScheduleRequest{Name: o.GetName(), MeetTime: ahead(time.Hour), Place: "A gate.", Etag: o.GetEtag()}
	})
	schedule.Except = map[string]rpctest.Exception{"place unknown": rpctest.Accepted("free text")}
	arrived := one(func(t testing.TB) proto.Message {
		return &referralv1.AssertArrivalRequest{
			Name: w.walkFrom(t, w.nodes["balochistan"], w.punjab, w.submission("nodes/balochistan", hub, lahore), asked).GetName(), Unit: lahore, Identification: []string{"REFERRAL_SLIP"}, Note: "A note.", ArriveTime: ahead(-time.Minute), Group: group,
			Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}, Services: []string{"SHELTER"}, ExcludedDistricts: []string{"PK-BA-HUB"}},
		}
	})
	consent := one(func(t testing.TB) proto.Message {
		return &referralv1.ReportConsentEndedRequest{Name: w.abroad(t).GetName(), WithdrawTime: ahead(-time.Minute), Actor: completion("").GetActor()}
	})
	consent.Except = map[string]rpctest.Exception{"actor.person unknown": anyActor, "actor.unit unknown": anyActor, "actor.service unknown": anyActor}
	return map[string]rpctest.Call{
		"AskQuestion": one(func(t testing.TB) proto.Message {
			o := offer(t, asked)
			return &referralv1.AskQuestionRequest{Name: o.GetName(), Topic: "OTHER", Note: "A question?", Etag: o.GetEtag()}
		}),
		"WaitlistOffer": one(func(t testing.TB) proto.Message {
			o := offer(t, asked)
			return &referralv1.WaitlistOfferRequest{Name: o.GetName(), ReviewTime: ahead(time.Hour), Note: "A note.", Etag: o.GetEtag()}
		}),
		"WithdrawAcceptance": one(func(t testing.TB) proto.Message {
			o := offer(t, accepted)
			return &referralv1.WithdrawAcceptanceRequest{Name: o.GetName(), Reason: "OTHER", Note: "A note.", Etag: o.GetEtag()}
		}),
		"RequestRelease": one(func(t testing.TB) proto.Message {
			o := offer(t, ready)
			return &referralv1.RequestReleaseRequest{Name: o.GetName(), Reason: "OTHER", Note: "A note.", Etag: o.GetEtag()}
		}),
		"ProposeSchedule": schedule,
		"GiveService": one(func(t testing.TB) proto.Message {
			o := w.promisedService(t, false)
			return &referralv1.GiveServiceRequest{Name: o.GetName(), Services: []string{"LEGAL"}, Note: "A note.", Etag: o.GetEtag()}
		}),
		"ReportOutcome": one(func(t testing.TB) proto.Message {
			o := w.promisedService(t, true)
			return &referralv1.ReportOutcomeRequest{Name: o.GetName(), Outcome: "SERVICE_GIVEN", Services: []string{"LEGAL"}, Note: "A note.", Etag: o.GetEtag()}
		}),
		"AssertArrival": arrived,
		"ReportSafety": one(func(t testing.TB) proto.Message {
			v := w.abroad(t)
			return &referralv1.ReportSafetyRequest{Name: v.GetName(), Code: "OTHER", Note: "A note.", Etag: v.GetEtag()}
		}),
		"RequestCorrection": one(func(t testing.TB) proto.Message {
			v := w.abroad(t)
			return &referralv1.RequestCorrectionRequest{Name: v.GetName(), Event: v.GetHead(), Note: "A note.", Etag: v.GetEtag()}
		}),
		"ReportDossierClosed": one(func(t testing.TB) proto.Message {
			return &referralv1.ReportDossierClosedRequest{Name: w.abroad(t).GetName(), Reason: "MOVED_ON", CloseTime: ahead(-time.Minute)}
		}),
		"ReportConsentEnded": consent,
		"WithdrawConsent": one(func(t testing.TB) proto.Message {
			v := w.abroad(t)
			return &referralv1.WithdrawConsentRequest{Name: v.GetName(), WithdrawTime: ahead(-time.Minute), Note: "A note.", Etag: v.GetEtag()}
		}),
	}
}
