package story

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// live is what is done for those who go together, from intake to the end of the last stay.
func (p *Player) live(h *hand, y *party) error {
	for _, m := range y.members {
		if err := h.until(m.plan.Time); err != nil {
			return err
		}
		if err := p.takeIn(h, m); err != nil {
			return fmt.Errorf("take in: %w", err)
		}
	}
	if y.plan() == nil {
		return nil
	}
	if err := h.until(y.lead().plan.Time.Add(y.plan().After)); err != nil {
		return err
	}
	if err := p.refer(h, y); err != nil {
		return fmt.Errorf("refer: %w", err)
	}
	taken, err := p.find(h, y)
	if err != nil || !taken {
		return err
	}
	if y.service() {
		return p.serve(h, y)
	}
	return p.handOver(h, y)
}

// takeIn takes somebody in and records their consent.
func (p *Player) takeIn(h *hand, m *member) error {
	d, unit := p.desks[m.plan.Node], m.plan.Case.GetUnit()
	c, err := ask(h.ctx, d, worker, unit, d.protection.CreateCase, &protectionv1.CreateCaseRequest{
		Parent: "nodes/" + m.plan.Node, RequestId: fmt.Sprintf("year-case-%06d", m.plan.Number), Case: m.plan.Case,
	})
	if err != nil {
		return err
	}
	name := c.GetName()
	m.name, m.etag = name, c.GetEtag()
	p.tell(name)
	p.count(func(n *Counts) { n.Identified++ })
	p.diary.begin(m.plan.Time.Add(courtDay(m.plan.Number)), func(h *hand) {
		if err := p.beforeCourt(h, d, unit, name); err != nil && h.ctx.Err() == nil {
			p.o.Tell("Case %d: what the law asks for: %v", m.plan.Number, err)
		}
	})
	if m.plan.Consent == nil {
		return nil
	}
	c, err = p.withCase(h, d, unit, c, func(c *protectionv1.Case) bool { return c.GetConsent() != nil }, func(c *protectionv1.Case) (*protectionv1.Case, error) {
		return ask(h.ctx, d, worker, unit, d.protection.RecordConsent, &protectionv1.RecordConsentRequest{Name: c.GetName(), Etag: c.GetEtag(), Consent: m.plan.Consent})
	})
	m.etag, m.referral = c.GetEtag(), c.GetReferral()
	return err
}

// courtDay is how long after intake people do what the law asks for: a child is brought before the court within a day, and every seventh too late.
func courtDay(number int) time.Duration {
	if number%7 == 0 {
		return 30 * time.Hour
	}
	return 18 * time.Hour
}

// beforeCourt does what the law asks for of a case.
func (p *Player) beforeCourt(h *hand, d *desk, unit, name string) error {
	for {
		page, err := ask(h.ctx, d, worker, unit, d.protection.ListCaseDeadlines, &protectionv1.ListCaseDeadlinesRequest{
			Parent: "nodes/" + d.node, Filter: &protectionv1.ListCaseDeadlinesRequest_Filter{Subject: name},
		})
		if err != nil || len(page.GetCaseDeadlines()) == 0 {
			return err
		}
		for _, due := range page.GetCaseDeadlines() {
			_, err = ask(h.ctx, d, worker, unit, d.protection.MeetDeadline, &protectionv1.MeetDeadlineRequest{Name: due.GetName(), Etag: due.GetEtag()})
			if past(err) != nil {
				return err
			}
		}
		if err == nil { // else it was missed a moment ago, which changes it
			return nil
		}
	}
}

// withCase acts on a case until what is wanted is so: it acts on what it knows, and looks again where that did not go through.
func (p *Player) withCase(h *hand, d *desk, unit string, c *protectionv1.Case, done func(*protectionv1.Case) bool,
	act func(*protectionv1.Case) (*protectionv1.Case, error),
) (*protectionv1.Case, error) {
	for {
		if done(c) {
			return c, nil
		}
		next, err := act(c)
		switch status.Code(err) {
		case codes.OK:
			if done(next) {
				return next, nil
			}
		case codes.Aborted, codes.FailedPrecondition: // changed meanwhile, or under way
		default:
			return c, err
		}
		if ended := wait(h.ctx); ended != nil {
			return c, errors.Join(ended, err)
		}
		if next, err = ask(h.ctx, d, worker, unit, d.protection.GetCase, &protectionv1.GetCaseRequest{Name: c.GetName()}); err != nil {
			return c, err
		}
		c = next
	}
}

// refer begins the referral of each of those who go together.
func (p *Player) refer(h *hand, y *party) error {
	d, lead, unit := p.desks[y.home()], y.lead(), y.lead().plan.Case.GetUnit()
	known := &protectionv1.Case{Name: lead.name, Etag: lead.etag, Referral: lead.referral}
	c, err := p.withCase(h, d, unit, known, func(c *protectionv1.Case) bool { return c.GetReferral() != "" }, func(c *protectionv1.Case) (*protectionv1.Case, error) {
		request := clone(y.plan().Request)
		request.Name, request.Etag = c.GetName(), c.GetEtag()
		for _, m := range y.members[1:] {
			request.Others = append(request.Others, &protectionv1.OtherCase{Name: m.name, Etag: m.etag, Needs: m.plan.Referral.Request.GetNeeds()})
		}
		return ask(h.ctx, d, worker, unit, d.protection.ReferCase, request)
	})
	if err != nil {
		return err
	}
	lead.referral = c.GetReferral()
	for _, m := range y.members[1:] {
		known := &protectionv1.Case{Name: m.name, Etag: m.etag, Referral: m.referral}
		c, err := p.withCase(h, d, unit, known, func(c *protectionv1.Case) bool { return c.GetReferral() != "" },
			func(c *protectionv1.Case) (*protectionv1.Case, error) { return c, nil })
		if err != nil {
			return err
		}
		m.referral = c.GetReferral()
	}
	for _, m := range y.members {
		p.tell(m.referral)
	}
	p.count(func(n *Counts) { n.Referred += len(y.members) })
	return nil
}

// sight is what is waited for: looked at again and again, with rests.
func (p *Player) sight(h *hand, what string, nodes []string, look func() (bool, error)) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		seen, err := look()
		if err != nil || seen {
			return err
		}
		if err := p.rest(h, pause, nodes...); err != nil {
			return fmt.Errorf("waited for %s: %w", what, err)
		}
	}
}

// rest is the pause between two looks at what letters between nodes are to bring. While one of them has no link it is an hour of the calendar: who
// waited by the machine's clock would hold up the calendar, and with it the end of the cut.
func (p *Player) rest(h *hand, pause time.Duration, nodes ...string) error {
	if p.isCut(nodes...) {
		return h.until(h.now().Add(time.Hour))
	}
	return pauseFor(h.ctx, pause)
}

// Pauses between two looks at what a letter is to bring.
const firstPause, lastPause = 4 * time.Millisecond, 100 * time.Millisecond

func (p *Player) get(h *hand, node, name string) (*referralv1.Referral, error) {
	d := p.desks[node]
	return ask(h.ctx, d, worker, "", d.referral.GetReferral, &referralv1.GetReferralRequest{Name: name})
}

// step does what a referral must go through next, and looks where that is refused: it may have gone through before, or its time may not have
// come.
func (p *Player) step(h *hand, node, name string, nodes []string, done func(*referralv1.Referral) bool, act func() error) (r *referralv1.Referral, err error) {
	var failed error
	err = p.sight(h, "a step of "+name, nodes, func() (bool, error) {
		failed = act()
		switch status.Code(failed) {
		case codes.OK, codes.Aborted, codes.FailedPrecondition, codes.NotFound:
		default:
			return false, failed
		}
		if r, err = p.get(h, node, name); status.Code(err) == codes.NotFound {
			return false, nil
		}
		if err == nil && !done(r) && over(r) {
			return false, fmt.Errorf("the referral is %v: %w", r.GetState(), failed)
		}
		return err == nil && done(r), err
	})
	if err != nil && failed != nil {
		err = fmt.Errorf("%w; it was refused: %w", err, failed)
	}
	return r, err
}

// has says that a person is there, or was, in a referral.
func has(states ...custodyv1.ReferralState) func(*referralv1.Referral) bool {
	return func(r *referralv1.Referral) bool {
		for _, s := range states {
			if r.GetState() == s {
				return true
			}
		}
		return false
	}
}

const (
	submitted = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
	confirmed = custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
	ready     = custodyv1.ReferralState_REFERRAL_STATE_READY
	onTheRoad = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
	hasCome   = custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
	inService = custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
	completed = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	notCome   = custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
	returned  = custodyv1.ReferralState_REFERRAL_STATE_RETURNED
)
