package story

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"amanat.example/deploy/calendar"
	"amanat.example/deploy/network"
	"amanat.example/deploy/scenario"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// PlayOptions say how a year is played.
type PlayOptions struct {
	// Pace is how many days of the calendar may pass in a second; 0: as fast as it goes.
	Pace float64
	// Slots are how many people act at once; 0: 48.
	Slots int
	// Patience is how long one action may take by the machine's clock before somebody is given up; 0: 5 minutes.
	Patience time.Duration
	// Links of nodes to the hub, by node: they are cut as the year says. A node without one is not cut.
	Links map[string]*network.Link
	// Tell gets what a person should know: who was given up, and why. From several goroutines.
	Tell func(format string, values ...any)
}

// Counts are how many of a year's people have come how far.
type Counts struct {
	// Identified are taken in; the others are of those referred.
	Identified, Referred, Accepted, Arrived, Completed int
	// Declined answers, and offers taken back since nobody answered.
	Declined, Withdrawn int
	// Ended without a place: cancelled, expired or returned.
	Ended int
	// Missed are people who did not come on the day.
	Missed int
	// Cuts of links that the year made.
	Cuts int
	// GivenUp are people whose next step could not be done.
	GivenUp int
}

// Player plays a year on a network that has a calendar. What people do is looked up in the network before it is done, so that a year which
// was broken off goes on: whoever plays it again finds what was done and does the rest.
type Player struct {
	year  *scenario.Year
	clock *calendar.Calendar
	desks map[string]*desk
	diary *diary
	o     PlayOptions
	// units by name, and the unit that answers for a shelter.
	units   map[string]*protectionv1.Unit
	answers map[string]string
	mu      sync.Mutex
	counts  Counts
	cut     map[string]bool
	// told are the cases and referrals that people were told they had made.
	told map[string]bool
}

// OpenPlayer connects to a network that runs and has a calendar. Close ends it.
func OpenPlayer(l *network.Layout, year *scenario.Year, o PlayOptions) (*Player, error) {
	clock, err := l.Calendar()
	if err != nil {
		return nil, err
	}
	if clock == nil {
		return nil, errors.New("the network has no calendar; " + beginAnew)
	}
	if o.Slots == 0 {
		o.Slots = 48
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Minute
	}
	if o.Tell == nil {
		o.Tell = func(string, ...any) {}
	}
	p := &Player{
		year: year, clock: clock, desks: map[string]*desk{}, o: o, units: map[string]*protectionv1.Unit{}, answers: map[string]string{},
		cut: map[string]bool{}, told: map[string]bool{},
	}
	for _, u := range year.Units {
		p.units[u.Unit.GetName()] = u.Unit
	}
	for _, c := range year.Cases {
		for _, a := range answersOf(c) {
			if shelter := shelterOf(a.Group); shelter != "" {
				p.answers[shelter] = a.Unit
			}
		}
	}
	for _, n := range l.Nodes {
		if p.desks[n.Name], err = openDesk(l, n.Name); err != nil {
			delete(p.desks, n.Name)
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// Close disconnects.
func (p *Player) Close() (err error) {
	for _, d := range p.desks {
		err = errors.Join(err, d.close())
	}
	return err
}

// Counts are how far people have come, and the day on the calendar.
func (p *Player) Counts() (Counts, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts, p.clock.Now()
}

// tell notes what somebody was told they had made, a case or a referral.
func (p *Player) tell(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told[name] = true
}

func (p *Player) toldOf() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.told))
}

func (p *Player) count(change func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.counts)
}

// Furnish enters the units and the places to stay.
func (p *Player) Furnish(ctx context.Context) error {
	for node, d := range p.desks {
		units := slices.DeleteFunc(slices.Clone(p.year.Units), func(u scenario.Unit) bool { return u.Node != node })
		if err := furnishUnits(ctx, d, units); err != nil {
			return err
		}
	}
	for _, s := range p.year.Shelters {
		d := p.desks[s.Node]
		if _, err := ask(ctx, d, manager, "", d.shelter.GetShelter, &shelterv1.GetShelterRequest{Name: s.Shelter.GetName()}); err == nil {
			continue
		}
		_, err := ask(ctx, d, manager, "", d.shelter.CreateShelter, &shelterv1.CreateShelterRequest{
			Parent: "nodes/" + s.Node, ShelterId: idOf(s.Shelter.GetName()), Shelter: newShelter(s.Shelter),
		})
		if err != nil && !exists(err) {
			return fmt.Errorf("%s: %w", s.Shelter.GetName(), err)
		}
	}
	return nil
}

func furnishUnits(ctx context.Context, d *desk, units []scenario.Unit) error {
	for _, u := range units {
		unit := &protectionv1.Unit{DisplayName: u.Unit.GetDisplayName(), District: u.Unit.GetDistrict()}
		_, err := ask(ctx, d, supervisor, "", d.protection.CreateUnit, &protectionv1.CreateUnitRequest{
			Parent: "nodes/" + u.Node, UnitId: idOf(u.Unit.GetName()), Unit: unit,
		})
		if err != nil && !exists(err) {
			return fmt.Errorf("%s: %w", u.Unit.GetName(), err)
		}
	}
	return nil
}

// Play plays the year to its end, which is the present at the latest. Then the calendar shows the present.
func (p *Player) Play(ctx context.Context) error {
	end := p.year.End
	if now := time.Now(); end.After(now) {
		end = now
	}
	d := newDiary(p.clock, end)
	d.slots, d.pace, d.patience = p.o.Slots, p.o.Pace*24*60*60, p.o.Patience
	if p.o.Pace == 0 {
		d.slack = fastSlack
	}
	p.diary = d
	for _, y := range parties(p.year) {
		d.begin(y.lead().plan.Time, func(h *hand) {
			switch err := p.live(h, y); {
			case err == nil, errors.Is(err, errOver), ctx.Err() != nil:
			default:
				p.giveUp(y, err)
			}
		})
	}
	for _, c := range p.year.Cuts {
		if link := p.o.Links[c.Node]; link != nil {
			d.begin(c.From, func(h *hand) { p.cutLink(h, link, c) })
		}
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	p.clock.ToPresent()
	return nil
}

// fastSlack is by how much the calendar may run ahead of who still acts, where a year is played as fast as it goes: what takes a machine a tenth of
// a second takes people so long. It is as long as an answer may take at high risk.
const fastSlack = 3 * time.Hour

func (p *Player) giveUp(y *party, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.GivenUp += len(y.members)
	p.o.Tell("Case %d is given up: %s %s: %v", y.lead().plan.Number, y.lead().name, y.lead().referral, err)
}

// cutLink cuts the link of a province for as long as the year says.
func (p *Player) cutLink(h *hand, link *network.Link, c scenario.Cut) {
	end := c.From.Add(c.For)
	if !h.now().Before(end) {
		return // the year goes on after it
	}
	p.setCut(c.Node, true)
	link.Cut()
	p.count(func(n *Counts) { n.Cuts++ })
	_ = h.until(end)
	link.Mend()
	p.setCut(c.Node, false)
}

func (p *Player) setCut(node string, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut[node] = cut
}

func (p *Player) isCut(nodes ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range nodes {
		if p.cut[n] {
			return true
		}
	}
	return false
}
