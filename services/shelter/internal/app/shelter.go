package app

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

var groupID = regexp.MustCompile(`^[a-z][a-z0-9-]{1,60}$`)

// CreateShelter enters a shelter with its inventory. manager is who vouches for it.
func (a *App) CreateShelter(ctx context.Context, request *shelterv1.CreateShelterRequest, manager string) (created *shelterv1.Shelter, err error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	if err := checkShelter(request.GetShelter()); err != nil {
		return nil, err
	}
	name := request.GetParent() + "/shelters/" + request.GetShelterId()
	if err := a.Keys.Prepare(ctx, store.KeyName(name)); err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		shelter := proto.CloneOf(request.GetShelter())
		groups := shelter.GetGroups()
		for i, g := range groups {
			if err := checkAhead("shelter.groups["+strconv.Itoa(i)+"].capacity_time", g.GetCapacityTime(), now); err != nil {
				return err
			}
		}
		shelter.Name, shelter.Groups, shelter.Etag = name, nil, ""
		shelter.State, shelter.CreateTime, shelter.UpdateTime = shelterv1.Shelter_STATE_ACTIVE, timestamppb.New(now), timestamppb.New(now)
		shelter.SuspensionReason, shelter.FullUntilTime = "", nil
		if err := store.Shelters.Insert(tx, a.Keys, kitstore.K(name), shelter); errors.Is(err, kitstore.ErrExists) {
			return fault.InvalidField("shelter_id", "is taken by another shelter of this node; choose another")
		} else if err != nil {
			return err
		}
		for _, g := range groups {
			g.Name = name + "/groups/" + g.GetName()
			if err := store.Groups.Insert(tx, store.GroupKey(g.GetName()), vouched(g, manager, now)); err != nil {
				return err
			}
		}
		if err := a.Events.Append(tx, "shelter.shelter.created.v1", name, now, &shelterv1.ShelterCreated{Shelter: name}); err != nil {
			return err
		}
		created, err = a.show(tx, name, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// vouched is a group as it is stored: without what is derived, and with who says so.
func vouched(g *shelterv1.Group, manager string, now time.Time) *shelterv1.Group {
	g.Held, g.Occupied, g.OutOfService, g.Available, g.Freshness, g.Etag = 0, 0, 0, 0, 0, ""
	if g.GetCapacitySource() == "" {
		g.CapacitySource = manager
	}
	if g.GetCapacityTime() == nil {
		g.CapacityTime = timestamppb.New(now)
	}
	g.VouchTime = timestamppb.New(now)
	return g
}

// checkShelter holds what the proto's own rules cannot: codes and the names of groups.
func checkShelter(s *shelterv1.Shelter) error {
	if err := codes.CheckField("shelter.district", codes.District, s.GetDistrict()); err != nil {
		return err
	}
	if err := codes.CheckFields("shelter.languages", codes.Language, s.GetLanguages()); err != nil {
		return err
	}
	if err := codes.CheckFields("shelter.services", codes.Service, s.GetServices()); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, g := range s.GetGroups() {
		field := "shelter.groups[" + strconv.Itoa(i) + "]"
		if !groupID.MatchString(g.GetName()) {
			return fault.InvalidField(field+".name", "must be small letters, digits and hyphens, such as girls-6-12")
		}
		if seen[g.GetName()] {
			return fault.InvalidField(field+".name", "stands twice; give each group a name of its own")
		}
		seen[g.GetName()] = true
		if err := checkGroup(field, g); err != nil {
			return err
		}
	}
	return nil
}

func checkGroup(field string, g *shelterv1.Group) error {
	if err := codes.CheckFields(field+".genders", codes.Gender, g.GetGenders()); err != nil {
		return err
	}
	return codes.CheckFields(field+".needs", codes.SpecialNeed, g.GetNeeds())
}

// checkAhead refuses a claim that says it is made later than now.
func checkAhead(field string, claimed *timestamppb.Timestamp, now time.Time) error {
	if claimed != nil && claimed.AsTime().After(now) {
		return fault.InvalidField(field, "must not lie ahead; leave it out for now")
	}
	return nil
}

// GetShelter reads a shelter with what is free now. Address and telephone of a confidential one are for those who run it.
func (a *App) GetShelter(ctx context.Context, name string, runs bool) (shown *shelterv1.Shelter, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		shown, err = a.show(r, name, runs)
		return err
	})
	return shown, err
}

// ListShelters lists shelters without their addresses, with what is free now.
func (a *App) ListShelters(ctx context.Context, request *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	if district := request.GetFilter().GetDistrict(); district != "" {
		if err := codes.CheckField("filter.district", codes.District, district); err != nil {
			return nil, err
		}
	}
	after, err := a.Tokens.Read("shelters", request.GetFilter(), request.GetPageToken())
	if err != nil {
		return nil, fault.InvalidField("page_token", err.Error())
	}
	response := &shelterv1.ListSheltersResponse{}
	limit := paging.Size(request.GetPageSize(), 50)
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		for len(response.Shelters) < limit {
			rows, next, err := store.Shelters.PagePublic(r, kitstore.Range{After: after}, limit-len(response.Shelters))
			if err != nil {
				return err
			}
			for _, row := range rows {
				s, err := a.complete(r, row.Value, row.Version)
				if err != nil {
					return err
				}
				if matches(request.GetFilter(), s) {
					response.Shelters = append(response.Shelters, s)
				}
			}
			if after = next; next == nil {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	response.NextPageToken, err = a.Tokens.Make("shelters", request.GetFilter(), after)
	return response, err
}

func matches(f *shelterv1.ListSheltersRequest_Filter, s *shelterv1.Shelter) bool {
	if f.GetDistrict() != "" && f.GetDistrict() != s.GetDistrict() {
		return false
	}
	if !f.GetWithAvailable() {
		return true
	}
	for _, g := range s.GetGroups() {
		if g.GetAvailable() > 0 {
			return true
		}
	}
	return false
}

func (a *App) show(r kitstore.Reader, name string, runs bool) (*shelterv1.Shelter, error) {
	row, err := store.Shelters.Row(r, a.Keys, kitstore.K(name))
	if err != nil {
		return nil, found(err, "shelter")
	}
	if s := row.Value; s.GetConfidential() && !runs {
		s.Address, s.Phone = "", ""
	}
	return a.complete(r, row.Value, row.Version)
}

// complete adds the groups, and what is derived.
func (a *App) complete(r kitstore.Reader, s *shelterv1.Shelter, version uint64) (*shelterv1.Shelter, error) {
	var err error
	s.Etag, s.Groups = etagOf(version), nil
	if s.HeadcountWanted, err = store.HeadcountWanted(r, a.DB.Incarnation(), s); err != nil {
		return nil, err
	}
	for after := kitstore.Key(nil); ; {
		rows, next, err := store.Groups.Page(r, kitstore.Range{Prefix: kitstore.K(s.GetName()), After: after}, 50)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			g, err := a.completeGroup(r, s, row)
			if err != nil {
				return nil, err
			}
			s.Groups = append(s.Groups, g)
		}
		if after = next; next == nil {
			return s, nil
		}
	}
}

// completeGroup adds what is derived from holds, stays and outages.
func (a *App) completeGroup(r kitstore.Reader, s *shelterv1.Shelter, row kitstore.Row[*shelterv1.Group]) (*shelterv1.Group, error) {
	g, now := row.Value, a.Now()
	taken, err := count(r, g.GetName())
	if err != nil {
		return nil, err
	}
	g.Held, g.Occupied, g.OutOfService = taken.Held, taken.Occupied, taken.Out
	if a.Gate.Closed() == nil { // else what looks free may be promised
		g.Available = rules.Available(s, g, taken, now)
	}
	g.Freshness, g.Etag = rules.Fresh(g.GetVouchTime(), now), etagOf(row.Version)
	return g, nil
}
