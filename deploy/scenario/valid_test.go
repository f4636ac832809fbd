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
)

const (
	someID  = "01920000-0000-7000-8000-000000000000"
	someTag = "1"
)

// judge collects what the services would refuse.
type judge struct {
	*testing.T
	at time.Time
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
func TestEverythingIsTaken(t *testing.T) {
	y := make5000(t)
	j := judge{t, y.Start}
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
		if parent != "nodes/"+s.Node || s.Shelter.GetPhone() != "" || s.Source == "" {
			t.Errorf("%s: at another node than %s, with a telephone or without a source", s.Shelter.GetName(), s.Node)
		}
		for _, g := range s.Shelter.GetGroups() {
			name := s.Shelter.GetName() + "/groups/" + g.GetName()
			if groups[name] != nil || !regexp.MustCompile(`^[a-z][a-z0-9-]{1,60}$`).MatchString(g.GetName()) || g.GetTotal() < 1 {
				t.Errorf("%s: stands twice, is no name or has no bed", name)
			}
			if g.GetCapacitySource() == "" || !g.GetCapacityTime().AsTime().Before(y.Start) {
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
			j.consent(c)
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
	if p.GetGivenName() == "" || p.GetFatherName() == "" || c.Case.GetNarrative() == "" {
		j.Errorf("%s: has no name or narrative", what)
	}
}

func (j judge) consent(c *scenario.Case) {
	what := fmt.Sprint("consent of case ", c.Number)
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
	if !gender && !boy || n.GetAgeFrom() < g.GetAgeFrom() || n.GetAgeTo() > g.GetAgeTo() || n.GetWithMother() && !g.GetWithMother() {
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
	for _, c := range all[1:] {
		p, q := first.Case.GetPerson(), c.Case.GetPerson()
		if p.GetFatherName() != q.GetFatherName() || p.GetFamilyName() != q.GetFamilyName() || p.GetHomePlace() != q.GetHomePlace() ||
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
