package app

import (
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// place is all that an offer takes, those of whom nobody knows the group in one that takes them and has room: a bed too few for others is
// mended by a headcount, a bed promised twice is not. Of several shelters it is the one with the most beds free; nil where there is none.
func (c *comparison) place(o *shelterv1.LiveOffer) (parts []*shelterv1.Part, err error) {
	if len(o.GetUnplaced()) == 0 {
		return o.GetParts(), nil
	}
	most := int32(-1)
	err = store.Shelters.ScanPublic(c.tx, kitstore.Range{}, func(row privacy.Row[*shelterv1.Shelter]) error {
		if len(o.GetParts()) > 0 && store.ShelterOf(o.GetParts()[0].GetGroup()) != row.Value.GetName() {
			return nil // one hold is in one shelter
		}
		all, left, err := c.placeIn(row.Value, o)
		if err == nil && all != nil && left > most {
			parts, most = all, left
		}
		return err
	})
	return parts, err
}

// placeIn is place in one shelter, with how many beds of those groups are left then.
func (c *comparison) placeIn(s *shelterv1.Shelter, o *shelterv1.LiveOffer) (parts []*shelterv1.Part, left int32, err error) {
	var groups []*shelterv1.Group
	free := map[string]int32{}
	err = store.Groups.Scan(c.tx, kitstore.Range{Prefix: kitstore.K(s.GetName())}, func(_ kitstore.Key, g *shelterv1.Group) error {
		taken, err := count(c.tx, g.GetName())
		groups, free[g.GetName()] = append(groups, g), rules.Free(g, taken)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, part := range o.GetParts() {
		free[part.GetGroup()] -= part.GetQuantity()
	}
	parts = append(parts, o.GetParts()...)
	for _, needs := range o.GetUnplaced() {
		var best *shelterv1.Group
		for _, g := range groups {
			if free[g.GetName()] > 0 && rules.Fits(s, g, needs) == nil && (best == nil || free[g.GetName()] > free[best.GetName()]) {
				best = g
			}
		}
		if best == nil {
			return nil, 0, nil
		}
		free[best.GetName()]--
		left += free[best.GetName()]
		parts = append(parts, &shelterv1.Part{Group: best.GetName(), Quantity: 1, Needs: needs})
	}
	return parts, left, nil
}
