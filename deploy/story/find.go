package story

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/scenario"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

func clone[M proto.Message](m M) M { return proto.CloneOf(m) }

// laterAnswer is how long a unit takes that is asked beyond the plan.
const laterAnswer = 8 * time.Hour

// find asks one unit after the other until one has promised a place; false when there is none and the referral has ended.
func (p *Player) find(h *hand, y *party) (taken bool, err error) {
	home := y.home()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		r, err := p.get(h, home, y.lead().referral)
		switch {
		case err != nil:
			return false, err
		case over(r) && r.GetState() != completed && r.GetState() != returned:
			p.count(func(n *Counts) { n.Ended += len(y.members) })
			return false, nil
		case r.GetState() != submitted && r.GetState() != confirmed:
			p.count(func(n *Counts) { n.Accepted += len(y.members) })
			return true, nil
		case r.GetState() == confirmed:
			err = p.sight(h, "the promise of a place", []string{home, last(r).GetToNode()}, func() (bool, error) {
				r, err := p.get(h, home, y.lead().referral)
				return r.GetState() != confirmed, err
			})
		case last(r) != nil && live(last(r)):
			err = p.answer(h, y, r)
			if err == nil {
				err = p.rest(h, pause, home, last(r).GetToNode())
			}
		default:
			err = p.another(h, y, r)
			pause = firstPause
		}
		if err != nil {
			return false, err
		}
	}
}

// plannedAnswer is what the unit asked last is to say. Who is asked beyond the plan accepts.
func plannedAnswer(y *party, r *referralv1.Referral) scenario.Answer {
	n, o := len(r.GetOffers())-1, last(r)
	if answers := y.plan().Answers; n < len(answers) && answers[n].Unit == o.GetToUnit() {
		return answers[n]
	}
	return scenario.Answer{Unit: o.GetToUnit(), Delay: laterAnswer}
}

// answer is what the unit asked last says, and what the origin says to that.
func (p *Player) answer(h *hand, y *party, r *referralv1.Referral) error {
	o, a := last(r), plannedAnswer(y, r)
	asked := o.GetCreateTime().AsTime()
	if a.Question != "" {
		if err := p.question(h, y, o, a, asked); err != nil {
			return err
		}
	}
	if err := h.until(asked.Add(a.Delay)); err != nil {
		return err
	}
	home := p.desks[y.home()]
	if a.Silent {
		_, err := ask(h.ctx, home, worker, y.lead().plan.Case.GetUnit(), home.referral.WithdrawOffer, &referralv1.WithdrawOfferRequest{
			Name: o.GetName(), Reason: "OTHER", Note: "No answer came; another unit is asked.",
		})
		if err == nil {
			p.count(func(n *Counts) { n.Withdrawn++ })
		}
		return past(err)
	}
	there, err := p.received(h, y, o)
	if err != nil || there == nil {
		return err
	}
	if a.Decline != "" {
		return p.decline(h, o, a.Decline)
	}
	if said, err := p.accept(h, y, r, a); err != nil || !said {
		return err
	}
	return p.sight(h, "what the origin makes of the answer", []string{y.home(), o.GetToNode()}, func() (bool, error) {
		r, err := p.get(h, y.home(), y.lead().referral)
		if err != nil || r.GetState() != submitted || !live(last(r)) || last(r).GetState() == custodyv1.OfferState_OFFER_STATE_ACCEPTED {
			return true, err
		}
		// The shelter may have refused after all, for who could not be told at once.
		there, err := p.offer(h, o)
		return there.GetState() == custodyv1.OfferState_OFFER_STATE_RECEIVED || !live(there), err
	})
}

// past takes a refusal for what it is: something else was said meanwhile, and whoever acts looks again.
func past(err error) error {
	switch status.Code(err) {
	case codes.Aborted, codes.FailedPrecondition:
		return nil
	}
	return err
}

// received waits until the unit asked has the offer, and nothing that it asked back is open; nil where the offer has ended there.
func (p *Player) received(h *hand, y *party, o *referralv1.Offer) (there *referralv1.Offer, err error) {
	err = p.sight(h, "the offer at "+o.GetToUnit(), []string{y.home(), o.GetToNode()}, func() (bool, error) {
		there, err = p.offer(h, o)
		if status.Code(err) == codes.NotFound || there.GetState() == custodyv1.OfferState_OFFER_STATE_SENT { // SENT: the origin is asked itself
			return false, nil
		}
		return err == nil && there.GetState() != custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED, err
	})
	if err == nil && !live(there) {
		return nil, nil
	}
	return there, err
}

// offer is an offer as the unit asked has it.
func (p *Player) offer(h *hand, o *referralv1.Offer) (*referralv1.Offer, error) {
	away := p.desks[o.GetToNode()]
	return ask(h.ctx, away, worker, o.GetToUnit(), away.referral.GetOffer, &referralv1.GetOfferRequest{Name: o.GetName()})
}

// question is one asked back, and answered, in the time that the answer takes.
func (p *Player) question(h *hand, y *party, o *referralv1.Offer, a scenario.Answer, asked time.Time) error {
	const requested = custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED
	home, away := p.desks[y.home()], p.desks[o.GetToNode()]
	if h.now().After(asked.Add(a.Delay)) {
		return nil // the year goes on after it
	}
	if err := h.until(asked.Add(a.Delay / 3)); err != nil {
		return err
	}
	if o.GetState() != requested {
		there, err := p.received(h, y, o)
		if err != nil || there == nil || there.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED {
			return err
		}
		_, err = ask(h.ctx, away, worker, o.GetToUnit(), away.referral.AskQuestion, &referralv1.AskQuestionRequest{Name: o.GetName(), Topic: a.Question, Note: "Please tell us more."})
		if past(err) != nil {
			return err
		}
	}
	if err := h.until(asked.Add(2 * a.Delay / 3)); err != nil {
		return err
	}
	err := p.sight(h, "the question at home", []string{y.home(), o.GetToNode()}, func() (bool, error) {
		r, err := p.get(h, y.home(), y.lead().referral)
		return err == nil && (last(r).GetState() == requested || !live(last(r))), err
	})
	if err != nil {
		return err
	}
	_, err = ask(h.ctx, home, worker, y.lead().plan.Case.GetUnit(), home.referral.AnswerQuestion, &referralv1.AnswerQuestionRequest{Name: o.GetName(), Note: "Answered on the telephone too."})
	return past(err)
}

func (p *Player) decline(h *hand, o *referralv1.Offer, reason string) error {
	away := p.desks[o.GetToNode()]
	request := &referralv1.DeclineOfferRequest{Name: o.GetName(), Reason: reason}
	if reason == "OTHER" {
		request.Note = "See our letter."
	}
	_, err := ask(h.ctx, away, worker, o.GetToUnit(), away.referral.DeclineOffer, request)
	if err == nil {
		p.count(func(n *Counts) { n.Declined++ })
	}
	return past(err)
}

// accept accepts for all who go together, with beds that are free and fit; where there are none the unit declines. said: the unit answered.
func (p *Player) accept(h *hand, y *party, r *referralv1.Referral, a scenario.Answer) (said bool, err error) {
	o := last(r)
	away := p.desks[o.GetToNode()]
	request := &referralv1.AcceptOfferRequest{
		Name: o.GetName(), Worker: &identityv1.WorkerContact{Worker: "nodes/" + o.GetToNode() + "/workers/demo-" + worker, DisplayName: workerName, Phone: phone},
	}
	if y.service() {
		_, err := ask(h.ctx, away, worker, o.GetToUnit(), away.referral.AcceptOffer, request)
		return err == nil, past(err)
	}
	offers := []string{o.GetName()}
	for _, m := range y.members[1:] {
		other, err := p.get(h, y.home(), m.referral)
		if err != nil {
			return false, err
		}
		if there, err := p.received(h, y, last(other)); err != nil || there == nil {
			return false, err
		}
		offers = append(offers, last(other).GetName())
	}
	places, err := p.places(h, y, o.GetToNode(), a)
	if err != nil {
		return false, err
	}
	for _, groups := range places {
		request.Group, request.Also = groups[0], nil
		for i, g := range groups[1:] {
			request.Also = append(request.Also, &referralv1.AcceptedWith{Offer: offers[i+1], Group: g})
		}
		_, err := ask(h.ctx, away, worker, o.GetToUnit(), away.referral.AcceptOffer, request)
		switch status.Code(err) {
		case codes.OK:
			return true, nil
		case codes.FailedPrecondition, codes.InvalidArgument, codes.ResourceExhausted: // the bed is gone, or does not fit after all; or the offer has ended
			there, err := p.received(h, y, o)
			if err != nil || there == nil || there.GetState() != custodyv1.OfferState_OFFER_STATE_RECEIVED {
				return false, err
			}
		default:
			return false, past(err)
		}
	}
	return true, p.decline(h, o, "NO_CAPACITY")
}

// places are where those who go together fit in now at a node, each a group for each of them: where the plan has them first, then the nearest.
func (p *Player) places(h *hand, y *party, node string, a scenario.Answer) (all [][]string, err error) {
	d := p.desks[node]
	found, err := ask(h.ctx, d, worker, a.Unit, d.shelter.FindPlaces, &shelterv1.FindPlacesRequest{
		Parent: "nodes/" + node, People: y.needs(), NearDistrict: p.units[a.Unit].GetDistrict(), PageSize: 50,
	})
	if err != nil {
		return nil, err
	}
	for _, place := range found.GetPlaces() {
		if place.GetNode() != node {
			continue
		}
		groups := make([]string, len(y.members))
		for _, g := range place.GetGroups() {
			for _, i := range g.GetPeople() {
				if int(i) < len(groups) {
					groups[i] = g.GetGroup()
				}
			}
		}
		switch {
		case slices.Contains(groups, ""):
		case place.GetShelter() == shelterOf(a.Group):
			all = slices.Insert(all, 0, groups)
		default:
			all = append(all, groups)
		}
	}
	return all, nil
}

// another asks the next unit: of the plan, or, where the one that was to accept had no place after all, one that is near a place which was free
// when it was last heard of. Where there is none the origin ends the referral.
func (p *Player) another(h *hand, y *party, r *referralv1.Referral) error {
	home, unit := p.desks[y.home()], y.lead().plan.Case.GetUnit()
	next, err := p.nextUnit(h, y, r)
	if err != nil {
		return err
	}
	if next == "" {
		for _, m := range y.members {
			_, err := ask(h.ctx, home, worker, unit, home.referral.CancelReferral, &referralv1.CancelReferralRequest{
				Name: m.referral, Reason: "OTHER", Note: "No place was found.",
			})
			if past(err) != nil {
				return err
			}
		}
		return nil
	}
	_, err = ask(h.ctx, home, worker, unit, home.referral.OfferReferral, &referralv1.OfferReferralRequest{Name: r.GetName(), ToUnit: next, Etag: r.GetEtag()})
	if status.Code(err) == codes.InvalidArgument {
		return fmt.Errorf("ask %s: %w", next, err)
	}
	return past(err)
}

func (p *Player) nextUnit(h *hand, y *party, r *referralv1.Referral) (string, error) {
	asked := map[string]bool{}
	for _, o := range r.GetOffers() {
		asked[o.GetToUnit()] = true
	}
	for _, a := range y.plan().Answers {
		if !asked[a.Unit] {
			return a.Unit, nil
		}
	}
	if answers := y.plan().Answers; y.service() || !accepts(answers[len(answers)-1]) || len(r.GetOffers()) >= mostAsked {
		return "", nil
	}
	home := p.desks[y.home()]
	found, err := ask(h.ctx, home, worker, y.lead().plan.Case.GetUnit(), home.shelter.FindPlaces, &shelterv1.FindPlacesRequest{
		Parent: "nodes/" + y.home(), People: y.needs(), NearDistrict: y.lead().plan.Case.GetFoundDistrict(), PageSize: 50,
	})
	if err != nil {
		return "", err
	}
	for _, place := range found.GetPlaces() {
		if unit := p.answers[place.GetShelter()]; unit != "" && !asked[unit] {
			return unit, nil
		}
	}
	return "", nil
}

// accepts says that a unit is to accept.
func accepts(a scenario.Answer) bool { return !a.Silent && a.Decline == "" }

// mostAsked are how many units people ask, one after the other, before they give up.
const mostAsked = 6
