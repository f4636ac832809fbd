package rules_test

import (
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// situation is what a worker looks for, and what they read.
type situation struct {
	what    string
	search  *shelterv1.FindPlacesRequest
	change  changes
	only    []string // of the shelters; none: all
	order   string
	summary string
	reason  string    // one of those of the best place
	when    time.Time // zero: searchTime
}

func (c situation) at() time.Time {
	if c.when.IsZero() {
		return searchTime
	}
	return c.when
}

type (
	need  = func(*custodyv1.Needs)
	alter = func(*shelterv1.Shelter)
)

func situations(girl, boy string, family, wheelchair need, speaks, services, special, without func(...string) need, vouched func(time.Duration) alter, free func(int32) alter, in func(string, int32) alter, suspended, full, hours alter) []situation {
	near := func(district string, p ...*custodyv1.Needs) *shelterv1.FindPlacesRequest {
		return &shelterv1.FindPlacesRequest{People: p, NearDistrict: district}
	}
	with := func(r *shelterv1.FindPlacesRequest, change func(*shelterv1.FindPlacesRequest)) *shelterv1.FindPlacesRequest {
		change(r)
		return r
	}
	urgent := func(r *shelterv1.FindPlacesRequest) { r.Urgent = true }
	apart := func(r *shelterv1.FindPlacesRequest) { r.Apart = true }
	mothersToo := func(s *shelterv1.Shelter) { s.GetGroups()[0].WithMother = true }
	night := searchTime.Add(9 * time.Hour) // Monday, 02:00 in Karachi
	return []situation{
		{
			what:   "girl of 9 in Lahore",
			search: near("PK617", needs(girl, 9)), order: "cpwb-lahore cpwb-multan cpu-quetta korangi-karachi dar-ul-aman-lahore dar-ul-aman-multan dar-ul-aman-hyderabad",
			summary: "Best place for a girl of 9: Protection bureau Lahore in Lahore.", reason: "In the same district.",
		},
		{
			what:   "girl of 9 with a brother of 4",
			search: near("PK617", needs(girl, 9), needs(boy, 4)), order: "cpwb-lahore korangi-karachi",
			summary: "Best place for a girl of 9 and a boy of 4: Protection bureau Lahore in Lahore.", reason: "All 2 stay in this shelter, in 2 groups.",
		},
		{
			what:   "girl of 9 with a brother of 7 in Lahore",
			search: near("PK617", needs(girl, 9), needs(boy, 7)), order: "cpwb-lahore cpwb-multan cpu-quetta korangi-karachi",
			summary: "Best place for a girl of 9 and a boy of 7: Protection bureau Lahore in Lahore.",
		},
		{
			what:   "girl of 9 with a brother of 3, parted if need be",
			search: with(near("PK622", needs(girl, 9), needs(boy, 3)), apart), order: "cpwb-lahore cpwb-multan cpu-quetta korangi-karachi dar-ul-aman-multan dar-ul-aman-lahore dar-ul-aman-hyderabad",
			summary: "Best place for a girl of 9 and a boy of 3: Protection bureau Lahore in Lahore, about 340 km away.",
		},
		{
			what:   "mother with three",
			search: near("PK617", needs(girl, 30, family), needs(girl, 9, family), needs(boy, 6, family), needs(boy, 2, family)), order: "dar-ul-aman-lahore dar-ul-aman-hyderabad",
			summary: "Best place for a family of 4: Dar-ul-Aman Lahore in Lahore.", reason: "A court's order is needed.",
		},
		{
			what:   "mother with a son of 9",
			search: near("PK617", needs(girl, 30, family), needs(boy, 9, family)), order: "dar-ul-aman-hyderabad",
			summary: "Lahore has no bed for a woman of 30 and a boy of 9: 1 shelter does not take all these ages and 1 shelter takes women and girls only. Best place: Dar-ul-Aman Hyderabad in Hyderabad, about 900 km away.", reason: "All 2 stay together in one group.",
		},
		{
			what:   "mother with a daughter in Multan",
			search: near("PK622", needs(girl, 28, family), needs(girl, 5, family)), order: "dar-ul-aman-multan dar-ul-aman-lahore dar-ul-aman-hyderabad",
			summary: "Best place for a woman of 28 and a girl of 5: Dar-ul-Aman Multan in Multan.",
		},
		{
			what:   "boy of 15 in Islamabad",
			search: near("PK401", needs(boy, 15)), order: "cpi-islamabad cpwb-lahore cpwb-multan cpwb-rahim-yar-khan cpu-quetta korangi-karachi",
			summary: "Best place for a boy of 15: Child Protection Institute in Islamabad.",
		},
		{
			what:   "girl of 15 in Islamabad: the institute takes boys only",
			search: near("PK401", needs(girl, 15)), order: "cpwb-lahore cpwb-multan cpu-quetta korangi-karachi dar-ul-aman-lahore dar-ul-aman-multan dar-ul-aman-hyderabad",
			summary: "Islamabad has no bed for a girl of 15: 1 shelter takes boys only. Best place: Protection bureau Lahore in Lahore, about 280 km away.",
		},
		{
			what:   "girl of 12 where only the institute is",
			search: near("PK401", needs(girl, 12)), only: []string{"cpi-islamabad"},
			summary: "No place for a girl of 12: 1 shelter takes boys only.",
		},
		{
			what:   "boy of 10 in a wheelchair in Multan",
			search: near("PK622", needs(boy, 10, wheelchair, special("WHEELCHAIR"))), order: "cpwb-lahore cpi-islamabad",
			summary: "Multan has no bed for a boy of 10: 1 shelter takes women and girls only and 1 shelter has steps. Best place: Protection bureau Lahore in Lahore, about 340 km away.",
		},
		{
			what:   "girl of 10 in a wheelchair where there are steps",
			search: near("PK622", needs(girl, 10, wheelchair)), only: []string{"cpwb-multan", "korangi-karachi"},
			summary: "No place for a girl of 10: 2 shelters have steps.",
		},
		{
			what:   "girl of 14, the trafficker's family lives in Multan",
			search: near("PK622", needs(girl, 14, without("PK622"))), order: "cpwb-lahore cpu-quetta korangi-karachi dar-ul-aman-lahore dar-ul-aman-hyderabad",
			summary: "Multan has no bed for a girl of 14: 2 shelters lie in districts to keep away from. Best place: Protection bureau Lahore in Lahore, about 340 km away.",
		},
		{
			what:   "boy of 14, only Multan, and he must not go there",
			search: near("PK628", needs(boy, 14, without("PK622"))), only: []string{"cpwb-multan"},
			summary: "No place for a boy of 14. Rahim Yar Khan has no shelter; elsewhere 1 shelter lies in a district to keep away from.",
		},
		{
			what:   "Hub has no shelter",
			search: near("PK-BA-HUB", needs(girl, 11)), order: "korangi-karachi cpu-quetta cpwb-multan cpwb-lahore dar-ul-aman-hyderabad dar-ul-aman-multan dar-ul-aman-lahore",
			summary: "Hub has no shelter. Best place for a girl of 11: Korangi home in Korangi, about 120 km away.",
		},
		{
			what:   "Hub has no bed for girls",
			search: near("PK-BA-HUB", needs(girl, 11)), change: changes{"cpwb-rahim-yar-khan": in("PK-BA-HUB", 3), "sweet-home-quetta": in("PK-BA-HUB", 3), "cpu-quetta": in("PK-BA-HUB", 0)}, only: []string{"cpwb-rahim-yar-khan", "sweet-home-quetta", "cpu-quetta", "korangi-karachi"}, order: "korangi-karachi",
			summary: "Hub has no bed for a girl of 11: 2 shelters take boys only and 1 shelter is full. Best place: Korangi home in Korangi, about 120 km away.", reason: "About 120 km away, from district to district.",
		},
		{
			what:   "girl of 11 who must not be brought to Lasbela: nor to Hub, which was in it",
			search: near("PK-BA-HUB", needs(girl, 11, without("PK217"))), change: changes{"korangi-karachi": in("PK-BA-HUB", 3), "cpu-quetta": in("PK217", 3)}, order: "cpwb-multan cpwb-lahore dar-ul-aman-hyderabad dar-ul-aman-multan dar-ul-aman-lahore",
			summary: "Hub has no bed for a girl of 11: 1 shelter lies in a district to keep away from. Best place: Protection bureau Multan in Multan, about 660 km away.",
		},
		{
			what:   "girl of 11 who must not be brought to Hub: nor to Lasbela, since who wrote it may have meant where Hub was",
			search: near("PK-BA-HUB", needs(girl, 11, without("PK-BA-HUB"))), change: changes{"korangi-karachi": in("PK217", 3)}, only: []string{"korangi-karachi"},
			summary: "No place for a girl of 11. Hub has no shelter; elsewhere 1 shelter lies in a district to keep away from.",
		},
		{
			what:   "girl of 11 in Hub, a shelter in Lasbela",
			search: near("PK-BA-HUB", needs(girl, 11)), change: changes{"korangi-karachi": in("PK217", 3)}, only: []string{"korangi-karachi"}, order: "korangi-karachi",
			summary: "Hub has no shelter. Best place for a girl of 11: Korangi home in Lasbela.", reason: "In a neighbouring district.",
		},
		{
			what:   "Hub has no bed for girls, nor has anybody",
			search: near("PK-BA-HUB", needs(girl, 11)), change: changes{"cpwb-rahim-yar-khan": in("PK-BA-HUB", 3), "sweet-home-quetta": in("PK-BA-HUB", 3), "cpu-quetta": in("PK-BA-HUB", 0)}, only: []string{"cpwb-rahim-yar-khan", "sweet-home-quetta", "cpu-quetta"},
			summary: "No place for a girl of 11: 2 shelters take boys only and 1 shelter is full.",
		},
		{
			what:   "a stale claim ranks below a fresh one far away",
			search: near("PK617", needs(girl, 9)), change: changes{"cpwb-lahore": vouched(9 * time.Hour)}, order: "cpwb-multan cpu-quetta korangi-karachi cpwb-lahore dar-ul-aman-lahore dar-ul-aman-multan dar-ul-aman-hyderabad",
			summary: "Best place for a girl of 9: Protection bureau Multan in Multan, about 340 km away.", reason: "Its beds were vouched for in the last 2 hours.",
		},
		{
			what:   "an ageing claim between a fresh and a stale one",
			search: near("PK617", needs(girl, 9)), change: changes{"cpwb-lahore": vouched(3 * time.Hour), "cpwb-multan": vouched(20 * time.Hour)}, order: "cpu-quetta korangi-karachi cpwb-lahore cpwb-multan dar-ul-aman-lahore dar-ul-aman-multan dar-ul-aman-hyderabad",
			summary: "Best place for a girl of 9: Protection unit Quetta in Quetta, about 720 km away.",
		},
		{
			what:   "girl of 13 who speaks Sindhi alone",
			search: near("PK622", needs(girl, 13, speaks("snd"))), order: "korangi-karachi cpwb-multan cpwb-lahore cpu-quetta dar-ul-aman-hyderabad dar-ul-aman-multan dar-ul-aman-lahore",
			summary: "Best place for a girl of 13: Korangi home in Korangi, about 700 km away.", reason: "Sindhi is spoken there.",
		},
		{
			what:   "boy of 8 who speaks Pashto",
			search: near("PK628", needs(boy, 8, speaks("pus"))), order: "cpu-quetta cpwb-rahim-yar-khan cpwb-multan sweet-home-quetta cpwb-lahore korangi-karachi cpi-islamabad",
			summary: "Best place for a boy of 8: Protection unit Quetta in Quetta, about 380 km away.", reason: "For at most 3 days.",
		},
		{
			what:   "boy of 12 who needs a lawyer and a school",
			search: near("PK622", needs(boy, 12, services("SHELTER", "LEGAL", "EDUCATION"))), order: "cpwb-lahore cpi-islamabad cpwb-multan sweet-home-quetta korangi-karachi cpwb-rahim-yar-khan cpu-quetta",
			summary: "Best place for a boy of 12: Protection bureau Lahore in Lahore, about 340 km away.", reason: "Gives all the services asked for.",
		},
		{
			what:   "woman of 25 who is looked for",
			search: with(near("PK617", needs(girl, 25)), func(r *shelterv1.FindPlacesRequest) { r.Security = shelterv1.Security_SECURITY_HIGH }), order: "panah-karachi",
			summary: "Lahore has no bed for a woman of 25: 2 shelters are not guarded well enough. Best place: Panah in Korangi, about 1030 km away.", reason: "Built and staffed for people who are looked for.",
		},
		{
			what:   "woman of 25 in Lahore",
			search: near("PK617", needs(girl, 25)), order: "dar-ul-aman-lahore dar-ul-aman-multan dar-ul-aman-hyderabad panah-karachi",
			summary: "Best place for a woman of 25: Dar-ul-Aman Lahore in Lahore.",
		},
		{
			what:   "woman of 25 in Lahore, now",
			search: with(near("PK617", needs(girl, 25)), urgent), order: "dar-ul-aman-multan dar-ul-aman-hyderabad panah-karachi dar-ul-aman-lahore",
			summary: "Best place for a woman of 25: Dar-ul-Aman Multan in Multan, about 340 km away.",
		},
		{
			what:   "pregnant girl of 17 in Karachi",
			search: near("PK712", needs(girl, 17, special("PREGNANCY"))), order: "panah-karachi",
			summary: "Best place for a girl of 17: Panah in Korangi.", reason: "The address is told with a confirmed placement only.",
		},
		{
			what: "boy of 16 who needs a nurse at night",
			search: with(near("PK226", needs(boy, 16)), func(r *shelterv1.FindPlacesRequest) {
				r.MedicalCover = shelterv1.Cover_COVER_ROUND_THE_CLOCK
			}), order: "cpwb-lahore",
			summary: "Quetta has no bed for a boy of 16: 2 shelters have too little medical cover. Best place: Protection bureau Lahore in Lahore, about 720 km away.",
		},
		{
			what:   "boy of 9 in Quetta, one shelter suspended, one says it is full",
			search: near("PK226", needs(boy, 9)), change: changes{"sweet-home-quetta": suspended, "cpu-quetta": full}, only: []string{"sweet-home-quetta", "cpu-quetta"},
			summary: "No place for a boy of 9: 1 shelter says that it is full and 1 shelter takes nobody in at present.",
		},
		{
			what:   "three brothers where two beds are free",
			search: near("PK628", needs(boy, 8), needs(boy, 10), needs(boy, 12)), only: []string{"cpwb-rahim-yar-khan", "korangi-karachi"},
			summary: "No place for a boy of 8, a boy of 10 and a boy of 12: 2 shelters have too few free beds.",
		},
		{
			what:   "age known only as 15 to 19",
			search: near("PK712", &custodyv1.Needs{Gender: girl, AgeFrom: 15, AgeTo: 19}), order: "dar-ul-aman-hyderabad",
			summary: "Korangi has no bed for a girl or woman of 15 to 19: 2 shelters do not take this age. Best place: Dar-ul-Aman Hyderabad in Hyderabad, about 140 km away.",
		},
		{
			what:    "an unknown gender",
			search:  near("PK712", needs("NonSpecifiedUnknown", 10)),
			summary: "No place for a child of 10: 4 shelters do not take this gender, 4 shelters take women and girls only and 3 shelters take boys only.",
		},
		{
			what:   "girl of 9, wherever",
			search: near("", needs(girl, 9)), change: changes{"korangi-karachi": free(0)}, order: "cpwb-lahore cpwb-multan cpu-quetta dar-ul-aman-lahore dar-ul-aman-multan dar-ul-aman-hyderabad",
			summary: "Best place for a girl of 9: Protection bureau Lahore in Lahore.", reason: "5 more free there after this.",
		},
		{
			what:   "girl of 9 in Multan, with only a mothers' group left",
			search: near("PK622", needs(girl, 9)), change: changes{"cpwb-multan": free(0), "dar-ul-aman-multan": vouched(time.Minute)}, only: []string{"cpwb-multan", "dar-ul-aman-multan"}, order: "dar-ul-aman-multan",
			summary: "Best place for a girl of 9: Dar-ul-Aman Multan in Multan.", reason: "In a group of mothers with children.",
		},
		{
			what:   "girl of 9 with her mother goes among mothers wherever that is best",
			search: near("PK622", needs(girl, 9, family)), only: []string{"cpwb-multan", "dar-ul-aman-multan"}, order: "dar-ul-aman-multan",
			summary: "Best place for a girl of 9: Dar-ul-Aman Multan in Multan.", reason: "3 more free there after this.",
		},
		{
			what:   "girl of 5 in a house with a group of its own for small children, and more room among mothers",
			search: near("PK617", needs(girl, 5)), change: changes{"cpwb-lahore": mothersToo}, only: []string{"cpwb-lahore"}, order: "cpwb-lahore",
			summary: "Best place for a girl of 5: Protection bureau Lahore in Lahore.", reason: "2 more free there after this.",
		},
		{
			what:   "girls of 4 and 9, of whom one finds room among mothers alone",
			search: near("PK617", needs(girl, 4), needs(girl, 9)), change: changes{"cpwb-lahore": mothersToo}, only: []string{"cpwb-lahore", "korangi-karachi"}, order: "korangi-karachi cpwb-lahore",
			summary: "Best place for a girl of 4 and a girl of 9: Korangi home in Korangi, about 1030 km away.", reason: "All 2 stay together in one group.",
		},
		{
			what:   "girl of 9 in Lahore at night, now, among mothers tonight or in a home of her own from the morning",
			search: with(near("PK617", needs(girl, 9)), urgent), change: changes{"cpwb-lahore": hours}, when: night, only: []string{"cpwb-lahore", "dar-ul-aman-multan"}, order: "dar-ul-aman-multan cpwb-lahore",
			summary: "Best place for a girl of 9: Dar-ul-Aman Multan in Multan, about 340 km away.",
		},
		{
			what:   "girl of 9 in Lahore at night, where it is let in from Monday morning",
			search: near("PK617", needs(girl, 9)), change: changes{"cpwb-lahore": hours}, when: night, only: []string{"cpwb-lahore", "cpwb-multan"}, order: "cpwb-lahore cpwb-multan",
			summary: "Best place for a girl of 9: Protection bureau Lahore in Lahore.", reason: "Lets people in again on Monday at 08:00.",
		},
		{
			what:   "girl of 9 in Lahore at night, now",
			search: with(near("PK617", needs(girl, 9)), urgent), change: changes{"cpwb-lahore": hours, "dar-ul-aman-lahore": hours}, when: night, only: []string{"cpwb-lahore", "cpwb-multan", "dar-ul-aman-lahore"}, order: "cpwb-multan cpwb-lahore dar-ul-aman-lahore",
			summary: "Best place for a girl of 9: Protection bureau Multan in Multan, about 340 km away.",
		},
		{
			what:   "girl of 9 in Lahore by day, now",
			search: with(near("PK617", needs(girl, 9)), urgent), change: changes{"cpwb-lahore": hours}, when: searchTime.Add(20 * time.Hour), only: []string{"cpwb-lahore", "cpwb-multan"}, order: "cpwb-lahore cpwb-multan",
			summary: "Best place for a girl of 9: Protection bureau Lahore in Lahore.",
		},
		{
			what:   "an empty directory",
			search: near("PK617", needs(girl, 9)), only: []string{"none"},
			summary: "There is no shelter in the directory.",
		},
	}
}
