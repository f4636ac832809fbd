package rules_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/shelter/internal/rules"
)

// BenchmarkFind searches 100,000 groups of 20,000 shelters of sixty kinds, over all districts, without the server: for one person, and for
// siblings who stay together.
func BenchmarkFind(b *testing.B) {
	places, districts := rules.NewPlaces(), codes.All(codes.District)
	for i := range 20_000 {
		name := fmt.Sprintf("nodes/punjab/shelters/home-%d", i)
		c := rules.Candidate{Node: "punjab", Shelter: &shelterv1.Shelter{
			Name: name, DisplayName: fmt.Sprint("Home ", i), District: districts[i%len(districts)].Code, State: shelterv1.Shelter_STATE_ACTIVE,
			Languages: [][]string{{"urd"}, {"urd", "snd"}, {"urd", "pan"}, {"urd", "pus"}, {"urd", "bal"}}[i%5], Wheelchair: i%2 == 0,
			Security: shelterv1.Security(1 + i%3), Services: [][]string{{"EDUCATION"}, {"EDUCATION", "LEGAL"}}[i/7%2],
		}}
		for g := range 5 {
			c.Beds = append(c.Beds, rules.Beds{Free: int32((i*31 + g*17) % 7), Group: &shelterv1.Group{
				Name: fmt.Sprintf("%s/groups/group-%d", name, g), Genders: []string{[]string{"Feminine", "Masculine"}[g%2]}, AgeFrom: int32(g / 2 * 6), AgeTo: int32(g/2*6 + 6),
				UnitKind: shelterv1.Group_UNIT_KIND_BED, VouchTime: timestamppb.New(searchTime.Add(-time.Duration(i%12) * time.Hour)),
			}})
		}
		places.Put(c)
	}
	request := func(n, people int) *shelterv1.FindPlacesRequest {
		r := &shelterv1.FindPlacesRequest{NearDistrict: districts[n%len(districts)].Code, PageSize: 10}
		for i := range people {
			age := int32(5 + (n+i)%12)
			r.People = append(r.People, &custodyv1.Needs{
				Gender: []string{"Feminine", "Masculine"}[(n+i)%2], AgeFrom: age, AgeTo: age, Languages: []string{"snd"},
				ExcludedDistricts: []string{districts[n*7%len(districts)].Code},
			})
		}
		return r
	}
	for _, people := range []int{1, 3} {
		b.Run(fmt.Sprintf("people=%d", people), func(b *testing.B) {
			b.ReportAllocs()
			for n := range b.N {
				if answer := places.Find(request(n, people), searchTime); len(answer.GetPlaces()) == 0 && len(answer.GetLeftOut()) == 0 {
					b.Fatal("the search says nothing")
				}
			}
		})
	}
}
