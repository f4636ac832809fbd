package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fieldmask"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// CreateGroup adds a group of like beds to a shelter. manager is who vouches for it.
func (a *App) CreateGroup(ctx context.Context, request *shelterv1.CreateGroupRequest, manager string) (created *shelterv1.Group, err error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	if err := checkGroup("group", request.GetGroup()); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		s, err := store.Shelters.GetPublic(tx, kitstore.K(request.GetParent()))
		if err != nil {
			return found(err, "shelter")
		}
		if err := checkAhead("group.capacity_time", request.GetGroup().GetCapacityTime(), now); err != nil {
			return err
		}
		if err := roomForGroup(tx, request.GetParent()); err != nil {
			return err
		}
		g := vouched(proto.CloneOf(request.GetGroup()), manager, now)
		g.Name = request.GetParent() + "/groups/" + request.GetGroupId()
		key := store.GroupKey(g.GetName())
		if err := store.Groups.Insert(tx, key, g); errors.Is(err, kitstore.ErrExists) {
			return fault.InvalidField("group_id", "is taken by another group of this shelter; choose another")
		} else if err != nil {
			return err
		}
		if err := a.told(tx, "group.created", g.GetName(), now); err != nil {
			return err
		}
		created, err = a.completeGroup(tx, s, kitstore.Row[*shelterv1.Group]{Value: g, Version: 1})
		return err
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// mostGroups is how many groups a shelter has at most, as in its proto: an advert of more is believed by no other node.
const mostGroups = 50

// roomForGroup refuses one group too many.
func roomForGroup(r kitstore.Reader, shelter string) error {
	rows, _, err := store.Groups.Page(r, kitstore.Range{Prefix: kitstore.K(shelter)}, mostGroups)
	if err == nil && len(rows) == mostGroups {
		err = fault.New(fault.WrongState, "The shelter has 50 groups, and cannot have more. Change one of them instead.", "shelter", shelter)
	}
	return err
}

// told appends the event that a group changed.
func (a *App) told(tx *kitstore.Tx, what, group string, now time.Time) error {
	tx.AfterCommit(a.Wake)
	return a.Events.Append(tx, "shelter."+what+".v1", group, now, &shelterv1.GroupChanged{Group: group})
}

// UpdateGroup changes a group. Its beds are never made fewer than are taken. manager is who vouches for it.
func (a *App) UpdateGroup(ctx context.Context, request *shelterv1.UpdateGroupRequest, manager string) (shown *shelterv1.Group, err error) {
	name := request.GetGroup().GetName()
	if err := named("group", request.GetGroup() != nil, name, groupPattern, "nodes/*/shelters/*/groups/*"); err != nil {
		return nil, err
	}
	if err := a.checkNode("group.name", name); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		if err := a.expireDue(tx, now); err != nil {
			return err
		}
		s, row, err := a.group(tx, name)
		if err != nil {
			return err
		}
		if err := compare(request.GetEtag(), row.Version); err != nil {
			return err
		}
		g, before := row.Value, proto.CloneOf(row.Value)
		if err := fieldmask.Merge(g, request.GetGroup(), request.GetUpdateMask()); err != nil {
			return err
		}
		if err := a.Rules.Check("group", g); err != nil {
			return err
		}
		if err := checkGroup("group", g); err != nil {
			return err
		}
		if !proto.Equal(g.GetCapacityTime(), before.GetCapacityTime()) {
			if err := checkAhead("group.capacity_time", g.GetCapacityTime(), now); err != nil {
				return err
			}
		}
		if err := a.checkTaken(tx, g); err != nil {
			return err
		}
		// A new number is a new claim: whose it is and when it was made must not be an older one's.
		if rules.Capacity(g) != rules.Capacity(before) || g.GetOverflow() != before.GetOverflow() {
			if g.GetCapacitySource() == before.GetCapacitySource() {
				g.CapacitySource = manager
			}
			if proto.Equal(g.GetCapacityTime(), before.GetCapacityTime()) {
				g.CapacityTime = timestamppb.New(now)
			}
		}
		if err := store.Groups.Put(tx, row.Key, vouched(g, manager, now)); err != nil {
			return err
		}
		if err := a.told(tx, "group.updated", name, now); err != nil {
			return err
		}
		shown, err = a.completeGroup(tx, s, kitstore.Row[*shelterv1.Group]{Value: g, Version: row.Version + 1})
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// checkTaken compares a changed inventory with the rows.
func (a *App) checkTaken(tx *kitstore.Tx, g *shelterv1.Group) error {
	taken, err := count(tx, g.GetName())
	if err != nil {
		return err
	}
	return rules.CheckInventory(g, taken)
}

// group finds a group with its shelter, without the shelter's location.
func (a *App) group(r kitstore.Reader, name string) (*shelterv1.Shelter, kitstore.Row[*shelterv1.Group], error) {
	row, err := store.Groups.Row(r, store.GroupKey(name))
	if err != nil {
		return nil, row, found(err, "group")
	}
	s, err := store.Shelters.GetPublic(r, kitstore.K(store.ShelterOf(name)))
	return s, row, err
}
