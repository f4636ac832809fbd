package server_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
)

// hear has a node advertise a shelter with a free bed, a minute ago.
func (w *world) hear(t testing.TB, node, shelter string) {
	t.Helper()
	name := "nodes/" + node + "/shelters/" + shelter
	one := &shelterv1.Advert{
		Shelter: name, Node: node, DisplayName: "Girls", District: "PK617", PublishTime: timestamppb.New(w.now().Add(-time.Minute)),
		Groups: []*shelterv1.AdvertGroup{{
			Group: name + "/groups/girls", Genders: []string{"Feminine"}, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Free: 1,
		}},
	}
	raw, err := proto.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	verdicts, err := w.app.HearAdverts(t.Context(), []*advert.Heard{{Advert: one, Signed: &shelterv1.SignedAdvert{Advert: raw}}})
	if err != nil || verdicts[advert.Kept] != 1 {
		t.Fatalf("%v, %v", verdicts, err)
	}
}

// A worker lists what other provinces say, page by page, each advert with its age.
func TestListAdverts(t *testing.T) {
	w := newWorld(t)
	for _, of := range [][2]string{{"sindh", "sukkur"}, {"balochistan", "quetta"}, {"sindh", "karachi"}} {
		w.hear(t, of[0], of[1])
	}
	client := shelterv1.NewAdvertServiceClient(w.conn)
	request := &shelterv1.ListAdvertsRequest{Parent: "nodes/punjab", PageSize: 2}
	var listed []string
	for {
		page, err := client.ListAdverts(w.token("case-worker"), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, heard := range page.GetAdverts() {
			listed = append(listed, heard.GetAdvert().GetShelter())
			if age := heard.GetAge().AsDuration(); age < time.Minute || age > 2*time.Minute || heard.GetFreshness() != shelterv1.Freshness_FRESHNESS_FRESH {
				t.Errorf("%s is %s old and %s", heard.GetAdvert().GetShelter(), age, heard.GetFreshness())
			}
		}
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			break
		}
	}
	want := []string{"nodes/balochistan/shelters/quetta", "nodes/sindh/shelters/karachi", "nodes/sindh/shelters/sukkur"}
	if !slices.Equal(listed, want) {
		t.Errorf("listed %v, want %v", listed, want)
	}
	for _, c := range []struct {
		filter *shelterv1.ListAdvertsRequest_Filter
		want   int
	}{
		{&shelterv1.ListAdvertsRequest_Filter{Node: "sindh"}, 2},
		{&shelterv1.ListAdvertsRequest_Filter{District: "PK617"}, 3},
		{&shelterv1.ListAdvertsRequest_Filter{Node: "balochistan", District: "PK617"}, 1},
		{&shelterv1.ListAdvertsRequest_Filter{District: "PK622"}, 0},
		{&shelterv1.ListAdvertsRequest_Filter{Node: "punjab"}, 0},
	} {
		page, err := client.ListAdverts(w.token("case-worker"), &shelterv1.ListAdvertsRequest{Parent: "nodes/punjab", Filter: c.filter})
		if err != nil || len(page.GetAdverts()) != c.want {
			t.Errorf("%v: %d adverts and %v, want %d", c.filter, len(page.GetAdverts()), err, c.want)
		}
	}
}
