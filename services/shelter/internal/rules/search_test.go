package rules_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/shelter/internal/rules"
)

var searchTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shelters are made after institutions.csv of the domain: where they are and whom they take is real; their beds are examples.
var shelters = map[string]string{
	"cpwb-lahore": "PK617", "cpwb-multan": "PK622", "cpwb-rahim-yar-khan": "PK628", "dar-ul-aman-lahore": "PK617", "dar-ul-aman-multan": "PK622",
	"cpi-islamabad": "PK401", "korangi-karachi": "PK712", "dar-ul-aman-hyderabad": "PK706", "panah-karachi": "PK712", "cpu-quetta": "PK226",
	"sweet-home-quetta": "PK226",
}

// directory is all of them with these changes; those of none are left out.
func directory(change map[string]func(*shelterv1.Shelter), only ...string) *rules.Places {
	group := func(name, gender string, from, to, free int32, more ...func(*shelterv1.Group)) *shelterv1.Group {
		g := &shelterv1.Group{
			Name: name, Genders: strings.Fields(gender), AgeFrom: from, AgeTo: to, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: free,
			VouchTime: timestamppb.New(searchTime.Add(-time.Hour)),
		}
		for _, m := range more {
			m(g)
		}
		return g
	}
	mothers := func(g *shelterv1.Group) { g.WithMother = true }
	infants := func(g *shelterv1.Group) { g.Needs = []string{"INFANT", "PREGNANCY"} }
	girls, boys := "Feminine", "Masculine"
	all := []*shelterv1.Shelter{
		{
			Name: "cpwb-lahore", DisplayName: "Protection bureau Lahore", Languages: []string{"urd", "pan"}, Services: []string{"EDUCATION", "LEGAL", "PSYCHOSOCIAL"},
			Wheelchair: true, MedicalCover: shelterv1.Cover_COVER_ROUND_THE_CLOCK, PsychosocialCover: shelterv1.Cover_COVER_BY_DAY, Security: shelterv1.Security_SECURITY_GUARDED,
			Groups: []*shelterv1.Group{group("girls", girls, 5, 17, 6), group("boys", boys, 5, 17, 8), group("small", girls+" "+boys, 0, 6, 3, infants)},
		},
		{
			Name: "cpwb-multan", DisplayName: "Protection bureau Multan", Languages: []string{"urd", "skr"}, Services: []string{"EDUCATION"},
			MedicalCover: shelterv1.Cover_COVER_VISITING, Security: shelterv1.Security_SECURITY_GUARDED,
			Groups: []*shelterv1.Group{group("girls", girls, 5, 17, 4), group("boys", boys, 5, 17, 5)},
		},
		{
			Name: "cpwb-rahim-yar-khan", DisplayName: "Protection bureau Rahim Yar Khan", Languages: []string{"urd", "skr"},
			Groups: []*shelterv1.Group{group("boys", boys, 5, 17, 2)},
		},
		{
			Name: "dar-ul-aman-lahore", DisplayName: "Dar-ul-Aman Lahore", Languages: []string{"urd", "pan"}, Services: []string{"LEGAL"}, BoysWithMotherToAge: 8, LargestFamily: 5,
			CourtOrderRequired: true, Security: shelterv1.Security_SECURITY_GUARDED, Confidential: true,
			Groups: []*shelterv1.Group{group("women", girls, 18, 90, 4, mothers), group("children", girls, 0, 17, 6, mothers)},
		},
		{
			Name: "dar-ul-aman-multan", DisplayName: "Dar-ul-Aman Multan", Languages: []string{"urd", "skr"}, BoysWithMotherToAge: 6, LargestFamily: 3,
			Groups: []*shelterv1.Group{group("women", girls, 18, 90, 3, mothers), group("children", girls, 0, 17, 4, mothers)},
		},
		{
			Name: "cpi-islamabad", DisplayName: "Child Protection Institute", Languages: []string{"urd", "eng"}, Services: []string{"EDUCATION", "LEGAL"}, Wheelchair: true,
			Groups: []*shelterv1.Group{group("boys", boys, 6, 17, 5)},
		},
		{
			Name: "korangi-karachi", DisplayName: "Korangi home", Languages: []string{"urd", "snd"}, Services: []string{"EDUCATION", "FAMILY_TRACING"}, MedicalCover: shelterv1.Cover_COVER_BY_DAY,
			Groups: []*shelterv1.Group{group("girls", girls, 4, 17, 9), group("boys", boys, 4, 17, 1)},
		},
		{
			Name: "dar-ul-aman-hyderabad", DisplayName: "Dar-ul-Aman Hyderabad", Languages: []string{"snd"}, BoysWithMotherToAge: 10,
			Groups: []*shelterv1.Group{group("families", girls, 0, 90, 2, mothers, func(g *shelterv1.Group) { g.UnitKind = shelterv1.Group_UNIT_KIND_FAMILY_UNIT })},
		},
		{
			Name: "panah-karachi", DisplayName: "Panah", Languages: []string{"urd", "snd", "eng"}, Services: []string{"LEGAL", "PSYCHOSOCIAL"}, Confidential: true, LongestStayDays: 90,
			PsychosocialCover: shelterv1.Cover_COVER_ROUND_THE_CLOCK, Security: shelterv1.Security_SECURITY_HIGH,
			Groups: []*shelterv1.Group{group("women", girls, 16, 90, 2, infants)},
		},
		{
			Name: "cpu-quetta", DisplayName: "Protection unit Quetta", Languages: []string{"urd", "pus", "bal"}, LongestStayDays: 3,
			Groups: []*shelterv1.Group{group("boys", boys, 6, 17, 2), group("girls", girls, 6, 17, 1)},
		},
		{
			Name: "sweet-home-quetta", DisplayName: "Sweet Home Quetta", Languages: []string{"urd"}, Services: []string{"EDUCATION"},
			Groups: []*shelterv1.Group{group("boys", boys, 4, 12, 10)},
		},
	}
	places := rules.NewPlaces()
	for _, s := range all {
		id := s.GetName()
		s.District, s.State = shelters[id], shelterv1.Shelter_STATE_ACTIVE
		if f := change[id]; f != nil {
			f(s)
		}
		if len(only) > 0 && !slices.Contains(only, id) {
			continue
		}
		s.Name = "nodes/punjab/shelters/" + id
		c := rules.Candidate{Shelter: s, Node: "punjab"}
		for _, g := range s.GetGroups() {
			g.Name = s.GetName() + "/groups/" + g.GetName()
			c.Beds = append(c.Beds, rules.Beds{Group: g, Free: g.GetTotal()})
		}
		places.Put(c)
	}
	return places
}

func needs(gender string, age int32, more ...func(*custodyv1.Needs)) *custodyv1.Needs {
	n := &custodyv1.Needs{Gender: gender, AgeFrom: age, AgeTo: age}
	for _, m := range more {
		m(n)
	}
	return n
}

// entered is how many shelters a directory of these has.
func entered(only []string) (n int) {
	for id := range shelters {
		if len(only) == 0 || slices.Contains(only, id) {
			n++
		}
	}
	return n
}

type changes = map[string]func(*shelterv1.Shelter)

func allSituations() []situation {
	girl, boy := "Feminine", "Masculine"
	family := func(n *custodyv1.Needs) { n.WithMother = true }
	wheelchair := func(n *custodyv1.Needs) { n.Wheelchair = true }
	speaks := func(l ...string) func(*custodyv1.Needs) { return func(n *custodyv1.Needs) { n.Languages = l } }
	services := func(s ...string) func(*custodyv1.Needs) { return func(n *custodyv1.Needs) { n.Services = s } }
	special := func(s ...string) func(*custodyv1.Needs) { return func(n *custodyv1.Needs) { n.SpecialNeeds = s } }
	without := func(d ...string) func(*custodyv1.Needs) { return func(n *custodyv1.Needs) { n.ExcludedDistricts = d } }
	vouched := func(age time.Duration) func(*shelterv1.Shelter) {
		return func(s *shelterv1.Shelter) {
			for _, g := range s.GetGroups() {
				g.VouchTime = timestamppb.New(searchTime.Add(-age))
			}
		}
	}
	free := func(n int32) func(*shelterv1.Shelter) {
		return func(s *shelterv1.Shelter) {
			for _, g := range s.GetGroups() {
				g.Total = n
			}
		}
	}
	in := func(district string, n int32) func(*shelterv1.Shelter) {
		return func(s *shelterv1.Shelter) { s.District = district; free(n)(s) }
	}
	suspended := func(s *shelterv1.Shelter) { s.State = shelterv1.Shelter_STATE_SUSPENDED }
	full := func(s *shelterv1.Shelter) { s.FullUntilTime = timestamppb.New(searchTime.Add(time.Hour)) }
	hours := func(s *shelterv1.Shelter) {
		for day := range int32(6) {
			s.Schedule = append(s.Schedule, &shelterv1.Opening{Weekday: day + 1, Opens: "08:00", Closes: "20:00"})
		}
	}
	return situations(girl, boy, family, wheelchair, speaks, services, special, without, vouched, free, in, suspended, full, hours)
}

func TestThirtySituations(t *testing.T) {
	for _, c := range allSituations() {
		t.Run(c.what, func(t *testing.T) {
			before := proto.CloneOf(c.search)
			places := directory(c.change, c.only...)
			got := places.Find(c.search, c.at())
			var order []string
			for _, p := range got.GetPlaces() {
				order = append(order, strings.TrimPrefix(p.GetShelter(), "nodes/punjab/shelters/"))
			}
			if strings.Join(order, " ") != c.order {
				t.Errorf("order %s\n want %s", strings.Join(order, " "), c.order)
			}
			if got.GetSummary() != c.summary {
				t.Errorf("says  %s\n want %s", got.GetSummary(), c.summary)
			}
			if !proto.Equal(before, c.search) {
				t.Error("the search was changed")
			}
			counted := got.GetTotalSize()
			for _, l := range got.GetLeftOut() {
				counted += l.GetCount()
			}
			if all := entered(c.only); int(counted) != all {
				t.Errorf("%d shelters are accounted for, of %d: %v", counted, all, got.GetLeftOut())
			}
			var told []string
			if len(got.GetPlaces()) > 0 {
				for _, r := range got.GetPlaces()[0].GetReasons() {
					told = append(told, r.GetSentence())
				}
			}
			if c.reason != "" && !slices.Contains(told, c.reason) {
				t.Errorf("the best place says %q\n want %q", told, c.reason)
			}
			sameInEveryLanguage(t, places, c, got)
			c.speaks(t, places)
		})
	}
}
