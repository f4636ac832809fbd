package app

import (
	"errors"

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
		if o.GetStage() != shelterv1.LiveOffer_STAGE_ARRIVED && row.Value.GetState() == shelterv1.Shelter_STATE_SUSPENDED {
			return nil
		}
		all, left, err := c.placeIn(row.Value, o)
		if err == nil && all != nil && left > most {
			parts, most = all, left
		}
		return err
	})
	return parts, err
}

// refuses says that a promise cannot be entered anew in the shelter of a group, since that is suspended. One whose hold the store has lost was made after
// the copy, so what the copy says of it is older.
func (c *comparison) refuses(o *shelterv1.LiveOffer, group string, known bool) (bool, error) {
	if o.GetStage() == shelterv1.LiveOffer_STAGE_ARRIVED {
		return false, nil
	}
	s, err := store.Shelters.GetPublic(c.tx, kitstore.K(store.ShelterOf(group)))
	if errors.Is(err, kitstore.ErrNotFound) {
		return true, nil
	}
	if err != nil || known {
		return s.GetState() == shelterv1.Shelter_STATE_SUSPENDED, err
	}
	return store.SuspendedSince(c.tx, c.DB.Incarnation(), s)
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
