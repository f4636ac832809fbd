package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// CheckBeds is the rule of the service's file: every bed is counted from the rows alone, none is taken twice, nothing takes a
// bed of a group that is not there, a hold that was filled has its stays, and no hold has a fence that is still to be given.
func CheckBeds(_ context.Context, r kitstore.Reader, report func(string)) error {
	c := &bedsCheck{reader: r, report: report, groups: map[string]*shelterv1.Group{}, taken: map[string]*rules.Count{}, stays: map[string]bool{}}
	all := kitstore.Range{}
	if err := store.Groups.Scan(r, all, func(_ kitstore.Key, g *shelterv1.Group) error {
		c.groups[g.GetName()] = g
		_, err := store.Shelters.GetPublic(r, kitstore.K(store.ShelterOf(g.GetName())))
		if errors.Is(err, kitstore.ErrNotFound) {
			c.say("group %s has no shelter", g.GetName())
			return nil
		}
		return err
	}); err != nil {
		return err
	}
	if err := store.Stays.Scan(r, all, func(_ kitstore.Key, s *shelterv1.Stay) error { return c.stay(s) }); err != nil {
		return err
	}
	if err := store.Outages.Scan(r, all, func(_ kitstore.Key, o *shelterv1.Outage) error {
		if o.GetEndTime() == nil {
			c.take(o.GetName(), store.GroupOf(o.GetName())).Out += o.GetQuantity()
		}
		return nil
	}); err != nil {
		return err
	}
	fence, err := store.Fences.Get(r, store.FenceKey)
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return err
	}
	if err := store.Holds.Scan(r, all, func(_ kitstore.Key, h *shelterv1.HoldRecord) error {
		c.hold(h.GetHold(), fence.GetValue())
		return nil
	}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.taken)) {
		g, taken := c.groups[name], *c.taken[name]
		if g != nil && rules.Free(g, taken) < 0 {
			c.say("group %s has %d units, and %d are held, %d occupied and %d out of service", name, rules.Capacity(g), taken.Held, taken.Occupied, taken.Out)
		}
	}
	return nil
}

type bedsCheck struct {
	reader kitstore.Reader
	report func(string)
	groups map[string]*shelterv1.Group
	taken  map[string]*rules.Count
	stays  map[string]bool // holds that have a stay
}

func (c *bedsCheck) say(format string, values ...any) { c.report(fmt.Sprintf(format, values...)) }

func (c *bedsCheck) take(what, group string) *rules.Count {
	if c.groups[group] == nil {
		c.say("%s takes beds of a group that is not there", what)
	}
	if c.taken[group] == nil {
		c.taken[group] = &rules.Count{}
	}
	return c.taken[group]
}

func (c *bedsCheck) stay(s *shelterv1.Stay) error {
	if store.Current(s) {
		c.take(s.GetName(), s.GetGroup()).Occupied += s.GetQuantity()
	}
	if s.GetHold() == "" {
		return nil
	}
	c.stays[s.GetHold()] = true
	row, err := store.Holds.Get(c.reader, kitstore.K(s.GetHold()))
	switch {
	case errors.Is(err, kitstore.ErrNotFound):
		c.say("%s came from a hold that is not there", s.GetName())
	case err != nil:
		return err
	case row.GetHold().GetState() != shelterv1.Hold_STATE_OCCUPIED:
		c.say("%s came from a hold that is not occupied", s.GetName())
	}
	return nil
}

func (c *bedsCheck) hold(h *shelterv1.Hold, fence uint64) {
	if store.Live(h) {
		for _, part := range store.Parts(h) {
			c.take(h.GetName(), part.GetGroup()).Held += part.GetQuantity()
		}
	}
	if h.GetState() == shelterv1.Hold_STATE_OCCUPIED && !c.stays[h.GetName()] {
		c.say("%s is occupied and nobody stays", h.GetName())
	}
	if h.GetFence().GetNumber() > fence {
		c.say("%s has a fence that is still to be given", h.GetName())
	}
}
