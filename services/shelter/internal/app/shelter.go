package app

import (
	"context"
	"errors"
	"regexp"
	"strconv"

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

// CreateShelter enters a shelter with its inventory.
func (a *App) CreateShelter(ctx context.Context, request *shelterv1.CreateShelterRequest) (created *shelterv1.Shelter, err error) {
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
		shelter.Name, shelter.Groups, shelter.Etag = name, nil, ""
		shelter.State, shelter.CreateTime = shelterv1.Shelter_STATE_ACTIVE, timestamppb.New(now)
		if err := store.Shelters.Insert(tx, a.Keys, kitstore.K(name), shelter); errors.Is(err, kitstore.ErrExists) {
			return fault.InvalidField("shelter_id", "is taken by another shelter of this node; choose another")
		} else if err != nil {
			return err
		}
		for _, g := range groups {
			g.Name = name + "/groups/" + g.GetName()
			g.Held, g.Occupied, g.Available = 0, 0, 0
			if err := store.Groups.Insert(tx, store.GroupKey(g.GetName()), g); err != nil {
				return err
			}
		}
		if err := a.Events.Append(tx, "shelter.shelter.created.v1", name, now, &shelterv1.ShelterCreated{Shelter: name}); err != nil {
			return err
		}
		created, err = a.show(tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return created, nil
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
		if err := codes.CheckFields(field+".genders", codes.Gender, g.GetGenders()); err != nil {
			return err
		}
	}
	return nil
}

// GetShelter reads a shelter with its address, and with what is free now.
func (a *App) GetShelter(ctx context.Context, name string) (shown *shelterv1.Shelter, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		shown, err = a.show(r, name)
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

func (a *App) show(r kitstore.Reader, name string) (*shelterv1.Shelter, error) {
	row, err := store.Shelters.Row(r, a.Keys, kitstore.K(name))
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, fault.NotFound("shelter")
	}
	if err != nil {
		return nil, err
	}
	return a.complete(r, row.Value, row.Version)
}

// complete adds the groups, and what is derived.
func (a *App) complete(r kitstore.Reader, s *shelterv1.Shelter, version uint64) (*shelterv1.Shelter, error) {
	s.Etag = strconv.FormatUint(version, 10)
	s.Groups = nil
	err := store.Groups.Scan(r, kitstore.Range{Prefix: kitstore.K(s.GetName())}, func(_ kitstore.Key, g *shelterv1.Group) error {
		taken, err := count(r, g.GetName())
		if err != nil {
			return err
		}
		g.Held, g.Occupied, g.Available = taken.Held, taken.Occupied, rules.Available(g, taken)
		s.Groups = append(s.Groups, g)
		return nil
	})
	return s, err
}
