package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"amanat.example/services/kit/codes"
)

// key names a sentence, or a part of one, in every catalogue.
type key int

const (
	// Why a place stands where it stands.
	sayParted key = iota
	sayTogether
	sayTogetherInGroups
	sayAmongMothers
	sayFresh
	sayAgeing
	sayStale
	sayHoursOld
	sayDaysOld
	sayElsewhere
	sayLanguage
	sayOtherLanguage
	sayNoServices
	sayServices
	sayHighSecurity
	sayGuarded
	saySameDistrict
	sayNeighbour
	sayDistance
	sayNothingLeft
	sayBeds
	sayOpens
	sayCourtOrder
	sayLongestStay
	sayConfidential

	// Why n shelters were left out: a clause, since several stand in one sentence. Those that end in All are for several people.
	sayOutExcluded
	sayOutSecurity
	sayOutMedical
	sayOutPsychosocial
	sayOutFamily
	sayOutGender
	sayOutGenderAll
	sayOutBoysOnly
	sayOutGirlsOnly
	sayOutMenOnly
	sayOutWomenOnly
	sayOutAge
	sayOutAgeAll
	sayOutWithMother
	sayOutSteps
	sayOutSpecialNeeds
	sayOutUnheard
	sayOutSuspended
	sayOutDeclaredFull
	sayOutFull
	sayOutFullAll

	// What a worker reads first.
	sayNoShelter
	sayNoPlace
	sayNoPlaceElsewhere
	sayBest
	sayBestNoShelter
	sayBestNoBed
	sayWhere
	sayWhereFar
	sayWhereParted
	sayWhereFarParted

	// Who is looked for, as it stands in "a place for {who}"; of an age, then of an age known only within bounds.
	sayFamily
	sayPeople
	sayPerson
	sayChild
	sayGirl
	sayBoy
	sayWoman
	sayMan
	sayGirlOrWoman
	sayBoyOrMan
	sayPersonBetween
	sayChildBetween
	sayGirlBetween
	sayBoyBetween
	sayWomanBetween
	sayManBetween
	sayGirlOrWomanBetween
	sayBoyOrManBetween

	// Days, as they stand in "on {day}", in the order of the week.
	sayMonday
	sayTuesday
	sayWednesday
	sayThursday
	sayFriday
	saySaturday
	saySunday

	// How a list is joined.
	sayComma
	sayAnd

	keys
)

// between is how far the sentence for an age within bounds stands from that for an age.
const between = sayPersonBetween - sayPerson

// phrase is a sentence in one language, with its arguments as {name}. One is said where {n} is 1, as English, Urdu and Sindhi
// divide numbers (CLDR); empty where it is said as of many.
type phrase struct{ one, many string }

// catalogue is all that is said in one language.
type catalogue [keys]phrase

// always is a phrase that does not depend on a number.
func always(text string) phrase { return phrase{many: text} }

// args are what can stand in a sentence.
type args struct {
	n, of, to, km, groups                                                      int32
	who, place, district, province, why, where, languages, services, day, time string
}

// arguments are their names, as the phrases have them.
var arguments = []string{"n", "of", "to", "km", "groups", "who", "place", "district", "province", "why", "where", "languages", "services", "day", "time"}

// value is the argument of that position.
func (a *args) value(argument int) string {
	switch arguments[argument] {
	case "n":
		return strconv.Itoa(int(a.n))
	case "of":
		return strconv.Itoa(int(a.of))
	case "to":
		return strconv.Itoa(int(a.to))
	case "km":
		return strconv.Itoa(int(a.km))
	case "groups":
		return strconv.Itoa(int(a.groups))
	case "who":
		return a.who
	case "place":
		return a.place
	case "district":
		return a.district
	case "province":
		return a.province
	case "why":
		return a.why
	case "where":
		return a.where
	case "languages":
		return a.languages
	case "services":
		return a.services
	case "day":
		return a.day
	case "time":
		return a.time
	}
	return ""
}

// text is a phrase taken apart: what is fixed, and the arguments between.
type text struct {
	fixed  []string
	values []int
}

// tongue is a language that answers are given in.
type tongue struct {
	lang codes.Lang
	one  [keys]text
	many [keys]text
	// districts that are written otherwise where something is in them than where they are named.
	districts map[string]string
}

var tongues = map[codes.Lang]*tongue{
	codes.English: speak(codes.English, english, nil),
	codes.Urdu:    speak(codes.Urdu, urdu, nil),
	codes.Sindhi:  speak(codes.Sindhi, sindhi, sindhiDistricts),
}

// tongueOf is the language asked for, else English.
func tongueOf(code string) *tongue {
	if lang, ok := codes.LangOf(code); ok {
		return tongues[lang]
	}
	return tongues[codes.English]
}

func speak(lang codes.Lang, all catalogue, districts map[string]string) *tongue {
	t := &tongue{lang: lang, districts: districts}
	for k, p := range all {
		t.many[k] = apart(p.many)
		if t.one[k] = t.many[k]; p.one != "" {
			t.one[k] = apart(p.one)
		}
	}
	return t
}

// apart takes a phrase apart. A name that is no argument's is a fault of a catalogue, which the start of the program finds.
func apart(phrase string) (t text) {
	for {
		before, rest, more := strings.Cut(phrase, "{")
		t.fixed = append(t.fixed, before)
		if !more {
			return t
		}
		name, after, _ := strings.Cut(rest, "}")
		value := slices.Index(arguments, name)
		if value < 0 {
			panic(fmt.Sprintf("rules: {%s} in a sentence is no argument", name))
		}
		t.values, phrase = append(t.values, value), after
	}
}

// say puts arguments into a sentence.
func (t *tongue) say(k key, a args) string {
	said := &t.many[k]
	if a.n == 1 {
		said = &t.one[k]
	}
	if len(said.values) == 0 {
		return said.fixed[0]
	}
	var b []byte
	for i, value := range said.values {
		b = append(b, said.fixed[i]...)
		b = append(b, a.value(value)...)
	}
	return string(append(b, said.fixed[len(said.values)]...))
}

// listed joins as people do: a, b and c.
func (t *tongue) listed(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	last := len(all) - 1
	return strings.Join(all[:last], t.say(sayComma, args{})) + t.say(sayAnd, args{}) + all[last]
}

// enumerated joins what is only named, one after the other.
func (t *tongue) enumerated(all []string) string { return strings.Join(all, t.say(sayComma, args{})) }

// district is the name of a district, as it stands in a sentence.
func (t *tongue) district(code string) string {
	if name, ok := t.districts[code]; ok {
		return name
	}
	return codes.Label(codes.District, code, t.lang)
}
