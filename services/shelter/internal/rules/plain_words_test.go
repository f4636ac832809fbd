package rules_test

import (
	"fmt"
	"strings"

	"amanat.example/services/kit/codes"
)

// summary is what a worker reads first.
func (p *plain) summary() string {
	near, who := p.request.GetNearDistrict(), p.who()
	district := codes.Label(codes.District, near, codes.English)
	if near == "" {
		district = ""
	}
	switch {
	case p.all == 0:
		return "There is no shelter in the directory."
	case len(p.found) == 0 && district != "" && p.near == 0:
		return fmt.Sprintf("No place for %s. %s has no shelter; elsewhere %s.", who, district, p.whyNot(p.leftOut))
	case len(p.found) == 0:
		return fmt.Sprintf("No place for %s: %s.", who, p.whyNot(p.leftOut))
	}
	best := p.found[0]
	where := best.candidate.Shelter.GetDisplayName() + " in " + codes.Label(codes.District, best.candidate.Shelter.GetDistrict(), codes.English)
	if km, known := p.km(best.candidate.Shelter); known && km > 0 {
		where += fmt.Sprintf(", about %d km away", km)
	}
	if best.placed < len(p.people) {
		where += fmt.Sprintf(", for %d of %d", best.placed, len(p.people))
	}
	switch {
	case district == "" || p.nearHits > 0:
		return fmt.Sprintf("Best place for %s: %s.", who, where)
	case p.near == 0:
		return fmt.Sprintf("%s has no shelter. Best place for %s: %s.", district, who, where)
	}
	return fmt.Sprintf("%s has no bed for %s: %s. Best place: %s.", district, who, p.whyNot(p.nearOut), where)
}

func (p *plain) whyNot(counts map[plainOut]int32) string {
	var all []string
	for _, why := range commonest(counts) {
		all = append(all, p.say(why, counts[why]))
	}
	return and(all)
}

// who are the people.
func (p *plain) who() string {
	if len(p.people) > 3 {
		for _, n := range p.people {
			if n.GetWithMother() {
				return fmt.Sprintf("a family of %d", len(p.people))
			}
		}
		return fmt.Sprintf("%d people", len(p.people))
	}
	var all []string
	for _, n := range p.people {
		words := map[string][3]string{"Feminine": {"girl", "girl or woman", "woman"}, "Masculine": {"boy", "boy or man", "man"}}[n.GetGender()]
		if words[0] == "" {
			words = [3]string{"child", "person", "person"}
		}
		word, age := words[2], fmt.Sprint(n.GetAgeFrom())
		if n.GetAgeFrom() < 18 {
			word = words[1]
		}
		if n.GetAgeTo() < 18 {
			word = words[0]
		}
		if n.GetAgeTo() != n.GetAgeFrom() {
			age += fmt.Sprintf(" to %d", n.GetAgeTo())
		}
		all = append(all, "a "+word+" of "+age)
	}
	return and(all)
}

// plainClauses are written for one shelter and for several, by reason; a second pair where several people are looked for.
var plainClauses = map[string][]string{
	"EXCLUDED_DISTRICT": {"lies in a district to keep away from", "lie in districts to keep away from"},
	"SECURITY":          {"is not guarded well enough", "are not guarded well enough"},
	"MEDICAL":           {"has too little medical cover", "have too little medical cover"},
	"PSYCHOSOCIAL":      {"has too little psychosocial cover", "have too little psychosocial cover"},
	"FAMILY_TOO_LARGE":  {"does not take so many of one family", "do not take so many of one family"},
	"GENDER":            {"does not take this gender", "do not take this gender", "does not take all these genders", "do not take all these genders"},
	"AGE":               {"does not take this age", "do not take this age", "does not take all these ages", "do not take all these ages"},
	"WITH_MOTHER":       {"does not take mothers with children", "do not take mothers with children"},
	"STEPS":             {"has steps", "have steps"},
	"SPECIAL_NEEDS":     {"is not equipped for these needs", "are not equipped for these needs"},
	"NOT_HEARD_OF":      {"has not been heard of for a week", "have not been heard of for a week"},
	"SUSPENDED":         {"takes nobody in at present", "take nobody in at present"},
	"DECLARED_FULL":     {"says that it is full", "say that they are full"},
	"FULL":              {"is full", "are full", "has too few free beds", "have too few free beds"},
}

func (p *plain) say(why plainOut, n int32) string {
	clauses := plainClauses[why.code]
	if why.takes != "" {
		clauses = []string{"takes " + why.takes, "take " + why.takes}
	}
	if len(p.people) > 1 && len(clauses) > 2 {
		clauses = clauses[2:]
	}
	if n == 1 {
		return "1 shelter " + clauses[0]
	}
	return strings.Join([]string{fmt.Sprint(n), "shelters", clauses[1]}, " ")
}
