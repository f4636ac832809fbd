package rules_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/soaktest"
	"amanat.example/services/shelter/internal/rules"
)

// dice draw what a random directory and its searches are made of. The pools are small, so that shelters are often alike.
type dice struct{ *rand.Rand }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

func (d dice) in(n int) bool { return d.IntN(n) == 0 }

// some takes each of a pool with a chance of one in n.
func some[T any](d dice, n int, from ...T) (all []T) {
	for _, t := range from {
		if d.in(n) {
			all = append(all, t)
		}
	}
	return all
}

var districtPool = []string{"PK617", "PK622", "PK-BA-HUB", "PK217", "PK712", "PK706", "PK-SD-KEAMARI", "PK729", "PK226", "PK530", "PK-KP-SWZ-UPPER"}

func (d dice) group(name string, now time.Time) rules.Beds {
	g := &shelterv1.Group{
		Name: name, Genders: pick(d, []string{"Feminine"}, []string{"Masculine"}, []string{"Masculine", "Feminine"}), AgeFrom: pick[int32](d, 0, 0, 6),
		AgeTo: pick[int32](d, 12, 17, 90), UnitKind: pick(d, shelterv1.Group_UNIT_KIND_BED, shelterv1.Group_UNIT_KIND_BED, shelterv1.Group_UNIT_KIND_FAMILY_UNIT),
		WithMother: d.in(3), Needs: some(d, 4, "INFANT", "WHEELCHAIR"),
	}
	d.vouch(g, now)
	return rules.Beds{Group: g, Free: pick[int32](d, 0, 0, 1, 1, 2, 3, 7)}
}

// vouch makes a claim of up to twelve hours ago, or none.
func (d dice) vouch(g *shelterv1.Group, now time.Time) {
	if g.VouchTime = nil; !d.in(6) {
		g.VouchTime = timestamppb.New(now.Add(-time.Duration(d.IntN(12*60)) * time.Minute))
	}
}

// hear makes it another node's word of up to eight days ago, or this node's own.
func (d dice) hear(c *rules.Candidate, now time.Time) {
	if c.Heard = (time.Time{}); d.in(2) {
		c.Heard = now.Add(-pick(d, 0, time.Hour, 5*time.Hour, 30*time.Hour, 7*24*time.Hour-time.Duration(d.IntN(300)-100)*time.Minute, 8*24*time.Hour))
	}
}

func (d dice) shelter(name string, now time.Time) rules.Candidate {
	s := &shelterv1.Shelter{
		Name: name, DisplayName: "Home " + name[len(name)-3:], District: pick(d, districtPool...), State: shelterv1.Shelter_STATE_ACTIVE,
		Languages: pick(d, []string{"urd"}, []string{"urd", "snd"}, []string{"snd", "urd"}), Services: some(d, 3, "LEGAL", "EDUCATION"),
		Wheelchair: d.in(2), Confidential: d.in(4),
	}
	if d.in(3) { // the others are as alike as they can be
		s.CourtOrderRequired, s.LargestFamily, s.BoysWithMotherToAge = d.in(3), pick[int32](d, 0, 2, 3), pick[int32](d, 0, 8)
		s.Security, s.MedicalCover = shelterv1.Security(d.IntN(4)), shelterv1.Cover(d.IntN(4))
		s.PsychosocialCover, s.LongestStayDays = shelterv1.Cover(d.IntN(4)), pick[int32](d, 0, 1, 30)
		for range pick(d, 0, 0, 1, 3) {
			s.Schedule = append(s.Schedule, &shelterv1.Opening{Weekday: int32(1 + d.IntN(7)), Opens: pick(d, "00:00", "08:00"), Closes: pick(d, "12:30", "24:00")})
		}
	}
	if d.in(8) {
		s.State = shelterv1.Shelter_STATE_SUSPENDED
	}
	if d.in(6) {
		s.FullUntilTime = timestamppb.New(now.Add(time.Duration(d.IntN(600)-100) * time.Minute))
	}
	c := rules.Candidate{Shelter: s, Node: pick(d, "punjab", "sindh")}
	d.hear(&c, now)
	groups := pick(d, 1, 2, 2, 3, 5)
	if d.in(40) { // more than a row has room for
		groups = pick(d, 17, 65, 70)
	}
	for g := range groups {
		c.Beds = append(c.Beds, d.group(fmt.Sprintf("%s/groups/%02d", name, g), now))
	}
	if d.in(3) { // written down in another order, it is the same kind
		slices.Reverse(c.Beds)
	}
	return c
}

func (d dice) request() *shelterv1.FindPlacesRequest {
	r := &shelterv1.FindPlacesRequest{
		NearDistrict: pick(d, append(districtPool, "", "PK401")...), Urgent: d.in(3), Apart: d.in(3), PageSize: pick[int32](d, 0, 1, 3, 50),
	}
	if d.in(4) {
		r.Security, r.MedicalCover, r.PsychosocialCover = shelterv1.Security(d.IntN(3)), shelterv1.Cover(d.IntN(2)), shelterv1.Cover(d.IntN(2))
	}
	for range pick(d, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5, rules.MostPeople) {
		n := &custodyv1.Needs{
			Gender: pick(d, "Feminine", "Feminine", "Masculine", "NonSpecifiedUnknown"), AgeFrom: pick[int32](d, 0, 4, 9, 15, 30),
			Languages: some(d, 3, "snd", "urd"), Services: some(d, 4, "SHELTER", "LEGAL", "EDUCATION"), Wheelchair: d.in(8), WithMother: d.in(4),
			SpecialNeeds: some(d, 8, "INFANT", "WHEELCHAIR"), ExcludedDistricts: some(d, 12, districtPool...),
		}
		n.AgeTo = n.GetAgeFrom() + pick[int32](d, 0, 0, 0, 4)
		r.People = append(r.People, n)
	}
	return r
}

// byGroup puts the groups of each place in order of name: a search tells them in no order that means anything.
func byGroup(answer *shelterv1.FindPlacesResponse) *shelterv1.FindPlacesResponse {
	for _, p := range answer.GetPlaces() {
		slices.SortFunc(p.GetGroups(), func(a, b *shelterv1.PlaceGroup) int { return strings.Compare(a.GetGroup(), b.GetGroup()) })
	}
	return answer
}

// TestASearchIsExact changes random directories, lets time pass, and holds each answer of the search against that of the plain one.
func TestASearchIsExact(t *testing.T) {
	directories, changes := soaktest.Alone(60, 10), 120
	if testing.Short() {
		directories = 6
	}
	found := 0
	for seed := range directories {
		d := dice{rand.New(rand.NewPCG(uint64(seed), 1))}
		now := searchTime.Add(time.Duration(d.IntN(7*24*60)) * time.Minute)
		places, all := rules.NewPlaces(), map[string]rules.Candidate{}
		names := 1 + d.IntN(60)
		for range changes {
			d.change(places, all, fmt.Sprintf("nodes/punjab/shelters/home-%03d", d.IntN(names)), now)
			if d.in(5) {
				now = now.Add(time.Duration(d.IntN(180)) * time.Minute)
			}
			request := d.request()
			got, want := places.Find(request, now), plainFind(all, request, now)
			if !proto.Equal(byGroup(got), byGroup(want)) {
				t.Fatalf("directory %d: of %d shelters, %v\nfinds %v\n want %v", seed, len(all), request, got, want)
			}
			found += len(got.GetPlaces())
		}
	}
	if found < 10*directories {
		t.Errorf("only %d places were found in all: the test shows little", found)
	}
}

// TestEveryNumberOfFreeBeds has like shelters with every number of beds free in each of four groups, so that what a search remembers of
// one is not taken for another.
func TestEveryNumberOfFreeBeds(t *testing.T) {
	places, all := rules.NewPlaces(), map[string]rules.Candidate{}
	for i := range 256 {
		name := fmt.Sprintf("nodes/punjab/shelters/home-%03d", i)
		c := rules.Candidate{Node: "punjab", Shelter: &shelterv1.Shelter{Name: name, DisplayName: name[len(name)-3:], District: "PK617", State: shelterv1.Shelter_STATE_ACTIVE}}
		for g, genders := range [][]string{{"Feminine"}, {"Masculine"}, {"Feminine", "Masculine"}, {"Feminine"}} {
			c.Beds = append(c.Beds, rules.Beds{Free: int32(i >> (2 * g) & 3), Group: &shelterv1.Group{
				Name: fmt.Sprintf("%s/groups/%d", name, g), Genders: genders, AgeFrom: int32(g), AgeTo: 17, UnitKind: shelterv1.Group_UNIT_KIND_BED,
			}})
		}
		all[name] = c
		places.Put(c)
	}
	girl, boy, baby := needs("Feminine", 9), needs("Masculine", 9), needs("Feminine", 1)
	for _, people := range [][]*custodyv1.Needs{{girl}, {girl, boy}, {baby, baby, boy}, {girl, girl, boy, boy}, {girl, girl, boy, baby, girl}} {
		for _, apart := range []bool{false, true} {
			request := &shelterv1.FindPlacesRequest{People: people, PageSize: 50, Apart: apart}
			if got, want := byGroup(places.Find(request, searchTime)), byGroup(plainFind(all, request, searchTime)); !proto.Equal(got, want) {
				t.Errorf("%d people, apart %v: finds\n%v\nwant\n%v", len(people), apart, got, want)
			}
		}
	}
}

// change enters a shelter or replaces it, takes beds or gives them back, or removes it.
func (d dice) change(places *rules.Places, all map[string]rules.Candidate, name string, now time.Time) {
	c, known := all[name]
	switch {
	case known && d.in(2):
		b := &c.Beds[d.IntN(len(c.Beds))]
		quantity := min(pick[int32](d, -3, -1, 1, 2), b.Free)
		b.Free -= quantity
		places.Take(b.Group.GetName(), quantity)
	case known && d.in(6):
		delete(all, name)
		places.Remove(name)
	case len(all) > 0 && !d.in(3): // one just like another
		like := all[slices.Sorted(maps.Keys(all))[d.IntN(len(all))]]
		c = rules.Candidate{Shelter: proto.CloneOf(like.Shelter), Node: like.Node}
		c.Shelter.Name, c.Shelter.District = name, pick(d, districtPool...)
		d.hear(&c, now)
		for i, b := range like.Beds {
			g := proto.CloneOf(b.Group)
			g.Name = fmt.Sprintf("%s/groups/%02d", name, i)
			d.vouch(g, now)
			c.Beds = append(c.Beds, rules.Beds{Group: g, Free: pick[int32](d, 0, 1, 2, b.Free)})
		}
		all[name] = c
		places.Put(c)
	default:
		all[name] = d.shelter(name, now)
		places.Put(all[name])
	}
}
