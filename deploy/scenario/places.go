package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/zone"
)

// office is a unit with the places to stay that are nearest to it.
type office struct {
	node, name, district, takes string
	houses                      []*house
}

// house is a place to stay.
type house struct {
	*shelterv1.Shelter
	node, takes string
	stay        time.Duration // longest; 0: no limit
}

// serves says whether a unit is asked for a service: that for women not for a child.
func (o *office) serves(woman bool) bool {
	return woman || o.takes != women
}

// furnish makes the units and the places to stay, each of these near a unit of its province.
func (m *maker) furnish() {
	for _, i := range m.data.institutions {
		if !i.unit {
			continue
		}
		name := "nodes/" + i.node + "/units/" + i.id
		m.offices = append(m.offices, &office{node: i.node, name: name, district: i.district, takes: i.takes})
		m.year.Units = append(m.year.Units, Unit{i.node, &protectionv1.Unit{Name: name, DisplayName: i.name, District: i.district}, i.source})
	}
	for _, i := range m.data.institutions {
		if i.unit {
			continue
		}
		h := &house{shelter(i, m.options.Start.Year()), i.node, i.takes, time.Duration(i.stay) * 24 * time.Hour}
		near := m.nearest(i.node, i.district, i.takes == women)
		near.houses = append(near.houses, h)
		m.year.Shelters = append(m.year.Shelters, Shelter{i.node, h.Shelter, i.source})
	}
}

// nearest is the unit of a node for women, or for children, that is nearest to a district. A unit for children is asked for women too where none of
// theirs is as near.
func (m *maker) nearest(node, place string, woman bool) *office {
	var best *office
	shortest := int32(0)
	for _, o := range m.offices {
		if o.node != node || !woman && o.takes == women {
			continue
		}
		km, _ := codes.Distance(place, o.district)
		if best == nil || km < shortest || km == shortest && woman && o.takes == women {
			best, shortest = o, km
		}
	}
	return best
}

// shelter is a place to stay as the shelter service takes it. How its beds are shared out is assumed: of 20 for children 4 are for the smallest; of 10 for
// women 4 are for mothers with children. Of a year before that of the figure the capacity is said in that year.
func shelter(i institution, year int) *shelterv1.Shelter {
	s := &shelterv1.Shelter{
		Name: "nodes/" + i.node + "/shelters/" + i.id, DisplayName: i.name, District: i.district, Confidential: i.takes == women,
		Address:   "Synthetic street 1, " + codes.Label(codes.District, i.district, codes.English),
		Languages: map[string][]string{"punjab": {"urd", "pan", "skr"}, "sindh": {"urd", "snd", "pus"}, "balochistan": {"urd", "bal", "pus", "brh"}}[i.node],
		Services:  []string{"SHELTER", "PSYCHOSOCIAL", "HEALTH", "FOOD", "LEGAL"}, LongestStayDays: int32(i.stay),
		PsychosocialCover: shelterv1.Cover_COVER_BY_DAY, MedicalCover: shelterv1.Cover_COVER_VISITING, Security: shelterv1.Security_SECURITY_GUARDED,
	}
	source, said := i.source, timestamppb.New(time.Date(min(i.year, year), time.January, 1, 0, 0, 0, 0, zone.Karachi))
	group := func(name string, beds int, from, to int32, mothers bool, needs []string, genders ...string) {
		s.Groups = append(s.Groups, &shelterv1.Group{
			Name: name, Genders: genders, AgeFrom: from, AgeTo: to, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: int32(beds),
			WithMother: mothers, Needs: needs, CapacitySource: source, CapacityTime: said, Overflow: int32(beds / 10),
		})
	}
	girl, boy := codes.GenderFeminine, codes.GenderMasculine
	switch i.takes {
	case women:
		mothers := max(i.beds*4/10, 1)
		group("women", i.beds-mothers, 18, 90, false, []string{"PREGNANCY"}, girl)
		group("mothers", mothers, 0, 90, true, []string{"PREGNANCY", "INFANT"}, girl)
		s.BoysWithMotherToAge, s.CourtOrderRequired = 12, i.stay == 0
		s.Security = shelterv1.Security_SECURITY_HIGH
	case "orphans":
		group("girls-4-6", i.beds/2, 4, 6, false, nil, girl)
		group("boys-4-6", i.beds-i.beds/2, 4, 6, false, nil, boy)
	default:
		small, girls := i.beds/5, i.beds*2/5
		group("small-0-5", small, 0, 5, false, []string{"INFANT"}, girl, boy)
		group("girls-4-17", girls, 4, 17, false, []string{"HEARING", "VISION"}, girl)
		group("boys-4-17", i.beds-small-girls, 4, 17, false, []string{"HEARING", "VISION"}, boy)
		s.Services = append(s.Services, "EDUCATION", "FAMILY_TRACING", "REUNIFICATION", "CHILD_PROTECTION")
	}
	return s
}

// admits says whether a group of a place takes a person with these needs, as the shelter service does.
func (h *house) admits(g *shelterv1.Group, n *custodyv1.Needs) bool {
	boy := n.GetWithMother() && n.GetGender() == codes.GenderMasculine && n.GetAgeTo() <= h.GetBoysWithMotherToAge()
	if !boy && !slices.Contains(g.GetGenders(), n.GetGender()) || n.GetWithMother() != g.GetWithMother() {
		return false
	}
	if n.GetAgeFrom() < g.GetAgeFrom() || n.GetAgeTo() > g.GetAgeTo() {
		return false
	}
	return !slices.ContainsFunc(n.GetSpecialNeeds(), func(need string) bool { return !slices.Contains(g.GetNeeds(), need) })
}

// groups are where each of the people is taken in one place, as many as it has beds; nil where somebody is not.
func (h *house) groups(people []*custodyv1.Needs) []string {
	names, beds := make([]string, len(people)), map[string]int32{}
	for i, n := range people {
		for _, g := range h.GetGroups() {
			if h.admits(g, n) && beds[g.GetName()] < g.GetTotal() {
				names[i] = h.GetName() + "/groups/" + g.GetName()
				beds[g.GetName()]++
				break
			}
		}
		if names[i] == "" {
			return nil
		}
	}
	return names
}

func (h *house) beds() (n int32) {
	for _, g := range h.GetGroups() {
		n += g.GetTotal()
	}
	return n
}

// place is where all of the people can stay at a unit, the larger the likelier; nil where they cannot. Homes for orphans are not asked: who
// comes there stays.
func (o *office) place(chance *rand.Rand, people []*custodyv1.Needs) *house {
	var fit []*house
	var beds []float64
	for _, h := range o.houses {
		if h.takes != "orphans" && h.groups(people) != nil {
			fit, beds = append(fit, h), append(beds, float64(h.beds()))
		}
	}
	if fit == nil {
		return nil
	}
	return fit[pick(chance, beds...)]
}

func unknownFigure(place string) error {
	return fmt.Errorf("scenario: figures.csv: no unit takes people in at %q", place)
}
