package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
)

// What speaks for a place or against it.
const (
	BecauseFresh         = "CLAIM_FRESH"
	BecauseAgeing        = "CLAIM_AGEING"
	BecauseStale         = "CLAIM_STALE"
	BecauseBeds          = "BEDS"
	BecauseTogether      = "TOGETHER"
	BecauseParted        = "PARTED"
	BecauseLanguage      = "LANGUAGE_SHARED"
	BecauseOtherLanguage = "LANGUAGE_OTHER"
	BecauseServices      = "SERVICES_GIVEN"
	BecauseNoServices    = "SERVICES_MISSING"
	BecauseSecurity      = "SECURITY"
	BecauseDistance      = "DISTANCE"
	BecauseCourtOrder    = "COURT_ORDER"
	BecauseLongestStay   = "LONGEST_STAY"
	BecauseConfidential  = "LOCATION_CONFIDENTIAL"
)

// answer puts what was found into words.
func (f *finder) answer() *shelterv1.FindPlacesResponse {
	r := &shelterv1.FindPlacesResponse{TotalSize: f.total}
	for i := range f.hits {
		r.Places = append(r.Places, f.place(&f.hits[i]))
	}
	for _, why := range sortedOuts(f.out, func(o *outs) int32 { return o.all }) {
		r.LeftOut = append(r.LeftOut, &shelterv1.LeftOut{Code: why.code, Sentence: f.leftOut(why, f.out[why].all), Count: f.out[why].all})
	}
	r.Summary = f.summary()
	return r
}

func (f *finder) place(h *hit) *shelterv1.Place {
	p := &shelterv1.Place{
		Shelter: h.site.name, DisplayName: h.site.displayName, District: h.site.district, Node: h.site.node,
		Freshness: shelterv1.Freshness_FRESHNESS_FRESH + shelterv1.Freshness(h.fresh),
	}
	for g, b := range h.site.beds {
		if n := quantity(h.kind.kind.shelter.GetGroups()[g], h.in(g)); n > 0 {
			taken := &shelterv1.PlaceGroup{Group: b.name, Quantity: n, Available: b.free}
			for person, goes := range h.goes {
				if goes == int16(g) {
					taken.People = append(taken.People, int32(person))
				}
			}
			p.Groups = append(p.Groups, taken)
		}
	}
	if tens := f.tensTo(h.site.district); tens != unknown {
		km := tens * 10
		p.DistanceKm = &km
	}
	p.Reasons = f.reasons(h, p)
	return p
}

// tensTo is the distance from the district asked for in tens of kilometres, so that no shelter's location shows in it.
func (f *finder) tensTo(district string) int32 {
	if km, known := codes.Distance(f.request.GetNearDistrict(), district); known {
		return min((km+5)/10, unknown-1)
	}
	return unknown
}

func (f *finder) reasons(h *hit, p *shelterv1.Place) (all []*shelterv1.PlaceReason) {
	s := h.kind.kind.shelter
	say := func(code, format string, values ...any) {
		all = append(all, &shelterv1.PlaceReason{Code: code, Sentence: fmt.Sprintf(format, values...)})
	}
	switch n := len(f.people); {
	case h.placed < n:
		say(BecauseParted, "Takes %d of the %d.", h.placed, n)
	case n > 1 && len(p.GetGroups()) == 1:
		say(BecauseTogether, "All %d stay together in one group.", n)
	case n > 1:
		say(BecauseTogether, "All %d stay in this shelter, in %d groups.", n, len(p.GetGroups()))
	}
	switch p.GetFreshness() {
	case shelterv1.Freshness_FRESHNESS_FRESH:
		say(BecauseFresh, "Its beds were vouched for in the last 2 hours.")
	case shelterv1.Freshness_FRESHNESS_AGEING:
		say(BecauseAgeing, "Its beds were vouched for 2 to 8 hours ago.")
	default:
		say(BecauseStale, "Nobody has vouched for its beds for 8 hours. Call before you send anybody.")
	}
	if slices.ContainsFunc(f.people, func(n *custodyv1.Needs) bool { return len(n.GetLanguages()) > 0 }) {
		if h.kind.shared {
			say(BecauseLanguage, "%s spoken there.", isAre(f.sharedLanguages(s)))
		} else {
			say(BecauseOtherLanguage, "Not everybody finds a language of theirs spoken there.")
		}
	}
	switch {
	case len(h.kind.missing) > 0:
		say(BecauseNoServices, "Does not give: %s.", strings.ToLower(strings.Join(labels(codes.Service, h.kind.missing), ", ")))
	case len(f.services) > 0:
		say(BecauseServices, "Gives all the services asked for.")
	}
	switch s.GetSecurity() {
	case shelterv1.Security_SECURITY_HIGH:
		say(BecauseSecurity, "Built and staffed for people who are looked for.")
	case shelterv1.Security_SECURITY_GUARDED:
		say(BecauseSecurity, "The door is watched day and night.")
	}
	if p.DistanceKm != nil {
		if p.GetDistrict() == f.request.GetNearDistrict() {
			say(BecauseDistance, "In the same district.")
		} else {
			say(BecauseDistance, "About %d km away, from district to district.", p.GetDistanceKm())
		}
	}
	if h.left == 0 {
		say(BecauseBeds, "Nothing stays free there after this.")
	} else {
		say(BecauseBeds, "%d more free there after this.", h.left)
	}
	if s.GetCourtOrderRequired() {
		say(BecauseCourtOrder, "A court's order is needed.")
	}
	if days := s.GetLongestStayDays(); days > 0 {
		say(BecauseLongestStay, "For at most %s.", counted(days, "day", "days"))
	}
	if h.site.confidential {
		say(BecauseConfidential, "The address is told with a confirmed placement only.")
	}
	return all
}

func (f *finder) sharedLanguages(s *shelterv1.Shelter) (shared []string) {
	for _, n := range f.people {
		for _, l := range n.GetLanguages() {
			if label := codes.Label(codes.Language, l, codes.English); slices.Contains(s.GetLanguages(), l) && !slices.Contains(shared, label) {
				shared = append(shared, label)
			}
		}
	}
	return shared
}

func isAre(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return listed(names) + " are"
}

func labels(list codes.List, all []string) (shown []string) {
	for _, code := range all {
		shown = append(shown, codes.Label(list, code, codes.English))
	}
	return shown
}

// summary is what a worker reads first.
func (f *finder) summary() string {
	who, district := f.who(), ""
	if near := f.request.GetNearDistrict(); near != "" {
		district = codes.Label(codes.District, near, codes.English)
	}
	switch {
	case f.shelters == 0:
		return "There is no shelter in the directory."
	case f.total == 0 && district != "" && f.sheltersNear == 0:
		return fmt.Sprintf("No place for %s. %s has no shelter; elsewhere %s.", who, district, f.whyNot(func(o *outs) int32 { return o.all }))
	case f.total == 0:
		return fmt.Sprintf("No place for %s: %s.", who, f.whyNot(func(o *outs) int32 { return o.all }))
	}
	best := f.hits[0].site
	where := fmt.Sprintf("%s in %s", best.displayName, codes.Label(codes.District, best.district, codes.English))
	if tens := f.tensTo(best.district); tens != unknown && best.district != f.request.GetNearDistrict() {
		where += fmt.Sprintf(", about %d km away", tens*10)
	}
	if f.hits[0].placed < len(f.people) {
		where += fmt.Sprintf(", for %d of %d", f.hits[0].placed, len(f.people))
	}
	switch {
	case district == "" || f.totalNear > 0:
		return fmt.Sprintf("Best place for %s: %s.", who, where)
	case f.sheltersNear == 0:
		return fmt.Sprintf("%s has no shelter. Best place for %s: %s.", district, who, where)
	}
	return fmt.Sprintf("%s has no bed for %s: %s. Best place: %s.", district, who, f.whyNot(func(o *outs) int32 { return o.near }), where)
}

// who are the people, in a few words.
func (f *finder) who() string {
	if len(f.people) > 3 {
		if slices.ContainsFunc(f.people, (*custodyv1.Needs).GetWithMother) {
			return fmt.Sprintf("a family of %d", len(f.people))
		}
		return fmt.Sprintf("%d people", len(f.people))
	}
	var all []string
	for _, n := range f.people {
		noun := "person"
		switch child := n.GetAgeTo() < 18; {
		case n.GetAgeFrom() < 18 && !child && n.GetGender() == codes.GenderFeminine:
			noun = "girl or woman"
		case n.GetAgeFrom() < 18 && !child && n.GetGender() == codes.GenderMasculine:
			noun = "boy or man"
		case n.GetGender() == codes.GenderFeminine && child:
			noun = "girl"
		case n.GetGender() == codes.GenderFeminine:
			noun = "woman"
		case n.GetGender() == codes.GenderMasculine && child:
			noun = "boy"
		case n.GetGender() == codes.GenderMasculine:
			noun = "man"
		case child:
			noun = "child"
		}
		age := fmt.Sprint(n.GetAgeFrom())
		if n.GetAgeTo() != n.GetAgeFrom() {
			age += fmt.Sprintf(" to %d", n.GetAgeTo())
		}
		all = append(all, fmt.Sprintf("a %s of %s", noun, age))
	}
	return listed(all)
}

// whyNot lists why shelters were left out, the commonest first.
func (f *finder) whyNot(of func(*outs) int32) string {
	var all []string
	for _, why := range sortedOuts(f.out, of) {
		all = append(all, f.leftOut(why, of(f.out[why])))
	}
	return listed(all)
}

// sortedOuts are the reasons that count, the commonest first, then in order of code.
func sortedOuts(all map[out]*outs, of func(*outs) int32) (sorted []out) {
	for why, o := range all {
		if of(o) > 0 {
			sorted = append(sorted, why)
		}
	}
	slices.SortFunc(sorted, func(a, b out) int {
		return cmp.Or(cmp.Compare(of(all[b]), of(all[a])), strings.Compare(a.code, b.code), strings.Compare(a.takes, b.takes))
	})
	return sorted
}

// leftOut says of n shelters why they were left out, such as "2 shelters take boys only".
func (f *finder) leftOut(why out, n int32) string {
	one, many := "", ""
	several := len(f.people) > 1
	switch why.code {
	case OutExcluded:
		one, many = "lies in a district to keep away from", "lie in districts to keep away from"
	case OutSecurity:
		one, many = "is not guarded well enough", "are not guarded well enough"
	case OutMedical:
		one, many = "has too little medical cover", "have too little medical cover"
	case OutPsychosocial:
		one, many = "has too little psychosocial cover", "have too little psychosocial cover"
	case OutFamily:
		one, many = "does not take so many of one family", "do not take so many of one family"
	case OutGender:
		one, many = "does not take this gender", "do not take this gender"
		if several {
			one, many = "does not take all these genders", "do not take all these genders"
		}
		if why.takes != "" {
			one, many = "takes "+why.takes, "take "+why.takes
		}
	case OutAge:
		one, many = "does not take this age", "do not take this age"
		if several {
			one, many = "does not take all these ages", "do not take all these ages"
		}
	case OutWithMother:
		one, many = "does not take mothers with children", "do not take mothers with children"
	case OutSteps:
		one, many = "has steps", "have steps"
	case OutSpecialNeeds:
		one, many = "is not equipped for these needs", "are not equipped for these needs"
	case OutSuspended:
		one, many = "takes nobody in at present", "take nobody in at present"
	case OutDeclaredFull:
		one, many = "says that it is full", "say that they are full"
	case OutFull:
		one, many = "is full", "are full"
		if several {
			one, many = "has too few free beds", "have too few free beds"
		}
	}
	if n == 1 {
		return "1 shelter " + one
	}
	return fmt.Sprintf("%d shelters %s", n, many)
}

func counted(n int32, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// listed joins as people do: a, b and c.
func listed(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
