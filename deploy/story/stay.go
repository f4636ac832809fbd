package story

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/scenario"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
)

// setOut is how long after the promise of a place people set out, differently for each.
func setOut(number int) time.Duration { return 3*time.Hour + time.Duration(number*37%20)*time.Hour }

// Times on the road, of who does not come and of what follows an arrival.
const (
	missedAfter = 7 * time.Hour // after they were expected
	foundAfter  = 20 * time.Hour
	comesAfter  = 9 * time.Hour // after they were found
	meetBefore  = time.Hour     // they set out
	firstSight  = 2 * time.Hour // after they came
)

// handOver is the way of those who were promised a place, and their stay.
func (p *Player) handOver(h *hand, y *party) error {
	home, lead := p.desks[y.home()], y.lead()
	r, err := p.get(h, y.home(), lead.referral)
	if err != nil {
		return err
	}
	to := chosen(r)
	if to == nil {
		return fmt.Errorf("%s is %v without an offer", r.GetName(), r.GetState())
	}
	both := []string{y.home(), to.GetToNode()}
	if r.GetState() == ready {
		if err := h.until(r.GetUpdateTime().AsTime().Add(setOut(lead.plan.Number))); err != nil {
			return err
		}
		_, err = p.step(h, y.home(), lead.referral, both, func(r *referralv1.Referral) bool { return r.GetState() >= onTheRoad }, func() error {
			now := h.now()
			_, err := ask(h.ctx, home, worker, lead.plan.Case.GetUnit(), home.referral.DispatchReferral, &referralv1.DispatchReferralRequest{
				Name: lead.referral, ExpectTime: timestamppb.New(now.Add(y.plan().Road + time.Hour)),
				Escort: &custodyv1.Escort{DisplayName: escortName, Phone: road, MeetingPlace: meetingPlace, MeetingTime: timestamppb.New(now.Add(y.plan().Road))},
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("dispatch: %w", err)
		}
	}
	if err := p.travel(h, y, to, both); err != nil {
		return err
	}
	for _, m := range y.members {
		if err := p.see(h, m, to, both); err != nil {
			return fmt.Errorf("start services: %w", err)
		}
	}
	for _, m := range y.members {
		if err := p.stay(h, m, to, both); err != nil {
			return fmt.Errorf("stay: %w", err)
		}
	}
	return nil
}

// chosen is the offer on which people go.
func chosen(r *referralv1.Referral) *referralv1.Offer {
	for _, o := range r.GetOffers() {
		switch o.GetState() {
		case custodyv1.OfferState_OFFER_STATE_CONFIRMED, custodyv1.OfferState_OFFER_STATE_READY, custodyv1.OfferState_OFFER_STATE_FULFILLED:
			return o
		}
	}
	return nil
}

// travel brings those who set out to where they are expected.
func (p *Player) travel(h *hand, y *party, to *referralv1.Offer, both []string) (err error) {
	away := p.desks[to.GetToNode()]
	var r *referralv1.Referral
	for _, m := range y.members { // the chain is on its way to whom it belongs now
		err := p.sight(h, "those who come", both, func() (bool, error) {
			r, err = p.get(h, to.GetToNode(), m.referral)
			if status.Code(err) == codes.NotFound {
				return false, nil
			}
			return err == nil && r.GetState() >= onTheRoad, err
		})
		if err != nil {
			return err
		}
	}
	if r.GetState() == onTheRoad {
		if err := h.until(r.GetUpdateTime().AsTime().Add(y.plan().Road)); err != nil {
			return err
		}
	}
	if y.plan().NoShow && has(onTheRoad, notCome)(r) {
		if err := p.noShow(h, y, to, both); err != nil {
			return err
		}
	}
	for _, m := range y.members {
		_, err := p.step(h, to.GetToNode(), m.referral, both, has(hasCome, inService, completed), func() error {
			_, err := ask(h.ctx, away, worker, to.GetToUnit(), away.referral.RecordArrival, &referralv1.RecordArrivalRequest{
				Name: m.referral, Identification: []string{"REFERRAL_SLIP"},
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("arrive: %w", err)
		}
	}
	p.count(func(n *Counts) { n.Arrived += len(y.members) })
	if y.plan().NoShow { // their beds were given back
		return p.walkIn(h, y, to)
	}
	return nil
}

// walkIn admits those who came after all where beds are free that fit, as soon as there are some. Where the year goes on they may be there, or may
// have left: which stay was theirs is told to who asks for it again.
func (p *Player) walkIn(h *hand, y *party, to *referralv1.Offer) error {
	for {
		places, err := p.places(h, y, to.GetToNode(), scenario.Answer{Unit: to.GetToUnit()})
		if err != nil {
			return err
		}
		places = append(places, planned(y, to.GetToNode())...)
		for _, groups := range places {
			if admitted, err := p.admit(h, y, to.GetToNode(), groups); err != nil || admitted {
				return err
			}
		}
		if err := h.until(h.now().Add(12 * time.Hour)); err != nil {
			return err
		}
	}
}

// planned are the groups that the plan has for those who go together, where they are of a node; none where not.
func planned(y *party, node string) [][]string {
	groups := make([]string, len(y.members))
	for i, m := range y.members {
		answers := m.plan.Referral.Answers
		if groups[i] = answers[len(answers)-1].Group; nodeOf(groups[i]) != node {
			return nil
		}
	}
	return [][]string{groups}
}

// admit admits who came without a bed held for them, each in a group; false when the beds are taken by now. Nobody is admitted twice.
func (p *Player) admit(h *hand, y *party, node string, groups []string) (admitted bool, err error) {
	d := p.desks[node]
	for i, m := range y.members {
		stay, err := ask(h.ctx, d, manager, "", d.shelter.AdmitWalkIn, &shelterv1.AdmitWalkInRequest{
			Group: groups[i], Quantity: 1, Needs: m.plan.Referral.Request.GetNeeds(), RequestId: "walk-in-" + idOf(m.referral),
		})
		m.stay = stay.GetName()
		if f := rpc.Fault(err); f != nil && f.Reason() == fault.IdempotencyMismatch { // they were admitted before, somewhere else
			m.stay, err = f.Metadata()["made"], nil
		}
		switch {
		case err != nil && past(err) == nil:
			return false, nil
		case err != nil:
			return false, fmt.Errorf("walk in: %w", err)
		}
	}
	return true, nil
}

// noShow: nobody came on the day. They are found on the road a day later, and come after all.
func (p *Player) noShow(h *hand, y *party, to *referralv1.Offer, both []string) error {
	away := p.desks[to.GetToNode()]
	if err := h.until(h.now().Add(time.Hour + missedAfter)); err != nil {
		return err
	}
	for _, m := range y.members {
		_, err := p.step(h, to.GetToNode(), m.referral, both, func(r *referralv1.Referral) bool { return r.GetState() != onTheRoad }, func() error {
			_, err := ask(h.ctx, away, worker, to.GetToUnit(), away.referral.RecordNoShow, &referralv1.RecordNoShowRequest{Name: m.referral})
			return err
		})
		if err != nil {
			return fmt.Errorf("no show: %w", err)
		}
	}
	p.count(func(n *Counts) { n.Missed += len(y.members) })
	if err := h.until(h.now().Add(foundAfter)); err != nil {
		return err
	}
	for _, m := range y.members {
		_, err := ask(h.ctx, away, worker, to.GetToUnit(), away.referral.ReportSafety, &referralv1.ReportSafetyRequest{Name: m.referral, Code: "FOUND_SAFE", Found: true})
		if past(err) != nil {
			return fmt.Errorf("found: %w", err)
		}
	}
	return h.until(h.now().Add(comesAfter))
}

// see is the first look at somebody who came, when what they get begins.
func (p *Player) see(h *hand, m *member, to *referralv1.Offer, both []string) error {
	away := p.desks[to.GetToNode()]
	r, err := p.get(h, to.GetToNode(), m.referral)
	if err != nil || r.GetState() != hasCome {
		return err
	}
	if err := h.until(r.GetUpdateTime().AsTime().Add(firstSight)); err != nil {
		return err
	}
	_, err = p.step(h, to.GetToNode(), m.referral, both, has(inService, completed), func() error {
		_, err := ask(h.ctx, away, worker, to.GetToUnit(), away.referral.StartService, &referralv1.StartServiceRequest{
			Name: m.referral, Services: m.plan.Referral.Services,
		})
		return err
	})
	return err
}

// stay is from the first look at somebody who came to the outcome. It lasts from the arrival on, which was firstSight before.
func (p *Player) stay(h *hand, m *member, to *referralv1.Offer, both []string) error {
	node, unit := to.GetToNode(), to.GetToUnit()
	away := p.desks[node]
	plan := m.plan.Referral
	r, err := p.get(h, node, m.referral)
	if err != nil {
		return err
	}
	if r.GetState() == inService {
		if err := h.until(r.GetUpdateTime().AsTime().Add(plan.Stay - firstSight)); err != nil {
			return err
		}
		if err := p.outcome(h, away, unit, m.referral, plan, both, protectionv1.Case_SOURCE_REFERRAL); err != nil {
			return fmt.Errorf("outcome: %w", err)
		}
	}
	p.count(func(n *Counts) { n.Completed++ })
	if own := chosen(r); own != nil { // of those who came together each has a bed of their own
		to = own
	}
	return p.discharge(h, m, to, plan.Outcome)
}

// outcome records what became of somebody, where their case is.
func (p *Player) outcome(h *hand, d *desk, unit, referral string, plan *scenario.Referral, both []string, source protectionv1.Case_Source) error {
	var c *protectionv1.Case
	err := p.sight(h, "the case at "+unit, both, func() (bool, error) {
		page, err := ask(h.ctx, d, worker, unit, d.protection.ListCases, &protectionv1.ListCasesRequest{
			Parent: "nodes/" + d.node, Filter: &protectionv1.ListCasesRequest_Filter{Referral: referral},
		})
		if err != nil {
			return false, err
		}
		c = nil
		for _, one := range page.GetCases() {
			if one.GetSource() == source {
				c = one
			}
		}
		return c != nil && (c.GetReferralState() == inService || c.GetReferralState() == completed), nil
	})
	if err != nil {
		return err
	}
	_, err = p.withCase(h, d, unit, c, func(c *protectionv1.Case) bool { return c.GetOutcome() != "" }, func(c *protectionv1.Case) (*protectionv1.Case, error) {
		return ask(h.ctx, d, worker, unit, d.protection.RecordOutcome, &protectionv1.RecordOutcomeRequest{
			Name: c.GetName(), Etag: c.GetEtag(), Outcome: plan.Outcome, Services: plan.Services, Feedback: feedback,
		})
	})
	return err
}

// discharges are the reasons that go with an outcome, codes of the list `discharge`.
var discharges = map[string]string{
	"REUNIFIED": "REUNIFIED", "SAFE_RETURN": "REUNIFIED", "ENTRUSTED": "FOSTER_CARE", "IN_PLACEMENT": "REFERRED_ON", "REFERRED_ON": "REFERRED_ON",
	"REPATRIATED": "REPATRIATED", "INDEPENDENT_LIVING": "INDEPENDENT", "DIED": "DIED",
}

// discharge frees the bed of somebody whose stay has ended.
func (p *Player) discharge(h *hand, m *member, to *referralv1.Offer, outcome string) error {
	d := p.desks[to.GetToNode()]
	reason := discharges[outcome]
	if reason == "" {
		reason = "LEFT"
	}
	stay := m.stay
	if stay == "" {
		// The bed that was held becomes a stay when the referral service has told the shelter, which may have been down all the while.
		err := p.sight(h, "the stay on "+to.GetName(), []string{to.GetToNode()}, func() (_ bool, err error) {
			if stay, err = p.stayOf(h, d, to, true); err == nil && stay == "" { // it may have ended before
				stay, err = p.stayOf(h, d, to, false)
			}
			return stay != "", err
		})
		if err != nil {
			return err
		}
	}
	_, err := ask(h.ctx, d, manager, "", d.shelter.DischargeStay, &shelterv1.DischargeStayRequest{Name: stay, Reason: reason})
	return past(err)
}

// stayOf is the stay on an offer; empty when there is none, or none that has not ended.
func (p *Player) stayOf(h *hand, d *desk, to *referralv1.Offer, current bool) (stay string, err error) {
	err = pages(func(token string) (string, error) {
		page, err := ask(h.ctx, d, manager, "", d.shelter.ListStays, &shelterv1.ListStaysRequest{
			Parent: "nodes/" + d.node, PageSize: 500, PageToken: token, Filter: &shelterv1.ListStaysRequest_Filter{Current: current},
		})
		for _, s := range page.GetStays() {
			if s.GetOffer() == to.GetName() {
				stay = s.GetName()
				return "", nil
			}
		}
		return page.GetNextPageToken(), err
	})
	return stay, err
}

// firstVisit is how long after the promise of a service somebody is seen: on the next day, and every fifth later.
func firstVisit(number int, stay time.Duration) time.Duration {
	if number%5 == 0 {
		return min(8*24*time.Hour, stay/2)
	}
	return min(20*time.Hour, stay/2)
}

// serve is what follows the promise of a service: it is given, what came of it is reported, and the origin closes the referral.
func (p *Player) serve(h *hand, y *party) error {
	m := y.lead()
	r, err := p.get(h, y.home(), m.referral)
	if err != nil || r.GetState() == completed {
		return err
	}
	to := chosen(r)
	if to == nil {
		return fmt.Errorf("%s is %v without an offer", r.GetName(), r.GetState())
	}
	both := []string{y.home(), to.GetToNode()}
	away, plan := p.desks[to.GetToNode()], y.plan()
	if r.GetState() == ready {
		promised := r.GetUpdateTime().AsTime()
		if err := h.until(promised.Add(firstVisit(m.plan.Number, plan.Stay))); err != nil {
			return err
		}
		_, err := p.step(h, y.home(), m.referral, both, has(inService, completed), func() error {
			_, err := ask(h.ctx, away, worker, to.GetToUnit(), away.referral.GiveService, &referralv1.GiveServiceRequest{Name: to.GetName(), Services: plan.Services})
			return err
		})
		if err != nil {
			return fmt.Errorf("give service: %w", err)
		}
		p.count(func(n *Counts) { n.Arrived++ })
		if err := h.until(promised.Add(plan.Stay)); err != nil {
			return err
		}
	}
	heard := func(r *referralv1.Referral) bool {
		o := chosen(r)
		return r.GetState() == completed || o != nil && o.GetOutcome() != ""
	}
	_, err = p.step(h, y.home(), m.referral, both, heard, func() error {
		_, err := ask(h.ctx, away, worker, to.GetToUnit(), away.referral.ReportOutcome, &referralv1.ReportOutcomeRequest{
			Name: to.GetName(), Outcome: plan.Outcome, Services: plan.Services,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("report outcome: %w", err)
	}
	if err := p.outcome(h, p.desks[y.home()], m.plan.Case.GetUnit(), m.referral, plan, both, protectionv1.Case_SOURCE_INTAKE); err != nil {
		return fmt.Errorf("outcome: %w", err)
	}
	p.count(func(n *Counts) { n.Completed++ })
	return nil
}
