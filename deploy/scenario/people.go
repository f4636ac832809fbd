package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/zone"
)

// Shares that no figure gives.
const (
	registered  = 0.30 // children with a B-Form
	carded      = 0.55 // women with a CNIC
	dayKnown    = 0.30 // the day of birth is known
	ageKnown    = 0.35 // the age is; of all others it is estimated
	withCaste   = 0.45
	foundAtHome = 0.70 // found in the district that they live in
)

// Scripts that a worker writes in.
const (
	roman = iota
	urdu
	sindhi
)

// scripts by province: Urdu letters in Punjab and Balochistan, Sindhi ones in part of Sindh, roman ones everywhere. Assumed.
var scripts = map[string][]float64{"punjab": {0.55, 0.45, 0}, "balochistan": {0.60, 0.40, 0}, "sindh": {0.40, 0.20, 0.40}}

// communities by province, of a hundred. Assumed, from what the census says roughly.
var communities = map[string][]weighed{
	"punjab": {{"", 97.7}, {"christian", 2.3}}, "sindh": {{"", 91}, {"hindu", 9}}, "balochistan": {{"", 100}},
}

// notable are names of people of note that the parts could make together: not made.
var notable = []string{
	"Abdul Rehman Malik", "Adnan Malik", "Ali Hassan Malik", "Allah Bakhsh Soomro", "Ayesha Malik", "Fatima Jatoi", "Ghulam Qadir Magsi", "Ghulam Rasool Jatoi",
	"Nadeem Malik", "Noor Muhammad Jatoi", "Rizwan Malik", "Tariq Malik", "Zainab Ansari", "Zubair Soomro",
}

// household is who is taken in together, the oldest first, with what they have in common.
type household struct {
	script        int
	community     string // whose names they bear
	father, caste part
	named         []part // names of their own that are given
	home          district
	languages     []string
	// standIn: a trusted adult consents for the caregiver, who is implicated or cannot be reached.
	standIn, implicated bool
	cases               []*Case
}

// place is where the household lives, as its worker writes it.
func (h *household) place() string {
	return codes.Label(codes.District, h.home.code, []codes.Lang{codes.English, codes.Urdu, codes.Sindhi}[h.script])
}

// household makes the people of a household with their cases.
func (m *maker) household(o *office, found, home district, harm, who string, size int) *household {
	h := &household{script: pick(m.chance, scripts[o.node]...), home: home, cases: make([]*Case, size)}
	h.community = draw(m.chance, communities[home.node])
	if m.chance.Float64() < withCaste || h.community == "christian" {
		h.caste = m.name("caste", h)
	}
	h.standIn = who == children && m.chance.Float64() < standingIn
	h.implicated = m.chance.Float64() < implicated
	h.father = m.given("male", h)
	h.languages = home.languages[:1:1]
	if len(home.languages) > 1 && m.chance.Float64() < 0.5 {
		h.languages = append(h.languages, home.languages[1+m.chance.IntN(len(home.languages)-1)])
	}
	k := kinds[harm]
	var exploitation []string
	if len(k.codes) > 0 {
		exploitation = []string{draw(m.chance, k.codes)}
		if strings.HasPrefix(exploitation[0], "Bonded") && who == children {
			exploitation = append(exploitation, "ChildLabour")
		}
	}
	risk := risks[pick(m.chance, k.risk[:]...)]
	narrative := synthetic[h.script] + k.tell[h.script]
	for i, age := range m.ages(k, who, size) {
		mother := who == women && i == 0
		c := &Case{Node: o.node, Kind: harm, Woman: who == women, Case: &protectionv1.Case{
			Unit: o.name, Urgency: risk, FoundDistrict: found.code, Narrative: narrative, Exploitation: exploitation,
		}}
		if who == women && !mother {
			c.Case.Exploitation = nil // it was done to the mother
		}
		girls := k.girls
		if who == women {
			girls = 0.5
		}
		c.Case.Person = m.person(h, age, mother || m.steady("girls, "+who+", "+harm, girls, 1))
		if mother {
			c.Case.Person.FatherName = m.given("male", h).written[h.script] // the household's is her husband
		}
		h.cases[i] = c
	}
	return h
}

// ages of a household, the oldest first; of a mother 18 to 50, and of children who are with her up to 11.
func (m *maker) ages(k kind, who string, size int) (all []int) {
	one := func() int { return m.triangle(k.ages[0], k.ages[1], k.ages[2]) }
	if who == women {
		mother := m.triangle(18, 24, 50)
		all, one = append(all, mother), func() int { return m.chance.IntN(min(11, mother-17) + 1) }
	}
	for len(all) < size {
		age := one()
		for tries := 0; slices.Contains(all, age) && tries < 8; tries++ { // brothers and sisters of one age are twins, and few are
			age = one()
		}
		all = append(all, age)
	}
	slices.SortFunc(all, func(a, b int) int { return b - a })
	return all
}

// triangle is a whole number between the least and the most, the usual one likeliest.
func (m *maker) triangle(least, usual, most int) int {
	at := float64(usual) + 0.5
	low, high := float64(usual-least)+0.5, float64(most-usual)+0.5
	if m.chance.Float64()*(low+high) < low {
		at -= low * abs(m.chance.Float64()-m.chance.Float64())
	} else {
		at += high * abs(m.chance.Float64()-m.chance.Float64())
	}
	return min(max(int(at), least), most)
}

func abs(x float64) float64 { return max(x, -x) }

// name is a part of names used where a household lives, and in its community.
func (m *maker) name(what string, h *household) part {
	letter := ""
	for _, p := range provinces {
		if p.node == h.home.node {
			letter = p.letter
		}
	}
	all := m.data.names[what]
	for {
		if one := all[m.chance.IntN(len(all))]; strings.Contains(one.where, letter) && one.community == h.community {
			return one
		}
	}
}

// given is a name of one's own that makes nobody of note with the household's.
func (m *maker) given(list string, h *household) part {
	for {
		if one := m.name(list, h); !slices.Contains(notable, one.written[roman]+" "+h.caste.written[roman]) {
			return one
		}
	}
}

// person is somebody of a family.
func (m *maker) person(h *household, age int, female bool) *protectionv1.Person {
	gender, list := codes.GenderMasculine, "male"
	if female {
		gender, list = codes.GenderFeminine, "female"
	}
	given := m.given(list, h)
	for given == h.father || slices.Contains(h.named, given) {
		given = m.given(list, h)
	}
	h.named = append(h.named, given)
	p := &protectionv1.Person{
		GivenName: given.written[h.script], FatherName: h.father.written[h.script], FamilyName: h.caste.written[h.script], Gender: gender,
		AgeFrom: int32(age), AgeTo: int32(age), Languages: h.languages, HomePlace: h.place(),
	}
	share := registered
	if age >= 18 {
		share = carded
	}
	if m.chance.Float64() < share {
		p.Cnic = m.identity(h.home.node, female)
	}
	return p
}

// identity is a number in the form of CNIC and B-Form: region and four more digits of the place, seven that run, one that is odd for men and even for
// women. The second digit is 9, which stands for no division of these provinces, so that it is nobody's.
func (m *maker) identity(node string, female bool) string {
	const step = 6700417 // no common factor with 10 million, so that no number comes twice
	m.serial++
	region := map[string]int{"punjab": 3, "sindh": 4, "balochistan": 5}[node]
	last := 1 + 2*m.chance.IntN(5)
	if female {
		last--
	}
	return fmt.Sprintf("%d9%03d-%07d-%d", region, m.chance.IntN(1000), m.serial*step%10_000_000, last)
}

// sinceBirthday is how many days before intake somebody of an age had their birthday, given the next older brother or sister and when that one
// had it: those of one age are twins, and all others are born nine months apart at least.
func (m *maker) sinceBirthday(age, older, olders int) int {
	const most, nineMonths = 360, 270
	switch older - age {
	case 0:
		return olders
	case 1:
		return 1 + m.chance.IntN(min(most, olders+365-nineMonths))
	}
	return 1 + m.chance.IntN(most)
}

// born says how well the age of somebody is known on the day of intake, so many days after a birthday: by the day of birth, as a number, or
// estimated.
func (m *maker) born(p *protectionv1.Person, at time.Time, since int) {
	p.AgeAsOf = m.day(at)
	age := int(p.GetAgeFrom())
	switch pick(m.chance, dayKnown, ageKnown, 1-dayKnown-ageKnown) {
	case 0:
		p.BirthDate = day(at.In(zone.Karachi).AddDate(-age, 0, -since))
	case 2:
		off := 1
		if age >= 18 {
			off = 3
		}
		least, most := 0, 17
		if age >= 18 {
			least, most = 18, 60
		}
		p.AgeFrom, p.AgeTo = int32(max(age-off, least)), int32(min(age+off, most))
	}
}

// day is a date of which there is one message for all, since a surge says few dates often.
func (m *maker) day(at time.Time) *date.Date {
	d := day(at)
	key := [3]int32{d.GetYear(), d.GetMonth(), d.GetDay()}
	if m.days[key] == nil {
		m.days[key] = d
	}
	return m.days[key]
}

func day(at time.Time) *date.Date {
	year, month, day := at.In(zone.Karachi).Date()
	return &date.Date{Year: int32(year), Month: int32(month), Day: int32(day)}
}
