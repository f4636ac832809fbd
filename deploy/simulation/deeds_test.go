package simulation

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// deed is something that somebody at a node may do. It fits where the state of a referral calls for it.
type deed struct {
	weight     int
	fits       bool
	node, what string
	do         func() error
}

// act does something about a referral: mostly what its state calls for, now and then anything at all, or what nobody may do.
func (c *country) act(n *child, node string, client referralv1.ReferralServiceClient, r *referralv1.Referral) {
	if !c.calm && n.chance.Float64() < 0.15 {
		c.sin(n, node, r)
		return
	}
	deeds := c.deeds(n, node, client, r)
	if c.calm || n.chance.Float64() < 0.9 {
		deeds = slices.DeleteFunc(deeds, func(d deed) bool { return !d.fits })
	}
	if d := draw(n, deeds); d != nil {
		c.said(d.node, d.what, c.refusedWhole(d))
		c.judge(n)
	}
}

func draw(n *child, deeds []deed) *deed {
	all := 0
	for _, d := range deeds {
		all += d.weight
	}
	if all == 0 {
		return nil
	}
	drawn := n.chance.IntN(all)
	for i := range deeds {
		if drawn -= deeds[i].weight; drawn < 0 {
			return &deeds[i]
		}
	}
	return nil
}

// refusedWhole does a deed; one that is refused changes nothing.
func (c *country) refusedWhole(d *deed) error {
	told := func() (n [2]int) {
		for i, service := range []string{"referral", "shelter"} {
			if h := c.house(d.node, service); !h.down() {
				n[i] = h.told()
			}
		}
		return n
	}
	before := told()
	err := d.do()
	switch status.Code(err) {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.Aborted, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated:
		if told() != before {
			c.breaks("REFUSED (whole): %s at %s was refused (%v) and has changed something", d.what, d.node, err)
		}
	}
	return err
}

// sin does what nobody may do in this state, by what the very service asked has just said. It must be refused.
func (c *country) sin(n *child, node string, r *referralv1.Referral) {
	d := draw(n, c.sins(n, node, r))
	if d == nil {
		return
	}
	err := c.refusedWhole(d)
	c.did["illegal"]++
	if err == nil && !c.house(d.node, "referral").failed() {
		c.breaks("ILLEGAL (refused): %s %s (child %d)", d.node, d.what, n.number)
	}
	c.said(d.node, d.what, err)
	c.judge(n)
}

func (c *country) sins(n *child, at string, seen *referralv1.Referral) (all []deed) {
	ctx := context.Background()
	can := func(may bool, node, what string, do func() error) {
		if may {
			all = append(all, deed{1, false, node, what, do})
		}
	}
	for _, o := range seen.GetOffers() {
		there := c.client(o.GetToNode(), "gateway")
		if there == nil {
			continue
		}
		own, err := there.GetOffer(ctx, &referralv1.GetOfferRequest{Name: o.GetName()})
		if err != nil {
			continue
		}
		ended := slices.Contains([]custodyv1.OfferState{
			custodyv1.OfferState_OFFER_STATE_WITHDRAWN, custodyv1.OfferState_OFFER_STATE_DECLINED, custodyv1.OfferState_OFFER_STATE_EXPIRED, custodyv1.OfferState_OFFER_STATE_LAPSED,
		}, own.GetState())
		if home := c.house(o.GetToNode(), "shelter"); own.GetHold() != "" && !home.down() {
			hold, err := shelterv1.NewShelterServiceClient(home.shelter.Server.From("gateway", home.token())).GetHold(ctx, &shelterv1.GetHoldRequest{Name: own.GetHold()})
			can(err == nil && hold.GetState() == shelterv1.Hold_STATE_HELD, o.GetToNode(), "confirms a hold by an older fence", func() error {
				fence := proto.CloneOf(hold.GetFence())
				fence.Number--
				_, err := shelterv1.NewShelterServiceClient(home.shelter.Server.From("referral", nil)).ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: hold.GetName(), Fence: fence})
				return err
			})
		}
		can(ended, o.GetToNode(), "accepts what has ended", func() error {
			_, err := there.AcceptOffer(ctx, c.acceptance(n, nil, o, c.house(o.GetToNode(), "referral").now()))
			return err
		})
		can(ended, o.GetToNode(), "asks about what has ended", func() error {
			_, err := there.AskQuestion(ctx, &referralv1.AskQuestionRequest{Name: o.GetName(), Topic: "HEALTH"})
			return err
		})
	}
	for _, node := range c.nodes {
		client := c.client(node, "gateway")
		if client == nil {
			continue
		}
		r, err := client.GetReferral(ctx, &referralv1.GetReferralRequest{Name: n.referral})
		if err != nil {
			continue
		}
		foreign := r.GetOwnerNode() != node
		now := c.house(node, "referral").now()
		send := &referralv1.DispatchReferralRequest{Name: n.referral, Documents: []string{"COURT_ORDER"}, ExpectTime: timestamppb.New(now.Add(24 * time.Hour)), Escort: escort(now)}
		can(foreign, node, "sends whom it does not own", func() error { _, err := client.DispatchReferral(ctx, send); return err })
		can(r.GetState() == submitted && !foreign, node, "sends where nobody has promised", func() error { _, err := client.DispatchReferral(ctx, send); return err })
		can(foreign && r.GetState() != custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, node, "calls off what it does not own", func() error {
			_, err := client.CancelReferral(ctx, &referralv1.CancelReferralRequest{Name: n.referral, Reason: "FOUND_LOCALLY"})
			return err
		})
		can(foreign && !over(r), node, "begins a service for whom it does not own", func() error {
			_, err := client.StartService(ctx, &referralv1.StartServiceRequest{Name: n.referral, Services: []string{"SHELTER"}})
			return err
		})
		can(!foreign, node, "asks another by an old etag", func() error {
			_, err := client.OfferReferral(ctx, &referralv1.OfferReferralRequest{
				Name: n.referral, ToUnit: unitOf(c.other(n, node)), AnswerBy: timestamppb.New(now.Add(24 * time.Hour)), Etag: "0",
			})
			return err
		})
		can(true, node, "sends without a role", func() error {
			h := c.house(node, "referral")
			nobody := referralv1.NewReferralServiceClient(h.referral.Server.From("gateway", &identityv1.PersonToken{Person: "nodes/" + node + "/workers/two", Unit: unitOf(node), Roles: []string{"shelter-manager"}}))
			_, err := nobody.DispatchReferral(ctx, send)
			return err
		})
		for _, o := range r.GetOffers() {
			sent := o.GetState() == custodyv1.OfferState_OFFER_STATE_SENT || o.GetState() == custodyv1.OfferState_OFFER_STATE_RECEIVED || o.GetState() == custodyv1.OfferState_OFFER_STATE_DECLINED
			can(!foreign && sent && !o.GetReturn(), node, "chooses who has not accepted", func() error {
				_, err := client.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: o.GetName()})
				return err
			})
		}
	}
	return all
}

func escort(now time.Time) *custodyv1.Escort {
	return &custodyv1.Escort{DisplayName: "One", Phone: "+923009876543", MeetingPlace: "A gate", MeetingTime: timestamppb.New(now.Add(time.Hour)), CourtOrder: "7/2026"}
}

// acceptance accepts an offer, with those of who go together where their owner knows them.
func (c *country) acceptance(n *child, owner referralv1.ReferralServiceClient, o *referralv1.Offer, now time.Time) *referralv1.AcceptOfferRequest {
	to := o.GetToNode()
	request := &referralv1.AcceptOfferRequest{
		Name: o.GetName(), Group: groupOf(to), HoldExpireTime: timestamppb.New(now.Add(12 * time.Hour)),
		Worker: &identityv1.WorkerContact{Worker: "nodes/" + to + "/workers/one", DisplayName: "One", Phone: "+923009876543"},
	}
	if owner == nil {
		return request
	}
	for _, other := range n.siblings {
		if other == n {
			continue
		}
		r, err := owner.GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: other.referral})
		if err != nil {
			continue
		}
		for _, also := range r.GetOffers() {
			if also.GetToNode() == to && open(also.GetState()) {
				request.Also = append(request.Also, &referralv1.AcceptedWith{Offer: also.GetName(), Group: groupOf(to)})
				break
			}
		}
	}
	return request
}

func (c *country) deeds(n *child, node string, client referralv1.ReferralServiceClient, r *referralv1.Referral) (all []deed) {
	ctx, now := context.Background(), c.house(node, "referral").now()
	can := func(weight int, fits bool, at, what string, do func() error) {
		all = append(all, deed{weight, fits, at, what, do})
	}
	in := func(states ...custodyv1.ReferralState) bool { return slices.Contains(states, r.GetState()) }
	for _, o := range r.GetOffers() {
		to := o.GetToNode()
		there := c.client(to, "gateway")
		if there == nil {
			continue
		}
		is := func(states ...custodyv1.OfferState) bool { return slices.Contains(states, o.GetState()) }
		asked := is(custodyv1.OfferState_OFFER_STATE_SENT, custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_WAITLISTED)
		can(8, asked, to, "accepts", func() error {
			_, err := there.AcceptOffer(ctx, c.acceptance(n, client, o, c.house(to, "referral").now()))
			return err
		})
		can(1, is(custodyv1.OfferState_OFFER_STATE_RECEIVED), to, "asks a question", func() error {
			_, err := there.AskQuestion(ctx, &referralv1.AskQuestionRequest{Name: o.GetName(), Topic: "HEALTH", Note: "Which medicine?"})
			return err
		})
		can(8, is(custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED), node, "answers a question", func() error {
			_, err := client.AnswerQuestion(ctx, &referralv1.AnswerQuestionRequest{Name: o.GetName(), Note: "None."})
			return err
		})
		can(1, is(custodyv1.OfferState_OFFER_STATE_RECEIVED), to, "puts on the waiting list", func() error {
			_, err := there.WaitlistOffer(ctx, &referralv1.WaitlistOfferRequest{Name: o.GetName(), ReviewTime: timestamppb.New(c.house(to, "referral").now().Add(24 * time.Hour))})
			return err
		})
		can(1, is(custodyv1.OfferState_OFFER_STATE_READY), to, "proposes when to meet", func() error {
			_, err := there.ProposeSchedule(ctx, &referralv1.ProposeScheduleRequest{Name: o.GetName(), MeetTime: timestamppb.New(c.house(to, "referral").now().Add(24 * time.Hour)), Place: "A gate"})
			return err
		})
		can(1, asked, to, "declines", func() error {
			_, err := there.DeclineOffer(ctx, &referralv1.DeclineOfferRequest{Name: o.GetName(), Reason: "TOO_FAR"})
			return err
		})
		can(1, is(custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED), to, "takes its acceptance back", func() error {
			_, err := there.WithdrawAcceptance(ctx, &referralv1.WithdrawAcceptanceRequest{Name: o.GetName(), Reason: "NO_CAPACITY"})
			return err
		})
		can(1, is(custodyv1.OfferState_OFFER_STATE_READY), to, "asks to be let go", func() error {
			_, err := there.RequestRelease(ctx, &referralv1.RequestReleaseRequest{Name: o.GetName(), Reason: "NO_CAPACITY"})
			return err
		})
		can(1, asked && !c.calm, node, "withdraws its offer", func() error {
			_, err := client.WithdrawOffer(ctx, &referralv1.WithdrawOfferRequest{Name: o.GetName(), Reason: "NOT_NEEDED"})
			return err
		})
		can(8, o.GetReleaseReason() != "", node, "lets go", func() error {
			_, err := client.GrantRelease(ctx, &referralv1.GrantReleaseRequest{Name: o.GetName()})
			return err
		})
		can(2, o.GetReleaseReason() != "", node, "does not let go", func() error {
			_, err := client.RefuseRelease(ctx, &referralv1.RefuseReleaseRequest{Name: o.GetName(), Reason: "ON_THE_ROAD"})
			return err
		})
		can(4, is(custodyv1.OfferState_OFFER_STATE_ACCEPTED), node, "chooses", func() error {
			_, err := client.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: o.GetName()})
			return err
		})
	}
	can(2, in(submitted) || in(arrived, inService) && !c.calm, node, "asks another", func() error {
		_, err := client.OfferReferral(ctx, &referralv1.OfferReferralRequest{
			Name: n.referral, ToUnit: unitOf(c.other(n, node)), AnswerBy: timestamppb.New(now.Add(24 * time.Hour)), Etag: r.GetEtag(),
		})
		return err
	})
	can(12, in(ready), node, "sends", func() error {
		_, err := client.DispatchReferral(ctx, &referralv1.DispatchReferralRequest{
			Name: n.referral, Documents: []string{"COURT_ORDER"}, ExpectTime: timestamppb.New(now.Add(24 * time.Hour)),
			Escort: &custodyv1.Escort{DisplayName: "One", Phone: "+923009876543", MeetingPlace: "A gate", MeetingTime: timestamppb.New(now.Add(time.Hour)), CourtOrder: "7/2026"},
		})
		if err == nil && n.where == node && !n.travels {
			c.depart(n)
		}
		return err
	})
	can(1, in(submitted, confirmed, ready) && !c.calm, node, "calls it off", func() error {
		_, err := client.CancelReferral(ctx, &referralv1.CancelReferralRequest{Name: n.referral, Reason: "FOUND_LOCALLY"})
		return err
	})
	if !c.calm {
		can(1, false, node, "goes first", func() error { // in an emergency nobody asks for leave
			n.where = c.other(n, n.where)
			c.welcome(n)
			return nil
		})
	}
	if n.where != node {
		can(1, in(onTheRoad) && !c.calm, node, "says nobody came", func() error {
			_, err := client.RecordNoShow(ctx, &referralv1.RecordNoShowRequest{Name: n.referral})
			return err
		})
	}
	can(8, in(arrived), node, "begins the service", func() error {
		_, err := client.StartService(ctx, &referralv1.StartServiceRequest{Name: n.referral, Services: []string{"SHELTER"}})
		return err
	})
	can(1, in(arrived, inService) && !c.calm, n.origin, "asks for a return", func() error {
		origin := c.client(n.origin, "gateway")
		if origin == nil {
			return errAway
		}
		_, err := origin.RequestReturn(ctx, &referralv1.RequestReturnRequest{Name: n.referral, Reason: "PLACEMENT_FAILED", Unit: unitOf(n.origin)})
		return err
	})
	can(1, in(arrived) && node == n.origin, node, "writes that the child is back", func() error {
		_, err := client.RecordReturn(ctx, &referralv1.RecordReturnRequest{Name: n.referral, Reason: "PLACEMENT_FAILED"})
		return err
	})
	can(4, in(inService), node, "completes", func() error {
		if c.plan.cases {
			return c.recordOutcome(n, node)
		}
		_, err := c.client(node, "protection").CompleteReferral(ctx, &referralv1.CompleteReferralRequest{
			Name: n.referral, Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: "Well.",
			Actor: &custodyv1.Actor{Person: "nodes/" + node + "/workers/one", Unit: unitOf(node), Service: "protection"},
		})
		return err
	})
	return all
}
