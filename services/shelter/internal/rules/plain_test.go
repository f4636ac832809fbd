package rules_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/zone"
	"amanat.example/services/shelter/internal/rules"
)

// plain is a search as one would write it who has all day: it looks at every shelter, keeps nothing, and counts as it goes. What a
// search answers in English is held against it.
type plain struct {
	request *shelterv1.FindPlacesRequest
	people  []*custodyv1.Needs
	now     time.Time

	found    []plainPlace
	leftOut  map[plainOut]int32
	nearOut  map[plainOut]int32
	all      int
	near     int
	nearHits int
}

type plainOut struct{ code, takes string }

// plainPlace is a place and what it is ranked by, the smallest first.
type plainPlace struct {
	candidate rules.Candidate
	goes      []int // by person: position of the group; -1: nowhere
	placed    int
	left      int32
	class     int
	among     bool
	rank      []int
}

func plainFind(candidates map[string]rules.Candidate, request *shelterv1.FindPlacesRequest, now time.Time) *shelterv1.FindPlacesResponse {
	p := &plain{request: request, people: request.GetPeople(), now: now, leftOut: map[plainOut]int32{}, nearOut: map[plainOut]int32{}}
	for _, c := range candidates {
		p.all++
		near := c.Shelter.GetDistrict() == request.GetNearDistrict()
		if near {
			p.near++
		}
		place, why := p.judge(c)
		if why.code != "" {
			p.leftOut[why]++
			if near {
				p.nearOut[why]++
			}
			continue
		}
		p.found = append(p.found, place)
		if near {
			p.nearHits++
		}
	}
	slices.SortFunc(p.found, func(a, b plainPlace) int {
		return cmp.Or(slices.Compare(a.rank, b.rank), strings.Compare(a.candidate.Shelter.GetName(), b.candidate.Shelter.GetName()))
	})
	return p.answer()
}

// judge says where the people would go in a shelter, or why it is left out.
func (p *plain) judge(c rules.Candidate) (place plainPlace, why plainOut) {
	var may []int
	for i, n := range p.people {
		away := false
		for _, district := range n.GetExcludedDistricts() {
			away = away || slices.Contains(codes.Ground(district), c.Shelter.GetDistrict())
		}
		if !away {
			may = append(may, i)
		}
	}
	if len(may) == 0 || len(may) < len(p.people) && !p.request.GetApart() {
		return place, plainOut{code: "EXCLUDED_DISTRICT"}
	}
	if why := p.never(c); why.code != "" {
		return place, why
	}
	may = slices.DeleteFunc(may, func(person int) bool {
		return !slices.ContainsFunc(c.Beds, func(b rules.Beds) bool { return p.fits(c, b, person) })
	})
	switch s := c.Shelter; {
	case len(may) == 0:
		return place, plainOut{code: "EXCLUDED_DISTRICT"}
	case !c.Heard.IsZero() && p.now.Sub(c.Heard) > 7*24*time.Hour:
		return place, plainOut{code: "NOT_HEARD_OF"}
	case s.GetState() == shelterv1.Shelter_STATE_SUSPENDED:
		return place, plainOut{code: "SUSPENDED"}
	case rules.Full(s, p.now):
		return place, plainOut{code: "DECLARED_FULL"}
	}
	own := p.seat(c, may, true)
	place = p.seat(c, may, false)
	if own.placed >= place.placed {
		place = own
	}
	if place.placed == 0 {
		return place, plainOut{code: "FULL"}
	}
	p.rank(&place)
	return place, plainOut{}
}

func away(n *custodyv1.Needs) *custodyv1.Needs {
	return &custodyv1.Needs{
		Gender: n.GetGender(), AgeFrom: n.GetAgeFrom(), AgeTo: n.GetAgeTo(), Wheelchair: n.GetWheelchair(), WithMother: n.GetWithMother(),
		SpecialNeeds: n.GetSpecialNeeds(),
	}
}

// fits says whether a group takes a person, wherever it is.
func (p *plain) fits(c rules.Candidate, b rules.Beds, person int) bool {
	return len(rules.Unfits(c.Shelter, b.Group, away(p.people[person]))) == 0
}

// never says why a shelter does not take the people, whatever is free.
func (p *plain) never(c rules.Candidate) plainOut {
	s := c.Shelter
	switch {
	case s.GetSecurity() < p.request.GetSecurity():
		return plainOut{code: "SECURITY"}
	case s.GetMedicalCover() < p.request.GetMedicalCover():
		return plainOut{code: "MEDICAL"}
	case s.GetPsychosocialCover() < p.request.GetPsychosocialCover():
		return plainOut{code: "PSYCHOSOCIAL"}
	case !p.request.GetApart() && s.GetLargestFamily() > 0 && len(p.people) > int(s.GetLargestFamily()):
		return plainOut{code: "FAMILY_TOO_LARGE"}
	}
	order := []string{"gender", "age", "with_mother", "wheelchair", "special_needs"}
	worst, anybody := len(order), false
	for person, n := range p.people {
		best := 0
		for _, b := range c.Beds {
			first := len(order)
			if why := rules.Unfits(s, b.Group, away(n)); len(why) > 0 {
				first = slices.Index(order, why[0].Need)
			}
			best = max(best, first)
		}
		anybody = anybody || slices.ContainsFunc(c.Beds, func(b rules.Beds) bool { return p.fits(c, b, person) })
		worst = min(worst, best)
	}
	if worst == len(order) || p.request.GetApart() && anybody {
		return plainOut{}
	}
	if worst == 0 {
		return plainOut{"GENDER", plainTakes(c)}
	}
	return plainOut{code: []string{"", "AGE", "WITH_MOTHER", "STEPS", "SPECIAL_NEEDS"}[worst]}
}

func plainTakes(c rules.Candidate) string {
	genders, oldest := map[string]bool{}, int32(0)
	for _, b := range c.Beds {
		for _, g := range b.Group.GetGenders() {
			genders[g] = true
		}
		oldest = max(oldest, b.Group.GetAgeTo())
	}
	switch young := oldest <= 18; {
	case len(genders) != 1:
	case genders["Masculine"] && young:
		return "boys only"
	case genders["Masculine"]:
		return "men and boys only"
	case genders["Feminine"] && young:
		return "girls only"
	case genders["Feminine"]:
		return "women and girls only"
	}
	return ""
}

func (p *plain) class(c rules.Candidate, b rules.Beds) int {
	claimed := b.Group.GetVouchTime()
	if claimed != nil && !c.Heard.IsZero() && c.Heard.Before(claimed.AsTime()) {
		claimed = timestamppb.New(c.Heard)
	}
	return int(rules.Fresh(claimed, p.now)) - 1
}

// age is how old the oldest claim of a place is; not known where nobody ever made one.
func (p *plain) age(place plainPlace) (age time.Duration, known bool) {
	known = true
	for g, b := range place.candidate.Beds {
		if place.in(g) == 0 {
			continue
		}
		if b.Group.GetVouchTime() == nil {
			known = false
			continue
		}
		age = max(age, p.now.Sub(b.Group.GetVouchTime().AsTime()), p.now.Sub(place.candidate.Heard))
	}
	return age, known
}

func alone(n *custodyv1.Needs) bool { return n.GetAgeTo() < 18 && !n.GetWithMother() }

// seat puts people into groups; of their own: children that come alone not among mothers.
func (p *plain) seat(c rules.Candidate, may []int, own bool) plainPlace {
	place := plainPlace{candidate: c, goes: make([]int, len(p.people))}
	for i := range place.goes {
		place.goes[i] = -1
	}
	takes := func(group, person int) bool {
		return p.fits(c, c.Beds[group], person) && !(own && c.Beds[group].Group.GetWithMother() && alone(p.people[person]))
	}
	var groups []int
	for g := range c.Beds {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b int) int {
		x, y := c.Beds[a], c.Beds[b]
		return cmp.Or(cmp.Compare(p.class(c, x), p.class(c, y)), cmp.Compare(y.Free, x.Free), strings.Compare(x.Group.GetName(), y.Group.GetName()))
	})
	for _, g := range groups {
		if slices.ContainsFunc(may, func(person int) bool { return !takes(g, person) }) || units(c.Beds[g], len(may)) > c.Beds[g].Free {
			continue
		}
		for _, person := range may {
			place.goes[person] = g
		}
		place.placed = len(may)
		return place
	}
	for _, person := range may {
		seen := map[int]bool{}
		var sit func(int) bool
		sit = func(person int) bool {
			for _, g := range groups {
				if seen[g] || !takes(g, person) || c.Beds[g].Free <= 0 {
					continue
				}
				seen[g] = true
				if units(c.Beds[g], place.in(g)+1) <= c.Beds[g].Free {
					place.goes[person] = g
					return true
				}
				for other, at := range place.goes {
					if at == g && sit(other) {
						place.goes[person] = g
						return true
					}
				}
			}
			return false
		}
		if sit(person) {
			place.placed++
		} else if !p.request.GetApart() {
			place.placed = 0
			return place
		}
	}
	return place
}

func (p plainPlace) in(group int) (n int) {
	for _, g := range p.goes {
		if g == group {
			n++
		}
	}
	return n
}

func units(b rules.Beds, people int) int32 {
	if b.Group.GetUnitKind() == shelterv1.Group_UNIT_KIND_FAMILY_UNIT {
		return min(int32(people), 1)
	}
	return int32(people)
}

// rank puts into numbers what a worker would weigh, in that order.
func (p *plain) rank(place *plainPlace) {
	c, s := place.candidate, place.candidate.Shelter
	for g, b := range c.Beds {
		if place.in(g) == 0 {
			continue
		}
		place.left += b.Free - units(b, place.in(g))
		place.class = max(place.class, p.class(c, b))
		for person, at := range place.goes {
			place.among = place.among || at == g && b.Group.GetWithMother() && alone(p.people[person])
		}
	}
	_, closed := opensAgain(s, p.now)
	urgent := p.request.GetUrgent()
	soft := 0
	if !p.speaks(s) {
		soft += 64
	}
	soft += 4 * len(p.missing(s))
	if p.request.GetSecurity() != shelterv1.Security_SECURITY_UNSPECIFIED {
		soft += int(shelterv1.Security_SECURITY_HIGH - s.GetSecurity())
	}
	far := 511
	if km, known := p.km(s); known {
		far = int(km) / 10
	}
	place.rank = []int{len(p.people) - place.placed, one(urgent && closed), one(urgent && s.GetCourtOrderRequired()), one(place.among), place.class}
	if urgent {
		place.rank = append(place.rank, far, soft)
	} else {
		place.rank = append(place.rank, soft, far)
	}
	place.rank = append(place.rank, int(-min(place.left, 4095)))
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// km is the distance to the nearest ten.
func (p *plain) km(s *shelterv1.Shelter) (int32, bool) {
	km, known := codes.Distance(p.request.GetNearDistrict(), s.GetDistrict())
	return (km + 5) / 10 * 10, known
}

func (p *plain) speaks(s *shelterv1.Shelter) bool {
	for _, n := range p.people {
		if len(n.GetLanguages()) > 0 && !slices.ContainsFunc(n.GetLanguages(), func(l string) bool { return slices.Contains(s.GetLanguages(), l) }) {
			return false
		}
	}
	return true
}

// missing are the services asked for that a shelter does not give.
func (p *plain) missing(s *shelterv1.Shelter) (all []string) {
	for _, service := range p.services() {
		if !slices.Contains(s.GetServices(), service) {
			all = append(all, service)
		}
	}
	return all
}

func (p *plain) services() (all []string) {
	for _, n := range p.people {
		for _, service := range n.GetServices() {
			if service != "SHELTER" && !slices.Contains(all, service) {
				all = append(all, service)
			}
		}
	}
	return all
}

// opensAgain goes through the minutes of a week.
func opensAgain(s *shelterv1.Shelter, now time.Time) (when time.Time, closed bool) {
	for minute := range 7*24*60 + 1 {
		when = now.In(zone.Karachi).Truncate(time.Minute).Add(time.Duration(minute) * time.Minute)
		open := len(s.GetSchedule()) == 0
		for _, o := range s.GetSchedule() {
			at := when.Format("15:04")
			open = open || int(o.GetWeekday())%7 == int(when.Weekday()) && o.GetOpens() <= at && at < o.GetCloses()
		}
		if open {
			return when, minute > 0
		}
	}
	return when, true
}

func (p *plain) answer() *shelterv1.FindPlacesResponse {
	r := &shelterv1.FindPlacesResponse{TotalSize: int32(len(p.found)), Summary: p.summary()}
	limit := int(p.request.GetPageSize())
	if limit == 0 {
		limit = rules.UsualPlaces
	}
	for _, place := range p.found[:min(limit, len(p.found))] {
		r.Places = append(r.Places, p.place(place))
	}
	for _, why := range commonest(p.leftOut) {
		r.LeftOut = append(r.LeftOut, &shelterv1.LeftOut{Code: why.code, Sentence: p.say(why, p.leftOut[why]), Count: p.leftOut[why]})
	}
	return r
}

func (p *plain) place(place plainPlace) *shelterv1.Place {
	c, s := place.candidate, place.candidate.Shelter
	shown := &shelterv1.Place{
		Shelter: s.GetName(), DisplayName: s.GetDisplayName(), District: s.GetDistrict(), Node: c.Node,
		Freshness: shelterv1.Freshness(place.class + 1),
	}
	for g, b := range c.Beds {
		if place.in(g) == 0 {
			continue
		}
		group := &shelterv1.PlaceGroup{Group: b.Group.GetName(), Quantity: units(b, place.in(g)), Available: b.Free}
		for person, at := range place.goes {
			if at == g {
				group.People = append(group.People, int32(person))
			}
		}
		shown.Groups = append(shown.Groups, group)
	}
	if km, known := p.km(s); known {
		shown.DistanceKm = &km
	}
	shown.Reasons = p.reasons(place, len(shown.GetGroups()))
	return shown
}

func (p *plain) reasons(place plainPlace, groups int) (all []*shelterv1.PlaceReason) {
	s := place.candidate.Shelter
	add := func(is bool, code, sentence string, values ...any) {
		if is {
			all = append(all, &shelterv1.PlaceReason{Code: code, Sentence: fmt.Sprintf(sentence, values...)})
		}
	}
	n, whole := len(p.people), place.placed == len(p.people)
	add(!whole, "PARTED", "Takes %d of the %d.", place.placed, n)
	add(whole && n > 1 && groups == 1, "TOGETHER", "All %d stay together in one group.", n)
	add(whole && n > 1 && groups > 1, "TOGETHER", "All %d stay in this shelter, in %d groups.", n, groups)
	add(place.among, "AMONG_MOTHERS", "In a group of mothers with children.")
	add(place.class == 0, "CLAIM_FRESH", "Its beds were vouched for in the last 2 hours.")
	add(place.class == 1, "CLAIM_AGEING", "Its beds were vouched for 2 to 8 hours ago.")
	add(place.class == 2, "CLAIM_STALE", "Nobody has vouched for its beds for 8 hours. Call before you send anybody.")
	if !place.candidate.Heard.IsZero() {
		age, known := p.age(place)
		days := int(age.Hours()) / 24
		add(place.class > 0 && known && days < 2, "CLAIM_AGE", "What is known of it is %d hours old.", int(age.Hours()))
		add(place.class > 0 && known && days >= 2, "CLAIM_AGE", "What is known of it is %d days old.", days)
		district, _ := codes.Find(codes.District, s.GetDistrict())
		add(true, "OTHER_NODE", "In %s's care: refer there; the bed is certain only once it is held.", codes.Label(codes.Province, district.Province, codes.English))
	}
	var spoken []string
	talks := false
	for _, n := range p.people {
		for _, l := range n.GetLanguages() {
			talks = true
			if label := codes.Label(codes.Language, l, codes.English); slices.Contains(s.GetLanguages(), l) && !slices.Contains(spoken, label) {
				spoken = append(spoken, label)
			}
		}
	}
	add(talks && p.speaks(s) && len(spoken) == 1, "LANGUAGE_SHARED", "%s is spoken there.", and(spoken))
	add(talks && p.speaks(s) && len(spoken) > 1, "LANGUAGE_SHARED", "%s are spoken there.", and(spoken))
	add(talks && !p.speaks(s), "LANGUAGE_OTHER", "Not everybody finds a language of theirs spoken there.")
	var missing []string
	for _, service := range p.missing(s) {
		missing = append(missing, strings.ToLower(codes.Label(codes.Service, service, codes.English)))
	}
	add(len(missing) > 0, "SERVICES_MISSING", "Does not give: %s.", strings.Join(missing, ", "))
	add(len(missing) == 0 && len(p.services()) > 0, "SERVICES_GIVEN", "Gives all the services asked for.")
	add(s.GetSecurity() == shelterv1.Security_SECURITY_HIGH, "SECURITY", "Built and staffed for people who are looked for.")
	add(s.GetSecurity() == shelterv1.Security_SECURITY_GUARDED, "SECURITY", "The door is watched day and night.")
	km, known := p.km(s)
	here := s.GetDistrict() == p.request.GetNearDistrict()
	add(known && here, "DISTANCE", "In the same district.")
	add(known && !here && km == 0, "DISTANCE", "In a neighbouring district.")
	add(known && !here && km > 0, "DISTANCE", "About %d km away, from district to district.", km)
	add(place.left == 0, "BEDS", "Nothing stays free there after this.")
	add(place.left > 0, "BEDS", "%d more free there after this.", place.left)
	opens, closed := opensAgain(s, p.now)
	add(closed, "CLOSED_NOW", "Lets people in again on %s.", opens.Format("Monday at 15:04"))
	add(s.GetCourtOrderRequired(), "COURT_ORDER", "A court's order is needed.")
	add(s.GetLongestStayDays() == 1, "LONGEST_STAY", "For at most 1 day.")
	add(s.GetLongestStayDays() > 1, "LONGEST_STAY", "For at most %d days.", s.GetLongestStayDays())
	add(s.GetConfidential(), "LOCATION_CONFIDENTIAL", "The address is told with a confirmed placement only.")
	return all
}

func and(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

func commonest(counts map[plainOut]int32) (all []plainOut) {
	for why := range counts {
		all = append(all, why)
	}
	slices.SortFunc(all, func(a, b plainOut) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a.code, b.code), strings.Compare(a.takes, b.takes))
	})
	return all
}
