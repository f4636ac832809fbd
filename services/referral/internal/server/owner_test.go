package server_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/referral/internal/store"
)

// answers lets the unit asked say something of an offer, as its node's letter.
func (w *world) answers(t testing.TB, v *referralv1.Referral, r *custodyv1.Reply) {
	t.Helper()
	o := v.GetOffers()[0]
	asked := w.nodes[o.GetToNode()]
	_, hex := store.SplitOffer(o.GetName())
	hash, err := custody.ParseHash(hex)
	must(t, err)
	r.Referral, r.Offer, r.Node, r.Time = v.GetName(), hash.Bytes(), o.GetToNode(), timestamppb.Now()
	signed, err := custody.SignReply(asked.Signer, r)
	must(t, err)
	to := w.place.Node
	if v.GetOwnerNode() != "" {
		to = v.GetOwnerNode()
	}
	w.deliver(t, letter{o.GetToNode(), post.Outgoing{To: &postv1.Address{Node: to, Service: "referral"}, Kind: "custody.reply.v1", Subject: v.GetName(), Body: &custodyv1.ReplyLetter{Reply: signed}}})
	w.settle(t)
}

// asks is a referral of punjab's about which the unit asked wants to know something.
func (w *world) asks(t testing.TB) *referralv1.Referral {
	t.Helper()
	v := w.walk(t, asked)
	w.answers(t, v, &custodyv1.Reply{Body: &custodyv1.Reply_Question{Question: &custodyv1.Question{Topic: "HEALTH"}}})
	return w.read(t, v)
}

// releasing is one whose unit has promised a place and asks to be released.
func (w *world) releasing(t testing.TB) *referralv1.Referral {
	t.Helper()
	v := w.walk(t, ready)
	w.answers(t, v, &custodyv1.Reply{Body: &custodyv1.Reply_ReleaseRequested{ReleaseRequested: &custodyv1.ReleaseRequested{Reason: "NO_CAPACITY"}}})
	return w.read(t, v)
}

// away is one that punjab began and whose person is at balochistan.
func (w *world) away(t testing.TB) *referralv1.Referral {
	t.Helper()
	return w.walkFrom(t, w.punjab, w.nodes["balochistan"], w.submission("nodes/punjab", multan, hub), arrived)
}

// back is one whose person has come back from there.
func (w *world) back(t testing.TB) *referralv1.Referral {
	t.Helper()
	ctx, there := context.Background(), w.nodes["balochistan"]
	v := w.away(t)
	_, err := w.punjab.RequestReturn(ctx, askBack(v), actor)
	must(t, err)
	w.settle(t)
	offers := w.read(t, v, there).GetOffers()
	_, err = there.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: offers[len(offers)-1].GetName()}, actor)
	must(t, err)
	w.settle(t)
	_, err = there.DispatchReferral(ctx, dispatch(v.GetName()), actor)
	must(t, err)
	w.settle(t)
	_, err = w.punjab.RecordArrival(ctx, arrival(v.GetName()), actor)
	must(t, err)
	w.settle(t)
	return w.read(t, v)
}

// read is a referral as punjab knows it, or another node.
func (w *world) read(t testing.TB, v *referralv1.Referral, at ...*node) *referralv1.Referral {
	t.Helper()
	n := w.punjab
	if len(at) > 0 {
		n = at[0]
	}
	v, err := n.GetReferral(context.Background(), v.GetName())
	must(t, err)
	return v
}

func askBack(v *referralv1.Referral) *referralv1.RequestReturnRequest {
	return &referralv1.RequestReturnRequest{Name: v.GetName(), Reason: "PLACEMENT_FAILED", Unit: multan, Note: "A note.", Etag: v.GetEtag()}
}

// needsEvent is the hash of the event with which a referral of punjab's began.
func (w *world) firstEvent(t testing.TB, v *referralv1.Referral) []byte {
	t.Helper()
	chain, err := w.punjab.GetCustodyChain(context.Background(), v.GetName())
	must(t, err)
	return custody.HashOf(chain.GetEvents()[0].GetEvent()).Bytes()
}

// eventOf is the hash of the last event of a kind.
func (w *world) eventOf(t testing.TB, v *referralv1.Referral, is func(*custodyv1.Event) bool) (hash []byte) {
	t.Helper()
	chain, err := w.punjab.GetCustodyChain(context.Background(), v.GetName())
	must(t, err)
	loaded, err := custody.Load(chain.GetEvents()...)
	must(t, err)
	for _, l := range loaded.Links() {
		if is(l.Event) {
			hash = l.Hash.Bytes()
		}
	}
	return hash
}

// ownerCalls are valid calls of what owners do.
func ownerCalls(w *world) map[string]rpctest.Call {
	one := func(make func(t testing.TB) proto.Message) rpctest.Call {
		return rpctest.Call{Requests: func(t testing.TB) []proto.Message { return []proto.Message{make(t)} }}
	}
	corrections := one(nil)
	corrections.Requests = func(t testing.TB) []proto.Message {
		began, there, served, done, lost := w.walk(t, asked), w.walk(t, arrived), w.walk(t, inService), w.walk(t, completed), w.lost(t)
		correct := func(v *referralv1.Referral, hash []byte, r *referralv1.CorrectReferralRequest) proto.Message {
			r.Name, r.Supersedes, r.Note, r.Etag = v.GetName(), hash, "A note.", v.GetEtag()
			return r
		}
		return []proto.Message{
			correct(began, w.firstEvent(t, began), &referralv1.CorrectReferralRequest{Body: &referralv1.CorrectReferralRequest_Needs{Needs: &custodyv1.Needs{
				Gender: "Feminine", AgeFrom: 8, AgeTo: 9, Languages: []string{"bal"}, Services: []string{"SHELTER"}, ExcludedDistricts: []string{"PK-BA-HUB"},
				SpecialNeeds: []string{"WHEELCHAIR"},
			}}}),
			correct(there, w.eventOf(t, there, func(e *custodyv1.Event) bool { return e.GetArrived() != nil }), &referralv1.CorrectReferralRequest{
				Body: &referralv1.CorrectReferralRequest_Arrived{Arrived: &custodyv1.Arrived{Identification: []string{"REFERRAL_SLIP"}, ArriveTime: ahead(-time.Hour)}},
			}),
			correct(served, w.eventOf(t, served, func(e *custodyv1.Event) bool { return e.GetServiceStarted() != nil }), &referralv1.CorrectReferralRequest{
				Body: &referralv1.CorrectReferralRequest_ServiceStarted{ServiceStarted: &custodyv1.ServiceStarted{Services: []string{"SHELTER"}}},
			}),
			correct(done, w.eventOf(t, done, func(e *custodyv1.Event) bool { return e.GetCompleted() != nil }), &referralv1.CorrectReferralRequest{
				Body: &referralv1.CorrectReferralRequest_Completed{Completed: &custodyv1.Completed{Outcome: "REUNIFIED", Services: []string{"SHELTER"}}},
			}),
			correct(lost, w.eventOf(t, lost, func(e *custodyv1.Event) bool { return e.GetNoShow() != nil }), &referralv1.CorrectReferralRequest{
				Body: &referralv1.CorrectReferralRequest_NoShow{NoShow: &custodyv1.NoShow{LastContactTime: ahead(-time.Hour)}},
			}),
		}
	}
	return map[string]rpctest.Call{
		"SubmitReferrals": {
			Requests: func(testing.TB) []proto.Message {
				one, other := local(w), local(w)
				other.AnswerBy = one.GetAnswerBy()
				overridden, third := proto.CloneOf(one), proto.CloneOf(other)
				overridden.RequestId, third.RequestId = "overridden-"+one.GetRequestId(), "overridden-"+other.GetRequestId()
				overridden.Ground = &referralv1.SubmitReferralRequest_Override{Override: &custodyv1.ConsentOverride{
					LegalBasis: "IMMINENT_DANGER", Approver: "nodes/punjab/workers/supervisor",
				}}
				outside, fourth := proto.CloneOf(one), proto.CloneOf(other)
				outside.RequestId, fourth.RequestId = "outside-"+one.GetRequestId(), "outside-"+other.GetRequestId()
				outside.ToUnit, outside.External, fourth.ToUnit, fourth.External = "", agency(), "", agency()
				return []proto.Message{
					&referralv1.SubmitReferralsRequest{Parent: "nodes/punjab", Requests: []*referralv1.SubmitReferralRequest{one, other}},
					&referralv1.SubmitReferralsRequest{Parent: "nodes/punjab", Requests: []*referralv1.SubmitReferralRequest{overridden, third}},
					&referralv1.SubmitReferralsRequest{Parent: "nodes/punjab", Requests: []*referralv1.SubmitReferralRequest{outside, fourth}},
				}
			},
			Except: map[string]rpctest.Exception{
				"requests.request_id unknown": anyKey, "requests.actor.person unknown": anyActor, "requests.actor.unit unknown": anyActor,
				"requests.actor.service unknown": anyActor, "requests.external.address unknown": anyAddress,
			},
		},
		"AcceptOffer": {
			Requests: func(t testing.TB) []proto.Message {
				o := w.offer(t, w.walk(t, asked))
				alone := acceptance(o.GetName(), "punjab")
				alone.Etag = o.GetEtag()
				family := w.family(t)
				first := acceptance(family[0].GetOffers()[0].GetName(), "punjab")
				first.Also = []*referralv1.AcceptedWith{{Offer: family[1].GetOffers()[0].GetName(), Group: group}}
				return []proto.Message{alone, first}
			},
		},
		"WithdrawOffer": one(func(t testing.TB) proto.Message {
			v := w.walk(t, ready)
			return &referralv1.WithdrawOfferRequest{Name: v.GetOffers()[0].GetName(), Reason: "OTHER", Note: "A note.", Etag: v.GetEtag()}
		}),
		"AnswerQuestion": one(func(t testing.TB) proto.Message {
			v := w.asks(t)
			return &referralv1.AnswerQuestionRequest{Name: v.GetOffers()[0].GetName(), Note: "A note.", Etag: v.GetEtag()}
		}),
		"GrantRelease": one(func(t testing.TB) proto.Message {
			v := w.releasing(t)
			return &referralv1.GrantReleaseRequest{Name: v.GetOffers()[0].GetName(), Note: "A note.", Etag: v.GetEtag()}
		}),
		"RefuseRelease": one(func(t testing.TB) proto.Message {
			v := w.releasing(t)
			return &referralv1.RefuseReleaseRequest{Name: v.GetOffers()[0].GetName(), Reason: "NO_OTHER_PLACE", Note: "A note.", Etag: v.GetEtag()}
		}),
		"CancelReferral": one(func(t testing.TB) proto.Message {
			v := w.walk(t, ready)
			return &referralv1.CancelReferralRequest{Name: v.GetName(), Reason: "OTHER", Note: "A note.", Etag: v.GetEtag()}
		}),
		"CheckIn": one(func(t testing.TB) proto.Message {
			v := w.walk(t, onTheRoad)
			return &referralv1.CheckInRequest{
				Name: v.GetName(), CheckTime: ahead(-time.Minute), District: "PK-BA-HUB", NextTime: ahead(time.Hour), Note: "A note.", Etag: v.GetEtag(),
			}
		}),
		"RecordNoShow": one(func(t testing.TB) proto.Message {
			v := w.walk(t, onTheRoad)
			return &referralv1.RecordNoShowRequest{Name: v.GetName(), LastContactTime: ahead(-time.Hour), Note: "A note.", Etag: v.GetEtag()}
		}),
		"RequestReturn": one(func(t testing.TB) proto.Message { return askBack(w.away(t)) }),
		"RecordReturn": one(func(t testing.TB) proto.Message {
			v := w.back(t)
			return &referralv1.RecordReturnRequest{Name: v.GetName(), Reason: "OTHER", Note: "A note.", Etag: v.GetEtag()}
		}),
		"CorrectReferral": corrections,
		"EndConsent": one(func(t testing.TB) proto.Message {
			v := w.walk(t, ready)
			return &referralv1.EndConsentRequest{Name: v.GetName(), Note: "A note.", Etag: v.GetEtag()}
		}),
	}
}

// family are the referrals of two children within punjab who are not parted.
func (w *world) family(t testing.TB) []*referralv1.Referral {
	t.Helper()
	one, other := local(w), local(w)
	other.AnswerBy = one.GetAnswerBy()
	response, err := w.punjab.SubmitReferrals(context.Background(), &referralv1.SubmitReferralsRequest{
		Parent: "nodes/punjab", Requests: []*referralv1.SubmitReferralRequest{one, other},
	})
	must(t, err)
	w.settle(t)
	return response.GetReferrals()
}

// lost is one whose person did not come.
func (w *world) lost(t testing.TB) *referralv1.Referral {
	t.Helper()
	v := w.walk(t, onTheRoad)
	_, err := w.punjab.RecordNoShow(context.Background(), &referralv1.RecordNoShowRequest{Name: v.GetName()}, actor)
	must(t, err)
	w.settle(t)
	return w.read(t, v)
}

func TestRefusedDecisionsOfTheOwner(t *testing.T) {
	w, s := newSuite(t)
	c := newCallers(t, s)
	plain, promised, travelling, there := w.walk(t, asked), w.walk(t, ready), w.walk(t, onTheRoad), w.walk(t, arrived)
	away, back, lost, releasing := w.away(t), w.back(t), w.lost(t), w.releasing(t)
	cancelled := w.walk(t, asked)
	_, err := w.punjab.CancelReferral(t.Context(), &referralv1.CancelReferralRequest{Name: cancelled.GetName(), Reason: "FOUND_LOCALLY"}, actor)
	must(t, err)
	w.settle(t)
	withdraw := func(name, reason, note, etag string) func() error {
		return call(c.person, c.gateway.WithdrawOffer, &referralv1.WithdrawOfferRequest{Name: name, Reason: reason, Note: note, Etag: etag})
	}
	cancel := func(v *referralv1.Referral, reason, note, etag string) func() error {
		return call(c.person, c.gateway.CancelReferral, &referralv1.CancelReferralRequest{Name: v.GetName(), Reason: reason, Note: note, Etag: etag})
	}
	grant := func(v *referralv1.Referral) func() error {
		return call(c.person, c.gateway.GrantRelease, &referralv1.GrantReleaseRequest{Name: v.GetOffers()[0].GetName()})
	}
	hold := func(v *referralv1.Referral, reason, note string) func() error {
		return call(c.person, c.gateway.RefuseRelease, &referralv1.RefuseReleaseRequest{Name: v.GetOffers()[0].GetName(), Reason: reason, Note: note})
	}
	answer := func(v *referralv1.Referral) func() error {
		return call(c.person, c.gateway.AnswerQuestion, &referralv1.AnswerQuestionRequest{Name: v.GetOffers()[0].GetName(), Note: "A note."})
	}
	heard := func(v *referralv1.Referral, change func(r *referralv1.CheckInRequest)) func() error {
		r := &referralv1.CheckInRequest{Name: v.GetName()}
		change(r)
		return call(c.person, c.gateway.CheckIn, r)
	}
	lose := func(v *referralv1.Referral, last time.Duration) func() error {
		return call(c.person, c.gateway.RecordNoShow, &referralv1.RecordNoShowRequest{Name: v.GetName(), LastContactTime: ahead(last)})
	}
	ask := func(v *referralv1.Referral, change func(r *referralv1.RequestReturnRequest)) func() error {
		r := askBack(v)
		r.Etag = ""
		change(r)
		return call(c.person, c.gateway.RequestReturn, r)
	}
	returned := func(v *referralv1.Referral, reason, note string) func() error {
		return call(c.person, c.gateway.RecordReturn, &referralv1.RecordReturnRequest{Name: v.GetName(), Reason: reason, Note: note})
	}
	correct := func(v *referralv1.Referral, hash []byte, outcome string) func() error {
		return call(c.person, c.gateway.CorrectReferral, &referralv1.CorrectReferralRequest{Name: v.GetName(), Supersedes: hash, Body: &referralv1.CorrectReferralRequest_Completed{
			Completed: &custodyv1.Completed{Outcome: outcome, Services: []string{"SHELTER"}},
		}})
	}
	asIs, plainly := func(*referralv1.CheckInRequest) {}, func(*referralv1.RequestReturnRequest) {}
	owner := state("NOT_OWNER", "")
	runRefused(t, s, map[string]refused{
		"withdraw no such offer":         {withdraw(plain.GetName()+"/offers/"+noHash, "NOT_NEEDED", "", ""), missing("kind=offer")},
		"withdraw and not say why":       {withdraw(plain.GetOffers()[0].GetName(), "OTHER", " ", ""), invalid("note")},
		"withdraw what changed":          {withdraw(plain.GetOffers()[0].GetName(), "NOT_NEEDED", "", "77"), stale},
		"withdraw what is over":          {withdraw(cancelled.GetOffers()[0].GetName(), "NEEDS_CHANGED", "", ""), wrongState},
		"withdraw what was fulfilled":    {withdraw(there.GetOffers()[0].GetName(), "NOT_NEEDED", "", ""), wrongState},
		"withdraw another owner's":       {withdraw(away.GetOffers()[0].GetName(), "NOT_NEEDED", "", ""), owner},
		"answer what nobody asked":       {answer(plain), wrongState},
		"release who did not ask":        {grant(promised), wrongState},
		"hold who did not ask":           {hold(promised, "NO_OTHER_PLACE", ""), wrongState},
		"hold and not say why":           {hold(releasing, "OTHER", ""), invalid("note")},
		"cancel no such referral":        {cancel(&referralv1.Referral{Name: noReferral}, "FOUND_LOCALLY", "", ""), missing("kind=referral")},
		"cancel and not say why":         {cancel(plain, "OTHER", "", ""), invalid("note")},
		"cancel what changed":            {cancel(plain, "FOUND_LOCALLY", "", "77"), stale},
		"cancel for another reason":      {cancel(cancelled, "REUNIFIED", "", ""), wrongState},
		"cancel after the handover":      {cancel(away, "FOUND_LOCALLY", "", ""), owner},
		"cancel what came back":          {cancel(back, "FOUND_LOCALLY", "", ""), wrongState},
		"offer after the end":            {call(c.person, c.gateway.OfferReferral, &referralv1.OfferReferralRequest{Name: cancelled.GetName(), ToUnit: hub, Etag: w.read(t, cancelled).GetEtag()}), wrongState},
		"heard of before departure":      {heard(promised, asIs), wrongState},
		"heard of in the future":         {heard(travelling, func(r *referralv1.CheckInRequest) { r.CheckTime = ahead(time.Hour) }), invalid("check_time")},
		"to be heard of in the past":     {heard(travelling, func(r *referralv1.CheckInRequest) { r.NextTime = ahead(-time.Second) }), invalid("next_time")},
		"to be heard of after fortnight": {heard(travelling, func(r *referralv1.CheckInRequest) { r.NextTime = ahead(15 * 24 * time.Hour) }), invalid("next_time")},
		"lost in the future":             {lose(travelling, time.Hour), invalid("last_contact_time")},
		"lost after arrival":             {lose(there, -time.Hour), wrongState},
		"lost at another node":           {lose(away, -time.Hour), owner},
		"ask back from oneself":          {ask(there, plainly), wrongState},
		"ask back for another's unit":    {ask(away, func(r *referralv1.RequestReturnRequest) { r.Unit = hub }), invalid("unit")},
		"ask back and not say why":       {ask(away, func(r *referralv1.RequestReturnRequest) { r.Reason, r.Note = "OTHER", "" }), invalid("note")},
		"ask back what changed":          {ask(away, func(r *referralv1.RequestReturnRequest) { r.Etag = "77" }), stale},
		"return who is not back":         {returned(away, "FAMILY_TRACED", ""), owner},
		"return who never left":          {returned(plain, "FAMILY_TRACED", ""), wrongState},
		"return and not say why":         {returned(back, "OTHER", ""), invalid("note")},
		"correct no event":               {correct(lost, make([]byte, 32), "REUNIFIED"), wrongState},
		"correct an event of other kind": {correct(lost, w.firstEvent(t, lost), "REUNIFIED"), wrongState},
	})
}
