package simulation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// child is a person who is referred, and where they really are.
type child struct {
	number   int
	referral string // empty until the submission was answered
	origin   string
	where    string
	answerBy time.Time
	travels  bool
	over     bool
}

// client speaks to a node's referral service, nil while that is down.
func (c *country) client(node, caller string) referralv1.ReferralServiceClient {
	h := c.house(node, "referral")
	if h.down() {
		return nil
	}
	token := h.token()
	if caller != "gateway" {
		token = nil
	}
	return referralv1.NewReferralServiceClient(h.referral.Server.From(caller, token))
}

// said notes what came of a call at a node, and lets its service work.
func (c *country) said(node, what string, err error) bool {
	h := c.house(node, "referral")
	code := status.Code(err)
	c.tell("%s %s (child %d): %v", node, what, c.acting, code)
	c.did[what]++
	if h.failed() {
		return false
	}
	if err == nil {
		c.did[what+" (done)"]++
	}
	if code == codes.Internal || code == codes.Unknown || code == codes.DataLoss {
		c.breaks("INTERNAL: %s at %s: %v", what, node, err)
	}
	h.work()
	return err == nil
}

// furnish gives each node a house with beds.
func (c *country) furnish(beds int32) {
	for _, node := range c.nodes {
		h := c.house(node, "shelter")
		_, err := shelterv1.NewShelterServiceClient(h.shelter.Server.From("gateway", h.token())).CreateShelter(context.Background(), &shelterv1.CreateShelterRequest{
			Parent: "nodes/" + node, ShelterId: "house", Shelter: &shelterv1.Shelter{
				DisplayName: "House", District: "PK617", Address: "canary-address", Languages: []string{"urd", "bal"},
				Groups: []*shelterv1.Group{{Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: beds}},
			},
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// refer has a child referred, now and again until it is.
func (c *country) refer(n *child, key string, to string) {
	c.acting = n.number
	client := c.client(n.origin, "protection")
	if client == nil {
		c.after(c.about(5*time.Minute), func() { c.refer(n, key, to) })
		return
	}
	if n.answerBy.IsZero() { // said again, it is the same
		n.answerBy = c.now.Add(24 * time.Hour)
	}
	r, err := client.SubmitReferral(context.Background(), &referralv1.SubmitReferralRequest{
		Parent: "nodes/" + n.origin, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency(1 + n.number%3), Reasons: []string{"NO_LOCAL_BED"},
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}, Services: []string{"SHELTER"}},
		Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
			Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"},
			RecordTime: timestamppb.New(c.begin.Add(-time.Hour)), ExpireTime: timestamppb.New(c.begin.Add(365 * 24 * time.Hour)),
		}},
		Unit: unitOf(n.origin), ToUnit: unitOf(to), AnswerBy: timestamppb.New(n.answerBy), RequestId: key,
		Actor: &custodyv1.Actor{Person: "nodes/" + n.origin + "/workers/one", Unit: unitOf(n.origin), Service: "protection"},
	})
	if c.said(n.origin, "submits", err) {
		n.referral = r.GetName()
		c.after(c.about(2*time.Hour), func() { c.live(n) })
		return
	}
	c.after(c.about(5*time.Minute), func() { c.refer(n, key, to) })
}

// arrive begins the life of children, so many a day.
func (c *country) arrive(children int, within time.Duration) {
	for i := range children {
		n := &child{number: i, origin: c.nodes[c.chance.IntN(len(c.nodes))]}
		n.where = n.origin
		to := c.other(n.origin)
		c.people = append(c.people, n)
		c.after(time.Duration(c.chance.Int64N(int64(within))), func() { c.refer(n, fmt.Sprintf("request-%06d", i), to) })
	}
}

// other is some other node.
func (c *country) other(than string) string {
	for {
		if node := c.nodes[c.chance.IntN(len(c.nodes))]; node != than {
			return node
		}
	}
}

// live is what somebody somewhere does next about a child.
func (c *country) live(n *child) {
	if n.over {
		return
	}
	c.acting = n.number
	c.after(10*time.Minute+c.about(4*time.Hour), func() { c.live(n) })
	node := n.where
	if !c.calm && c.odds(0.1) {
		node = c.nodes[c.chance.IntN(len(c.nodes))]
	}
	client := c.client(node, "gateway")
	if client == nil {
		return
	}
	if n.travels && c.odds(0.5) {
		n.travels = false
	}
	if !n.travels {
		c.welcome(n)
	}
	if client = c.client(node, "gateway"); client == nil {
		return
	}
	r, err := client.GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: n.referral})
	if err != nil {
		return
	}
	if over(r) && !c.odds(0.1) { // somebody may still say something
		n.over = r.GetCareNode() == n.where
		return
	}
	if r.GetOwnerNode() != node {
		if owner := c.client(r.GetOwnerNode(), "gateway"); owner != nil {
			if known, err := owner.GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: n.referral}); err == nil {
				r, node, client = known, r.GetOwnerNode(), owner
			}
		}
	}
	c.act(n, node, client, r)
}

// act does something about a referral: mostly what its state calls for, now and then anything at all.
func (c *country) act(n *child, node string, client referralv1.ReferralServiceClient, r *referralv1.Referral) {
	deeds := c.deeds(n, node, client, r)
	if c.calm || c.odds(0.9) {
		deeds = slices.DeleteFunc(deeds, func(d deed) bool { return !d.fits })
	}
	if len(deeds) == 0 {
		return
	}
	all := 0
	for _, d := range deeds {
		all += d.weight
	}
	drawn := c.chance.IntN(all)
	for _, d := range deeds {
		if drawn -= d.weight; drawn < 0 {
			c.said(d.node, d.what, d.do())
			c.judge(n)
			return
		}
	}
}

// deed is something that somebody at a node may do. It fits where the state of a referral calls for it.
type deed struct {
	weight     int
	fits       bool
	node, what string
	do         func() error
}

func (c *country) deeds(n *child, node string, client referralv1.ReferralServiceClient, r *referralv1.Referral) (all []deed) {
	ctx := context.Background()
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
			_, err := there.AcceptOffer(ctx, &referralv1.AcceptOfferRequest{
				Name: o.GetName(), Group: groupOf(to), HoldExpireTime: timestamppb.New(c.now.Add(12 * time.Hour)),
				Worker: &identityv1.WorkerContact{Worker: "nodes/" + to + "/workers/one", DisplayName: "One", Phone: "+923009876543"},
			})
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
		can(4, is(custodyv1.OfferState_OFFER_STATE_ACCEPTED), node, "chooses", func() error {
			_, err := client.ConfirmOffer(ctx, &referralv1.ConfirmOfferRequest{Name: o.GetName()})
			return err
		})
	}
	can(2, in(submitted) || in(arrived, inService) && !c.calm, node, "asks another", func() error {
		_, err := client.OfferReferral(ctx, &referralv1.OfferReferralRequest{
			Name: n.referral, ToUnit: unitOf(c.other(node)), AnswerBy: timestamppb.New(c.now.Add(24 * time.Hour)), Etag: r.GetEtag(),
		})
		return err
	})
	can(12, in(ready), node, "sends", func() error {
		_, err := client.DispatchReferral(ctx, &referralv1.DispatchReferralRequest{
			Name: n.referral, Documents: []string{"COURT_ORDER"}, ExpectTime: timestamppb.New(c.now.Add(24 * time.Hour)),
			Escort: &custodyv1.Escort{DisplayName: "One", Phone: "+923009876543", MeetingPlace: "A gate", MeetingTime: timestamppb.New(c.now.Add(time.Hour)), CourtOrder: "7/2026"},
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
			n.where = c.other(n.where)
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
		_, err := c.client(node, "protection").CompleteReferral(ctx, &referralv1.CompleteReferralRequest{
			Name: n.referral, Outcome: "REUNIFIED", Services: []string{"SHELTER"}, Feedback: "Well.",
			Actor: &custodyv1.Actor{Person: "nodes/" + node + "/workers/one", Unit: unitOf(node), Service: "protection"},
		})
		return err
	})
	return all
}

const (
	submitted = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
	confirmed = custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
	ready     = custodyv1.ReferralState_REFERRAL_STATE_READY
	onTheRoad = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
	arrived   = custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
	inService = custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
)

// over says that a referral has ended.
func over(r *referralv1.Referral) bool {
	switch r.GetState() {
	case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, custodyv1.ReferralState_REFERRAL_STATE_EXPIRED,
		custodyv1.ReferralState_REFERRAL_STATE_RETURNED, custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW:
		return true
	}
	return false
}

// depart has a child leave for where they were sent, or, seldom, elsewhere.
func (c *country) depart(n *child) {
	client := c.client(n.where, "gateway")
	if client == nil {
		return
	}
	r, err := client.GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: n.referral})
	if err != nil || !slices.Contains(c.nodes, r.GetOwnerNode()) {
		return
	}
	n.where, n.travels = r.GetOwnerNode(), true
	if c.odds(0.03) {
		n.where = c.other(n.where)
	}
}

// welcome has the node where a child is say so: as the owner, or else by the slip.
func (c *country) welcome(n *child) {
	client := c.client(n.where, "gateway")
	if client == nil {
		return
	}
	ctx := context.Background()
	if r, err := client.GetReferral(ctx, &referralv1.GetReferralRequest{Name: n.referral}); err == nil && r.GetCareNode() == n.where && r.GetOwnerNode() == n.where {
		return
	}
	_, err := client.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: n.referral, Identification: []string{"REFERRAL_SLIP"}, ArriveTime: timestamppb.New(c.now)})
	if c.said(n.where, "writes the arrival", err) {
		return
	}
	if client = c.client(n.where, "gateway"); client == nil {
		return
	}
	_, err = client.AssertArrival(ctx, &referralv1.AssertArrivalRequest{
		Name: n.referral, Unit: unitOf(n.where), Identification: []string{"REFERRAL_SLIP"}, ArriveTime: timestamppb.New(c.now),
	})
	c.said(n.where, "asserts the arrival", err)
}
