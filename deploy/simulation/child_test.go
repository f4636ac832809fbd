package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// child is a person who is referred, and where they really are.
type child struct {
	number   int
	chance   *rand.Rand
	key      string // of the submission
	urgent   int
	answerBy time.Time
	referral string // empty until the submission was answered
	origin   string
	where    string
	travels  bool
	over     bool
	again    bool     // it was over once, and a restore took that away
	unheard  bool     // the answer to its submission was lost once
	file     string   // the case, where there are cases; empty while it is not known
	siblings []*child // who go together with this one, this one among them; nil for none
}

// client speaks to a node's referral service, nil while that is down, or was put back and does not know it yet.
func (c *country) client(node, caller string) referralv1.ReferralServiceClient {
	h := c.house(node, "referral")
	if h.down() || h.unsure {
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
	c.tell("%s %s (child %d): %v", node, what, c.acting, reasonOf(err))
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

// reasonOf is what an answer says in short, the same in every run.
func reasonOf(err error) string {
	if err == nil {
		return "done"
	}
	return status.Code(err).String() + " " + status.Convert(err).Message()
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

// arrive begins the life of a child, or of children who go together.
func (c *country) arrive(a arrival) {
	var all []*child
	for i := range 1 + a.siblings {
		n := &child{number: a.number + i, origin: a.origin, where: a.origin, urgent: a.number, chance: stream(c.plan.seed, fmt.Sprint("child ", a.number+i)), key: fmt.Sprintf("request-%06d", a.number+i)}
		all = append(all, n)
	}
	for _, n := range all {
		if len(all) > 1 {
			n.siblings = all
		}
		c.people = append(c.people, n)
	}
	if c.plan.cases {
		c.takeIn(all, a.to)
		return
	}
	c.refer(all, a.to)
}

// refer has children referred, now and again until they are. Who referred them asks again by the same key.
func (c *country) refer(all []*child, to string) {
	first := all[0]
	c.acting = first.number
	again := func() { c.after(about(first.chance, 5*time.Minute), func() { c.refer(all, to) }) }
	client := c.client(first.origin, "protection")
	if client == nil {
		again()
		return
	}
	ctx := context.Background()
	if len(all) == 1 {
		r, err := client.SubmitReferral(ctx, c.submission(first, to))
		if !c.said(first.origin, "submits", err) || c.hearsNothing(first) {
			again()
			return
		}
		first.referral = r.GetName()
	} else {
		request := &referralv1.SubmitReferralsRequest{Parent: "nodes/" + first.origin}
		for _, n := range all {
			request.Requests = append(request.Requests, c.submission(n, to))
		}
		r, err := client.SubmitReferrals(ctx, request)
		if !c.said(first.origin, "submits together", err) || c.hearsNothing(first) {
			again()
			return
		}
		for i, n := range all {
			n.referral = r.GetReferrals()[i].GetName()
		}
	}
	for _, n := range all {
		c.after(about(n.chance, 2*time.Hour), func() { c.live(n) })
	}
}

// hearsNothing has the answer to a submission be lost, of one child in four, once.
func (c *country) hearsNothing(n *child) bool {
	if n.unheard || n.number%4 != 1 {
		return false
	}
	n.unheard = true
	c.did["answers to submissions lost"]++
	return true
}

func (c *country) submission(n *child, to string) *referralv1.SubmitReferralRequest {
	if now := c.house(n.origin, "referral").now(); n.answerBy.Before(now) || n.answerBy.Sub(now) > 48*time.Hour { // said again, it is the same
		n.answerBy = now.Add(24 * time.Hour)
	}
	return &referralv1.SubmitReferralRequest{
		Parent: "nodes/" + n.origin, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency(1 + n.urgent%3), Reasons: []string{"NO_LOCAL_BED"},
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10, Languages: []string{"bal"}, Services: []string{"SHELTER"}},
		Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
			Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"},
			RecordTime: timestamppb.New(c.begin.Add(-time.Hour)), ExpireTime: timestamppb.New(c.begin.Add(365 * 24 * time.Hour)),
		}},
		Unit: unitOf(n.origin), ToUnit: unitOf(to), RequestId: n.key,
		AnswerBy: timestamppb.New(n.answerBy),
		Actor:    &custodyv1.Actor{Person: "nodes/" + n.origin + "/workers/one", Unit: unitOf(n.origin), Service: "protection"},
	}
}

// other is some other node.
func (c *country) other(n *child, than string) string {
	for {
		if node := c.nodes[n.chance.IntN(len(c.nodes))]; node != than {
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
	c.after(10*time.Minute+about(n.chance, 4*time.Hour), func() { c.live(n) })
	if c.plan.cases && !c.hasCase(n) || !c.plan.cases && c.forgotten(n) {
		return
	}
	node := n.where
	if !c.calm && n.chance.Float64() < 0.1 {
		node = c.nodes[n.chance.IntN(len(c.nodes))]
	}
	if c.client(node, "gateway") == nil {
		return
	}
	if n.travels && n.chance.Float64() < 0.5 {
		n.travels = false
	}
	if !n.travels {
		c.welcome(n)
	}
	client := c.client(node, "gateway")
	if client == nil {
		return
	}
	r, err := client.GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: n.referral})
	if err != nil {
		return
	}
	if over(r) && n.chance.Float64() < 0.9 { // somebody may still say something
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

// goOn has the life of a child go on whose end was lost with an old copy: who has the child sees that its referral is not over.
func (c *country) goOn() {
	for _, n := range c.people {
		client := c.client(n.where, "gateway")
		if !n.over || client == nil {
			continue
		}
		if r, err := client.GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: n.referral}); err == nil && !over(r) {
			n.over, n.again = false, true
			c.did["ends that were lost"]++
			c.tell("the life of child %d goes on", n.number)
			c.after(about(n.chance, 2*time.Hour), func() { c.live(n) })
		}
	}
}

// forgotten: a referral service was restored from before a referral that nobody else had heard of. Who referred the child refers it again, and those who
// were to go with it, where their referrals are lost too.
// (Where there are protection services, they do.)
func (c *country) forgotten(n *child) bool {
	if c.house(n.origin, "referral").life == 0 || !c.nowhere(n) {
		return false
	}
	all := []*child{n}
	switch {
	case slices.ContainsFunc(n.siblings, func(one *child) bool { return !c.nowhere(one) }):
		c.goesAlone(n)
	case n.siblings != nil:
		all = n.siblings
	}
	c.did["referrals lost and made again"]++
	c.tell("child %d is referred again", n.number)
	for _, one := range all {
		c.forget(one.referral)
		one.over = true // its life goes on as another's
	}
	var again []*child
	for _, one := range all {
		fresh := *one
		fresh.over, fresh.where, fresh.travels = false, one.origin, false // who has gone first is brought back
		again = append(again, &fresh)
	}
	for i, one := range all {
		if one.siblings != nil {
			again[i].siblings = again
		}
		c.people[slices.Index(c.people, one)] = again[i]
	}
	c.refer(again, c.other(n, n.origin))
	return true
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

// depart has a child, and those who go together with it, leave for where they were sent, or, seldom, elsewhere.
func (c *country) depart(n *child) {
	client := c.client(n.where, "gateway")
	if client == nil {
		return
	}
	all := []*child{n}
	if n.siblings != nil {
		all = n.siblings
	}
	lost := n.chance.Float64() < 0.03
	for _, one := range all {
		r, err := client.GetReferral(context.Background(), &referralv1.GetReferralRequest{Name: one.referral})
		if err != nil || !slices.Contains(c.nodes, r.GetOwnerNode()) || one.where != n.origin && one != n || r.GetState() != onTheRoad {
			continue
		}
		if one != n && one.travels {
			continue
		}
		one.where, one.travels = r.GetOwnerNode(), true
		if lost {
			one.where = c.other(one, one.where)
		}
	}
}

// welcome has the node where a child is say so: as the owner, or else by the slip.
func (c *country) welcome(n *child) {
	client := c.client(n.where, "gateway")
	if client == nil {
		return
	}
	ctx := context.Background()
	r, err := client.GetReferral(ctx, &referralv1.GetReferralRequest{Name: n.referral})
	if err == nil && r.GetCareNode() == n.where && r.GetOwnerNode() == n.where {
		return
	}
	at := timestamppb.New(c.house(n.where, "referral").now())
	if r.GetOwnerNode() == n.where {
		_, err := client.RecordArrival(ctx, &referralv1.RecordArrivalRequest{Name: n.referral, Identification: []string{"REFERRAL_SLIP"}, ArriveTime: at})
		if c.said(n.where, "writes the arrival", err) {
			return
		}
		if client = c.client(n.where, "gateway"); client == nil {
			return
		}
	}
	_, err = client.AssertArrival(ctx, &referralv1.AssertArrivalRequest{
		Name: n.referral, Unit: unitOf(n.where), Identification: []string{"REFERRAL_SLIP"}, ArriveTime: at,
	})
	c.said(n.where, "asserts the arrival", err)
}
