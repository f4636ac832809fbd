package app_test

import (
	"fmt"
	"slices"
	"testing"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Lists of holds, stays and outages tell what their filter asks for, in pages of any size, and nothing else.
func TestListsAreNarrowed(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b.shelter(t, 9)
	const another = "nodes/punjab/shelters/another"
	must(b.CreateShelter(ctx, &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "another", Shelter: &shelterv1.Shelter{
		DisplayName: "Another", District: "PK617", Groups: []*shelterv1.Group{{
			Name: "girls", Genders: []string{"Feminine"}, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 9,
		}},
	}}, manager))
	// Of each shelter the first three of each kind have ended.
	holds, stays, outages := map[string][]string{}, map[string][]string{}, map[string][]string{}
	for shelter, group := range map[string]string{shelterName: groupName, another: another + "/groups/girls"} {
		for i := range 5 {
			key := fmt.Sprint(shelter, i)
			h, err := b.PlaceHold(ctx, &shelterv1.PlaceHoldRequest{Group: group, Quantity: 1, Needs: girl(), RequestId: key})
			must(h, err)
			s, err := b.AdmitWalkIn(ctx, &shelterv1.AdmitWalkInRequest{Group: group, Quantity: 1, Needs: girl(), RequestId: key + "s"})
			must(s, err)
			o, err := b.CreateOutage(ctx, &shelterv1.CreateOutageRequest{Parent: group, RequestId: key + "o", Outage: &shelterv1.Outage{Quantity: 1, Reason: "REPAIR"}})
			must(o, err)
			holds[shelter], stays[shelter], outages[shelter] = append(holds[shelter], h.GetName()), append(stays[shelter], s.GetName()), append(outages[shelter], o.GetName())
			if i < 3 {
				must(b.ReleaseHold(ctx, &shelterv1.ReleaseHoldRequest{Name: h.GetName()}))
				must(b.DischargeStay(ctx, &shelterv1.DischargeStayRequest{Name: s.GetName(), Reason: "REUNIFIED"}))
				must(b.EndOutage(ctx, &shelterv1.EndOutageRequest{Name: o.GetName()}))
			}
		}
	}
	lists := map[string]struct {
		made map[string][]string
		page func(shelter string, live bool, size int32, token string) (names []string, next string, err error)
	}{
		"holds": {holds, func(shelter string, live bool, size int32, token string) (names []string, next string, err error) {
			r, err := b.ListHolds(ctx, &shelterv1.ListHoldsRequest{Parent: "nodes/punjab", Filter: &shelterv1.ListHoldsRequest_Filter{Shelter: shelter, Live: live}, PageSize: size, PageToken: token})
			for _, h := range r.GetHolds() {
				names = append(names, h.GetName())
			}
			return names, r.GetNextPageToken(), err
		}},
		"stays": {stays, func(shelter string, live bool, size int32, token string) (names []string, next string, err error) {
			r, err := b.ListStays(ctx, &shelterv1.ListStaysRequest{Parent: "nodes/punjab", Filter: &shelterv1.ListStaysRequest_Filter{Shelter: shelter, Current: live}, PageSize: size, PageToken: token})
			for _, s := range r.GetStays() {
				names = append(names, s.GetName())
			}
			return names, r.GetNextPageToken(), err
		}},
		"outages": {outages, func(shelter string, live bool, size int32, token string) (names []string, next string, err error) {
			if shelter == "" {
				return nil, "", nil // they are listed by shelter alone
			}
			r, err := b.ListOutages(ctx, &shelterv1.ListOutagesRequest{Parent: shelter, Filter: &shelterv1.ListOutagesRequest_Filter{Current: live}, PageSize: size, PageToken: token})
			for _, o := range r.GetOutages() {
				names = append(names, o.GetName())
			}
			return names, r.GetNextPageToken(), err
		}},
	}
	for what, list := range lists {
		for _, shelter := range []string{"", shelterName, another} {
			for _, live := range []bool{false, true} {
				var want []string
				for of, names := range list.made {
					if of == shelter || shelter == "" && what != "outages" {
						if live {
							names = names[3:]
						}
						want = append(want, names...)
					}
				}
				slices.Sort(want)
				for size := int32(1); size < 12; size += 3 {
					var got []string
					for token := ""; ; {
						names, next, err := list.page(shelter, live, size, token)
						if err != nil || len(names) > int(size) {
							t.Fatalf("%s: a page of %d, %v", what, len(names), err)
						}
						if got, token = append(got, names...), next; next == "" {
							break
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s of %q, live %v, by %d: %v, want %v", what, shelter, live, size, got, want)
					}
				}
			}
		}
	}
}
