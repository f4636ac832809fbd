package scenario_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"

	"amanat.example/deploy/scenario"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/soaktest"
)

const (
	someID  = "01920000-0000-7000-8000-000000000000"
	someTag = "1"
)

// judge collects what the services would refuse.
type judge struct {
	*testing.T
	at time.Time
	// mothers counts mothers whose father has their husband's name, and others.
	mothers map[bool]int
	homes   map[string]map[string]bool // nodes of districts by what they are called
	longest map[string]time.Duration   // that somebody may stay, by shelter
}

func (j judge) take(what string, m proto.Message) {
	j.Helper()
	if err := protovalidate.Validate(m); err != nil {
		j.Errorf("%s: %v", what, err)
	}
}

func (j judge) code(what string, list codes.List, all ...string) {
	j.Helper()
	for _, code := range all {
		if err := codes.CheckOn(list, code, j.at); err != nil {
			j.Errorf("%s: %v", what, err)
		}
	}
}

func (j judge) fault(what string, err error) {
	j.Helper()
	if err != nil {
		j.Errorf("%s: %v", what, err)
	}
}

// Everything is taken by the services as it is: the contracts' own rules, and the code lists.
func TestEverythingIsTaken(t *testing.T) { taken(t, make5000(t)) }

// So is every other year: whenever it begins, however few there are, wherever they go.
func TestEveryYearIsTaken(t *testing.T) {
	days := []time.Time{
		{}, time.Date(2024, time.February, 29, 12, 0, 0, 0, time.UTC), time.Date(2027, time.December, 31, 23, 0, 0, 0, time.UTC), time.Date(2025, time.November, 26, 0, 0, 0, 0, time.UTC),
	}
	for seed := range soaktest.Alone[uint64](60, 12) { // the last of them all with a surge
		options := scenario.Options{
			Seed: seed, Start: days[seed%4], Referrals: []int{1, 2, 3, 7, 40, 600}[seed%6], Referred: []float64{0.6, 1, 0.05}[seed%3],
			Interprovincial: []float64{0.25, 1, -1, 0.01, 0.6}[seed%5], Surge: seed == 59,
		}
		y, err := scenario.Make(options)
		if err != nil {
			t.Fatal(err)
		}
		if taken(t, y); t.Failed() {
			t.Fatalf("of %+v", options)
		}
	}
}

func taken(t *testing.T, y *scenario.Year) {
	t.Helper()
	j := judge{t, y.Start, map[bool]int{}, homes(), map[string]time.Duration{}}
	units, groups := map[string]string{}, map[string]*shelterv1.Group{}
	for _, u := range y.Units {
		parent, id := split(t, u.Unit.GetName(), "units")
		j.take(id, &protectionv1.CreateUnitRequest{Parent: parent, UnitId: id, Unit: u.Unit})
		j.code(id, codes.District, u.Unit.GetDistrict())
		if units[u.Unit.GetName()] != "" || parent != "nodes/"+u.Node {
			t.Errorf("%s: stands twice or at another node than %s", u.Unit.GetName(), u.Node)
		}
		units[u.Unit.GetName()] = u.Unit.GetDistrict()
	}
	for _, s := range y.Shelters {
		parent, id := split(t, s.Shelter.GetName(), "shelters")
		j.take(id, &shelterv1.CreateShelterRequest{Parent: parent, ShelterId: id, Shelter: s.Shelter})
		j.code(id, codes.District, s.Shelter.GetDistrict())
		j.code(id, codes.Language, s.Shelter.GetLanguages()...)
		j.code(id, codes.Service, s.Shelter.GetServices()...)
		if j.longest[s.Shelter.GetName()] = 366 * 24 * time.Hour; s.Shelter.GetLongestStayDays() > 0 {
			j.longest[s.Shelter.GetName()] = time.Duration(s.Shelter.GetLongestStayDays()) * 24 * time.Hour
		}
		if forWomen := s.Shelter.GetGroups()[0].GetName() == "women"; s.Shelter.GetCourtOrderRequired() != (forWomen && s.Shelter.GetLongestStayDays() == 0) {
			t.Errorf("%s: to a Dar-ul-Aman, and there alone, a court sends", s.Shelter.GetName())
		}
		if s.Shelter.GetConfidential() != (s.Shelter.GetGroups()[0].GetName() == "women") {
			t.Errorf("%s: a place for women of which everybody knows, or a secret one for children", s.Shelter.GetName())
		}
		if parent != "nodes/"+s.Node || s.Shelter.GetPhone() != "" || s.Source == "" {
			t.Errorf("%s: at another node than %s, with a telephone or without a source", s.Shelter.GetName(), s.Node)
		}
		for _, g := range s.Shelter.GetGroups() {
			name := s.Shelter.GetName() + "/groups/" + g.GetName()
			if groups[name] != nil || !regexp.MustCompile(`^[a-z][a-z0-9-]{1,60}$`).MatchString(g.GetName()) || g.GetTotal() < 1 {
				t.Errorf("%s: stands twice, is no name or has no bed", name)
			}
			if g.GetCapacitySource() == "" || g.GetCapacityTime().AsTime().After(y.Start) {
				t.Errorf("%s: whoever says the capacity says it without a source or in the future", name)
			}
			j.code(name, codes.Gender, g.GetGenders()...)
			j.code(name, codes.SpecialNeed, g.GetNeeds()...)
			groups[name] = g
		}
		if s.Shelter.GetDistrict() == "PK-BA-HUB" {
			t.Errorf("%s: Hub has no bed", s.Shelter.GetName())
		}
	}
	families := map[int][]*scenario.Case{}
	for i := range y.Cases {
		c := &y.Cases[i]
		j.at = c.Time
		j.intake(c, units)
		if c.Consent != nil {
			lead := c
			if c.Family != 0 {
				lead = &y.Cases[c.Family-1]
			}
			j.consent(c, lead)
		}
		if c.Referral != nil {
			j.referral(c, units, groups)
		}
		if c.Family != 0 {
			families[c.Family] = append(families[c.Family], c)
		}
	}
	for _, family := range families {
		j.family(family)
		beds := map[string]int32{}
		for _, c := range family {
			if c.Referral != nil {
				beds[c.Referral.Answers[len(c.Referral.Answers)-1].Group]++
			}
		}
		for group, n := range beds {
			if g := groups[group]; g != nil && n > g.GetTotal() {
				t.Errorf("family %d: %d of them in the %d beds of %s", family[0].Family, n, g.GetTotal(), group)
			}
		}
	}
	if same, others := j.mothers[true], j.mothers[false]; same > 3 && same > others/5 {
		t.Errorf("%d of %d mothers have a father of their husband's name", same, same+others)
	}
}

// homes are the nodes of the districts that bear a name.
func homes() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, d := range codes.All(codes.District) {
		for _, lang := range []codes.Lang{codes.English, codes.Urdu, codes.Sindhi} {
			name := codes.Label(codes.District, d.Code, lang)
			if all[name] == nil {
				all[name] = map[string]bool{}
			}
			all[name][map[string]string{"PK-SD": "sindh", "PK-PB": "punjab", "PK-BA": "balochistan"}[d.Province]] = true
		}
	}
	return all
}

func split(t *testing.T, name, kind string) (parent, id string) {
	t.Helper()
	parent, id, ok := strings.Cut(name, "/"+kind+"/")
	if !ok {
		t.Errorf("%s is no name of %s", name, kind)
	}
	return parent, id
}

func (j judge) intake(c *scenario.Case, units map[string]string) {
	what := fmt.Sprint("case ", c.Number)
	j.take(what, &protectionv1.CreateCaseRequest{Parent: "nodes/" + c.Node, RequestId: "12345678", Case: c.Case})
	p := c.Case.GetPerson()
	j.code(what, codes.District, c.Case.GetFoundDistrict())
	j.code(what, codes.Exploitation, c.Case.GetExploitation()...)
	j.code(what, codes.Gender, p.GetGender())
	j.code(what, codes.Language, p.GetLanguages()...)
	day := c.Time.In(c.Time.Location())
	if of := p.GetAgeAsOf(); int(of.GetYear()) != day.Year() || int(of.GetMonth()) != int(day.Month()) || of.GetDay() == 0 {
		j.Errorf("%s: the age is said on %v, and the intake was %v", what, of, day)
	}
	if b := p.GetBirthDate(); b != nil {
		age := c.Time.Year() - int(b.GetYear())
		if c.Time.YearDay() < 0 || age < int(p.GetAgeFrom()) || age > int(p.GetAgeTo())+1 {
			j.Errorf("%s: born %v and %d to %d years old", what, b, p.GetAgeFrom(), p.GetAgeTo())
		}
	}
	if _, ok := units[c.Case.GetUnit()]; !ok || !strings.HasPrefix(c.Case.GetUnit(), "nodes/"+c.Node+"/") {
		j.Errorf("%s: taken in at %s, which is no unit of %s", what, c.Case.GetUnit(), c.Node)
	}
	if adult := p.GetAgeFrom() >= 18; adult != (p.GetAgeTo() >= 18) || adult && !c.Woman || adult != (c.Woman && (c.Family == 0 || c.Family == c.Number)) {
		j.Errorf("%s: %d to %d years old, a woman %v", what, p.GetAgeFrom(), p.GetAgeTo(), c.Woman)
	}
	if adult := p.GetAgeFrom() >= 18; adult && p.GetGender() != codes.GenderFeminine || c.Woman && !adult && len(c.Case.GetExploitation()) > 0 {
		j.Errorf("%s: a man, or a child to whom was done what was done to its mother", what)
	}
	if p.GetGivenName() == "" || p.GetFatherName() == "" || c.Case.GetNarrative() == "" {
		j.Errorf("%s: has no name or narrative", what)
	}
}

func (j judge) consent(c, lead *scenario.Case) {
	what := fmt.Sprint("consent of case ", c.Number)
	person, by := c.Case.GetPerson(), c.Consent.GetGivenBy()
	switch standsIn := c.Consent.GetBasis() == codes.ConsentBasisTrustedAdult; {
	case person.GetAgeFrom() >= 15 && by == person.GetGivenName():
	case person.GetAgeFrom() < 15 && c.Woman && by == lead.Case.GetPerson().GetGivenName():
	case person.GetAgeFrom() < 15 && !c.Woman && !standsIn && by == person.GetFatherName():
	case person.GetAgeFrom() < 15 && !c.Woman && standsIn && by == "case worker" && c.Consent.GetNote() != "":
	default:
		j.Errorf("%s: given by %s by %s, of somebody of %d", what, by, c.Consent.GetBasis(), person.GetAgeFrom())
	}
	scopes := strings.Join(c.Consent.GetScopes(), " ")
	if given := c.Consent.GetDecision() == protectionv1.Consent_DECISION_GIVEN; given != strings.HasPrefix(scopes, codes.ConsentScopeIdentity+" "+codes.ConsentScopeBirth) || !given && scopes != "" {
		j.Errorf("%s: %v, for %q to be shared", what, c.Consent.GetDecision(), scopes)
	}
	j.take(what, &protectionv1.RecordConsentRequest{Name: "nodes/" + c.Node + "/cases/" + someID, Etag: someTag, Consent: c.Consent})
	j.code(what, codes.ConsentBasis, c.Consent.GetBasis())
	j.code(what, codes.ConsentPurpose, c.Consent.GetPurposes()...)
	j.code(what, codes.ConsentScope, c.Consent.GetScopes()...)
	if c.Consent.GetBasis() == codes.ConsentBasisTrustedAdult && c.Consent.GetNote() == "" {
		j.Errorf("%s: somebody stands in and no reason is said", what)
	}
	// By age as inter-agency practice has it: to 5, 11, 14, 17 and beyond.
	age, want := c.Case.GetPerson().GetAgeFrom(), "OWN_CONSENT_ADULT"
	for _, band := range []struct {
		to    int32
		basis string
	}{{17, "OWN_CONSENT_OLDER_CHILD"}, {14, "WRITTEN_ASSENT_AND_CAREGIVER"}, {11, "ORAL_ASSENT_AND_CAREGIVER"}, {5, "CAREGIVER_CONSENT"}} {
		if age <= band.to {
			want = band.basis
		}
	}
	if basis := c.Consent.GetBasis(); basis != want && (basis != codes.ConsentBasisTrustedAdult || age >= 15) {
		j.Errorf("%s: by %s, of somebody of %d", what, basis, age)
	}
	if (c.Consent.GetDecision() == protectionv1.Consent_DECISION_GIVEN) != (c.Referral != nil) {
		j.Errorf("%s: given by who is not referred, or refused by who is", what)
	}
}

func (j judge) referral(c *scenario.Case, units map[string]string, groups map[string]*shelterv1.Group) {
	what := fmt.Sprint("referral of case ", c.Number)
	r := c.Referral
	if c.Consent == nil || len(r.Answers) == 0 {
		j.Errorf("%s: without consent or an answer", what)
		return
	}
	request := proto.CloneOf(r.Request)
	request.Name, request.Etag = "nodes/"+c.Node+"/cases/"+someID, someTag
	j.take(what, request)
	placement := request.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
	if (request.GetService() == codes.ServiceShelter) != placement {
		j.Errorf("%s: a %v for %s", what, request.GetKind(), request.GetService())
	}
	j.code(what, codes.Service, append([]string{request.GetService()}, r.Services...)...)
	j.code(what, codes.ReferralReason, request.GetReasons()...)
	if end := r.Answers[len(r.Answers)-1]; end.Decline == "" {
		j.code(what, codes.Outcome, r.Outcome)
		if r.Stay <= 0 || len(r.Services) == 0 || (r.Road > 0) != placement {
			j.Errorf("%s: lasts no time, or nothing is given, or a way is made where nobody moves", what)
		}
	} else if r.Outcome != "" || len(r.Services) > 0 || r.Stay > 0 || r.Road > 0 || r.NoShow {
		j.Errorf("%s: nobody accepts, and yet something comes of it", what)
	}
	j.fault(what, codes.CheckNeeds("needs", request.GetNeeds()))
	if request.GetToUnit() != r.Answers[0].Unit || r.After <= 0 {
		j.Errorf("%s: asks another unit first than the one that answers first, or lacks a time or a service", what)
	}
	if request.GetNeeds().GetWithMother() && (!c.Woman || c.Family == 0) {
		j.Errorf("%s: with a mother, or children, that there are none of", what)
	}
	if there := strings.Split(request.GetToUnit(), "/")[1]; request.GetReasons()[0] == "FAMILY_LIVES_THERE" && !j.homes[c.Case.GetPerson().GetHomePlace()][there] {
		j.Errorf("%s: to %s, where family lives, of somebody from %s", what, there, c.Case.GetPerson().GetHomePlace())
	}
	seen := map[string]bool{c.Case.GetUnit(): true}
	for i, a := range r.Answers {
		accepts := !a.Silent && a.Decline == ""
		if seen[a.Unit] || units[a.Unit] == "" || a.Delay <= 0 || accepts && i < len(r.Answers)-1 || a.Silent && i == len(r.Answers)-1 {
			j.Errorf("%s: answer %d is of no unit, or of one asked before, takes no time, or is not the last or not the kind that can be", what, i)
		}
		seen[a.Unit] = true
		if !c.Woman && strings.HasSuffix(a.Unit, "-women") {
			j.Errorf("%s: the centre for women is asked for a child", what)
		}
		if a.Silent && a.Delay <= limits.Default().ByRisk(c.Case.GetUrgency(), limits.Place{}).Answer {
			j.Errorf("%s: answer %d is given up after %v, before it is late", what, i, a.Delay)
		}
		if strings.Contains(a.Group, "sweet-home") {
			j.Errorf("%s: to a home for orphans", what)
		}
		if a.Decline != "" {
			j.code(what, codes.Decline, a.Decline)
		}
		if a.Question != "" {
			j.code(what, codes.Question, a.Question)
		}
		g := groups[a.Group]
		if (a.Group != "") != (accepts && placement) || a.Group != "" && (g == nil || !strings.HasPrefix(a.Group, a.Unit[:strings.LastIndex(a.Unit, "/units/")]+"/")) {
			j.Errorf("%s: a group where there is nothing to hold, or none where there is", what)
			continue
		}
		if g != nil {
			j.fits(what, request.GetNeeds(), g)
			if house, _, _ := strings.Cut(a.Group, "/groups/"); r.Stay > j.longest[house] {
				j.Errorf("%s: stays for %v, and %s keeps nobody for longer than %v", what, r.Stay, house, j.longest[house])
			}
		}
	}
}

// fits: the place takes who is to come, as the shelter service judges.
func (j judge) fits(what string, n *custodyv1.Needs, g *shelterv1.Group) {
	gender := false
	for _, one := range g.GetGenders() {
		gender = gender || one == n.GetGender()
	}
	boy := n.GetWithMother() && g.GetWithMother() && n.GetAgeTo() <= 12
	if !gender && !boy || n.GetAgeFrom() < g.GetAgeFrom() || n.GetAgeTo() > g.GetAgeTo() || n.GetWithMother() != g.GetWithMother() {
		j.Errorf("%s: %v is not taken by %v", what, n, g)
	}
	for _, need := range n.GetSpecialNeeds() {
		if !strings.Contains(strings.Join(g.GetNeeds(), " "), need) {
			j.Errorf("%s: %s is not equipped for %s", what, g.GetName(), need)
		}
	}
}

// family: those of one family have a father and a home, are taken in together, and go to one place.
func (j judge) family(all []*scenario.Case) {
	first := all[0]
	what := fmt.Sprint("family ", first.Family)
	if first.Number != first.Family || len(all) < 2 || len(all) > 11 {
		j.Errorf("%s: its number is not that of its first, or it is too small or too large to be referred together", what)
	}
	j.siblings(what, all)
	for _, c := range all[1:] {
		p, q := first.Case.GetPerson(), c.Case.GetPerson()
		if p.GetFamilyName() != q.GetFamilyName() || p.GetHomePlace() != q.GetHomePlace() ||
			first.Case.GetUnit() != c.Case.GetUnit() || first.Case.GetUrgency() != c.Case.GetUrgency() || c.Woman && c.Case.GetPerson().GetAgeTo() > 12 {
			j.Errorf("%s: cases %d and %d are not of one family", what, first.Number, c.Number)
		}
		if (first.Referral == nil) != (c.Referral == nil) {
			j.Errorf("%s: case %d is parted", what, c.Number)
			continue
		}
		if first.Referral == nil || first.Referral.Request.GetKind() != custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT {
			continue
		}
		a, b := first.Referral.Answers, c.Referral.Answers
		same := len(a) == len(b)
		for i := range min(len(a), len(b)) {
			house, _, _ := strings.Cut(a[i].Group, "/groups/")
			other, _, _ := strings.Cut(b[i].Group, "/groups/")
			same = same && a[i].Unit == b[i].Unit && a[i].Decline == b[i].Decline && a[i].Delay == b[i].Delay && house == other
		}
		if !same || first.Referral.Outcome != c.Referral.Outcome || first.Referral.Stay != c.Referral.Stay {
			j.Errorf("%s: case %d goes another way", what, c.Number)
		}
	}
}

// siblings: a mother is no daughter of her children's father, and brothers and sisters have names of their own and are twins, or born nine months
// apart at least.
func (j judge) siblings(what string, all []*scenario.Case) {
	if all[0].Woman {
		j.mothers[all[0].Case.GetPerson().GetFatherName() == all[1].Case.GetPerson().GetFatherName()]++ // some men have one name
		all = all[1:]
	}
	for i, one := range all {
		for _, other := range all[i+1:] {
			p, q := one.Case.GetPerson(), other.Case.GetPerson()
			if p.GetGivenName() == q.GetGivenName() || p.GetFatherName() != q.GetFatherName() {
				j.Errorf("%s: cases %d and %d have one name, or two fathers", what, one.Number, other.Number)
			}
			if p.GetBirthDate() == nil || q.GetBirthDate() == nil {
				continue
			}
			if apart := born(p).Sub(born(q)).Abs().Hours() / 24; apart > 0 && apart < 266 {
				j.Errorf("%s: cases %d and %d are born %.0f days apart", what, one.Number, other.Number, apart)
			}
		}
	}
}

func born(p *protectionv1.Person) time.Time {
	b := p.GetBirthDate()
	return time.Date(int(b.GetYear()), time.Month(b.GetMonth()), int(b.GetDay()), 0, 0, 0, 0, time.UTC)
}
