package rules_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/protection/internal/rules"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func full() *protectionv1.Case {
	return &protectionv1.Case{
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Exploitation: []string{"ForcedBegging"}, FoundDistrict: "PK-BA-HUB", Narrative: "narrative",
		State: protectionv1.Case_STATE_ACTIVE, Source: protectionv1.Case_SOURCE_INTAKE,
		Person: &protectionv1.Person{
			GivenName: "given", FatherName: "father", FamilyName: "family", Cnic: "11111-1111111-1", Gender: "Feminine",
			BirthDate: &date.Date{Year: 2017}, AgeFrom: 8, AgeTo: 9, AgeAsOf: &date.Date{Year: 2026}, HomePlace: "home",
			Languages: []string{"urd"}, Health: "health",
		},
	}
}

// Who was given up comes after all: the place has closed the dossier, so it is owed once more, at once.
func TestOwedOnceMoreAfterANoShow(t *testing.T) {
	r := &protectionv1.CaseRecord{Case: &protectionv1.Case{Source: protectionv1.Case_SOURCE_INTAKE}}
	for _, step := range []struct {
		state custodyv1.ReferralState
		owed  bool
	}{
		{custodyv1.ReferralState_REFERRAL_STATE_READY, true},
		{custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, false},
		{custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW, false},
		{custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, true},
		{custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, false},
	} {
		e := &referralv1.ReferralChanged{
			State: step.state, OriginNode: "balochistan", OwnerNode: "punjab", ToNode: "punjab", Offer: "offer", GiverNode: "balochistan", Sequence: r.GetReferralSequence() + 1,
		}
		rules.Follow(r, e)
		node, offer, owed := rules.Owes(r, e, "balochistan")
		if owed != step.owed {
			t.Errorf("%v: owed %t to %q on %q", step.state, owed, node, offer)
		}
		if owed {
			r.DossierNode, r.DossierOffer = node, offer
		}
	}
}

// Each scope lets exactly its own fields out, and nothing leaves without consent that holds.
func TestDossier(t *testing.T) {
	given, refused := protectionv1.Consent_DECISION_GIVEN, protectionv1.Consent_DECISION_REFUSED
	p := full().GetPerson()
	for name, c := range map[string]struct {
		decision protectionv1.Consent_Decision
		expire   *timestamppb.Timestamp
		scopes   []string
		want     *protectionv1.Dossier
	}{
		"no scope": {decision: given, want: &protectionv1.Dossier{}},
		"refused":  {decision: refused, scopes: []string{"IDENTITY", "BIRTH", "HOME_PLACE", "HEALTH", "NARRATIVE"}, want: &protectionv1.Dossier{}},
		"expired":  {decision: given, expire: timestamppb.New(now), scopes: []string{"IDENTITY"}, want: &protectionv1.Dossier{}},
		"unknown":  {decision: given, scopes: []string{"EVERYTHING"}, want: &protectionv1.Dossier{}},
		"identity": {decision: given, scopes: []string{"IDENTITY"}, want: &protectionv1.Dossier{Person: &protectionv1.Person{
			GivenName: p.GetGivenName(), FatherName: p.GetFatherName(), FamilyName: p.GetFamilyName(), Cnic: p.GetCnic(),
		}}},
		"birth": {decision: given, scopes: []string{"BIRTH"}, want: &protectionv1.Dossier{Person: &protectionv1.Person{
			Gender: p.GetGender(), BirthDate: p.GetBirthDate(), AgeFrom: 8, AgeTo: 9, AgeAsOf: p.GetAgeAsOf(), Languages: p.GetLanguages(),
		}}},
		"home place": {decision: given, scopes: []string{"HOME_PLACE"}, want: &protectionv1.Dossier{
			Person: &protectionv1.Person{HomePlace: "home"}, FoundDistrict: "PK-BA-HUB",
		}},
		"health": {decision: given, scopes: []string{"HEALTH"}, want: &protectionv1.Dossier{
			Person: &protectionv1.Person{Health: "health"}, Exploitation: []string{"ForcedBegging"},
		}},
		"narrative": {decision: given, scopes: []string{"NARRATIVE"}, want: &protectionv1.Dossier{Narrative: "narrative"}},
		"all, until later": {
			decision: given, expire: timestamppb.New(now.Add(1)), scopes: []string{"NARRATIVE", "HEALTH", "HOME_PLACE", "BIRTH", "IDENTITY"},
			want: &protectionv1.Dossier{Person: p, Exploitation: []string{"ForcedBegging"}, FoundDistrict: "PK-BA-HUB", Narrative: "narrative"},
		},
	} {
		c.want.Referral, c.want.Offer, c.want.Urgency = "referral", "offer", custodyv1.Urgency_URGENCY_HIGH
		from := full()
		from.Consent = &protectionv1.Consent{Decision: c.decision, Scopes: c.scopes, ExpireTime: c.expire}
		if rules.Holds(from.GetConsent(), now) {
			c.want.Consent = &protectionv1.DossierConsent{Scopes: c.scopes, ExpireTime: c.expire}
		}
		if got := rules.Dossier(from, "referral", "offer", now); !proto.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A commitment stands for one consent and one salt, whatever was recorded beside them.
func TestCommitment(t *testing.T) {
	given := &protectionv1.Consent{Decision: protectionv1.Consent_DECISION_GIVEN, Basis: "CAREGIVER_CONSENT", GivenBy: "Mother"}
	salt := bytes.Repeat([]byte{7}, rules.SaltBytes)
	c, err := rules.Record(given, salt, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := rules.Commit(c, salt)
	if err != nil || len(again) != 32 || !bytes.Equal(again, c.GetCommitment()) || !bytes.Equal(c.GetSalt(), salt) {
		t.Fatalf("%x, %v; recorded %v", again, err, c)
	}
	other, err := rules.Record(given, bytes.Repeat([]byte{8}, rules.SaltBytes), now)
	if err != nil || bytes.Equal(other.GetCommitment(), c.GetCommitment()) {
		t.Fatalf("another salt: %v, %v", other, err)
	}
	given.GivenBy = "Father"
	changed, err := rules.Record(given, salt, now)
	if err != nil || bytes.Equal(changed.GetCommitment(), c.GetCommitment()) {
		t.Fatalf("another consent: %v, %v", changed, err)
	}
}

func TestRefer(t *testing.T) {
	given := &protectionv1.Consent{Decision: protectionv1.Consent_DECISION_GIVEN}
	for name, c := range map[string]struct {
		change   func(*protectionv1.Case)
		override *custodyv1.ConsentOverride
		want     fault.Reason
	}{
		"consent":    {change: func(c *protectionv1.Case) { c.Consent = given }},
		"override":   {change: func(*protectionv1.Case) {}, override: &custodyv1.ConsentOverride{}},
		"no consent": {change: func(*protectionv1.Case) {}, want: fault.ConsentMissing},
		"refused": {change: func(c *protectionv1.Case) {
			c.Consent = &protectionv1.Consent{Decision: protectionv1.Consent_DECISION_REFUSED}
		}, want: fault.ConsentMissing},
		"expired": {change: func(c *protectionv1.Case) {
			c.Consent = &protectionv1.Consent{Decision: 1, ExpireTime: timestamppb.New(now)}
		}, want: fault.ConsentMissing},
		"closed":             {change: func(c *protectionv1.Case) { c.Consent, c.State = given, protectionv1.Case_STATE_CLOSED }, want: fault.WrongState},
		"referred":           {change: func(c *protectionv1.Case) { c.Consent, c.Referral = given, "r" }, want: fault.WrongState},
		"referred, override": {change: func(c *protectionv1.Case) { c.Referral = "r" }, override: &custodyv1.ConsentOverride{}, want: fault.WrongState},
	} {
		from := full()
		c.change(from)
		if err := rules.CheckRefer(from, c.override, now); fault.ReasonOf(err) != c.want || (c.want == 0) != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Outcomes are owed for received cases in service alone, in every state a referral can have.
func TestOutcome(t *testing.T) {
	for state := range custodyv1.ReferralState_name {
		for _, source := range []protectionv1.Case_Source{protectionv1.Case_SOURCE_INTAKE, protectionv1.Case_SOURCE_REFERRAL} {
			s := custodyv1.ReferralState(state)
			err := rules.CheckOutcome(&protectionv1.Case{Source: source, ReferralState: s})
			if want := source == protectionv1.Case_SOURCE_REFERRAL && s == custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE; want != (err == nil) {
				t.Errorf("%v, %v: %v", source, s, err)
			}
		}
	}
}

// A case at home follows its referral: it is closed while its person is with somebody else, and a case again when the person is back.
// What comes twice or late changes nothing.
func TestFollow(t *testing.T) {
	type path []custodyv1.ReferralState
	const (
		submitted = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
		transit   = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
		arrived   = custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
		completed = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
		cancelled = custodyv1.ReferralState_REFERRAL_STATE_CANCELLED
		expired   = custodyv1.ReferralState_REFERRAL_STATE_EXPIRED
		noShow    = custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
		returned  = custodyv1.ReferralState_REFERRAL_STATE_RETURNED
	)
	for _, c := range []struct {
		path
		away bool
	}{
		{path{submitted}, false},
		{path{submitted, transit, arrived}, true},
		{path{submitted, transit, arrived, completed}, true},
		{path{submitted, cancelled}, false},
		{path{submitted, expired}, false},
		{path{submitted, cancelled, transit, arrived}, true}, // the person travelled first
		{path{submitted, transit, noShow}, false},
		{path{submitted, transit, noShow, arrived}, true},
		{path{submitted, transit, arrived, transit, arrived}, true}, // referred on
		{path{submitted, transit, arrived, transit, returned}, false},
	} {
		r := &protectionv1.CaseRecord{Case: full()}
		closings := 0
		event := func(i int) *referralv1.ReferralChanged {
			return &referralv1.ReferralChanged{State: c.path[i], OriginNode: "balochistan", OwnerNode: "punjab", Sequence: uint64(i + 1)}
		}
		for i := range c.path {
			for late := range i + 1 {
				before := proto.CloneOf(r)
				changed, closed := rules.Follow(r, event(late))
				if late < i && (changed || closed || !proto.Equal(before, r)) {
					t.Errorf("%v: event %d, come late, changed the case", c.path, late)
				}
				if closed {
					closings++
				}
			}
		}
		got := r.GetCase()
		if got.GetReferralState() != c.path[len(c.path)-1] || c.away != (got.GetState() == protectionv1.Case_STATE_CLOSED_REFERRED) || c.away && closings != 1 {
			t.Errorf("%v: %v, %v, closed %d times", c.path, got.GetReferralState(), got.GetState(), closings)
		}
		vain := got.GetReferralState() == cancelled || got.GetReferralState() == expired || got.GetReferralState() == returned
		got.Referral = "nodes/balochistan/referrals/1"
		if err := rules.CheckRefer(got, &custodyv1.ConsentOverride{}, now); (err == nil) != vain {
			t.Errorf("%v: referred again: %v", c.path, err)
		}
	}
}

// A case is closed by word that its referral is completed, where it was helped here: a store that was restored has lost that it was recorded.
func TestACompletedReferralClosesTheCaseOfWhoWasHelped(t *testing.T) {
	for name, c := range map[string]struct {
		source  protectionv1.Case_Source
		owner   string
		outside bool
		before  protectionv1.Case_State
		want    protectionv1.Case_State
	}{
		"received here":               {protectionv1.Case_SOURCE_REFERRAL, "punjab", false, protectionv1.Case_STATE_ACTIVE, protectionv1.Case_STATE_CLOSED},
		"received here, in follow-up": {protectionv1.Case_SOURCE_REFERRAL, "punjab", false, protectionv1.Case_STATE_FOLLOW_UP, protectionv1.Case_STATE_CLOSED},
		"handed on from here":         {protectionv1.Case_SOURCE_REFERRAL, "sindh", false, protectionv1.Case_STATE_CLOSED_REFERRED, protectionv1.Case_STATE_CLOSED_REFERRED},
		"handed on, and open still":   {protectionv1.Case_SOURCE_REFERRAL, "sindh", false, protectionv1.Case_STATE_ACTIVE, protectionv1.Case_STATE_ACTIVE},
		"at an agency":                {protectionv1.Case_SOURCE_INTAKE, "punjab", true, protectionv1.Case_STATE_ACTIVE, protectionv1.Case_STATE_CLOSED},
		"closed before":               {protectionv1.Case_SOURCE_REFERRAL, "punjab", false, protectionv1.Case_STATE_CLOSED, protectionv1.Case_STATE_CLOSED},
	} {
		r := &protectionv1.CaseRecord{Case: full()}
		r.Case.Name, r.Case.Source, r.Case.State = "nodes/punjab/cases/1", c.source, c.before
		e := &referralv1.ReferralChanged{
			State: custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, OriginNode: "punjab", OwnerNode: c.owner,
			CareNode: c.owner, Outside: c.outside, Outcome: "REUNIFIED", Sequence: 9,
		}
		for range 2 { // it may be heard twice
			_, closed := rules.Follow(r, e)
			if want := c.want != c.before; closed != want || r.GetCase().GetState() != c.want {
				t.Errorf("%s: the case is %v, closed: %v", name, r.GetCase().GetState(), closed)
			}
			c.before, e.Sequence = c.want, 10
		}
	}
}

// The dossier is owed by the giver alone, from READY on while somebody has the person or waits for them, once to each place.
func TestOwes(t *testing.T) {
	for state := range custodyv1.ReferralState_name {
		s := custodyv1.ReferralState(state)
		e := &referralv1.ReferralChanged{State: s, OriginNode: "balochistan", OwnerNode: "punjab", ToNode: "punjab", GiverNode: "balochistan", Offer: "offer", Sequence: 3}
		want := s >= custodyv1.ReferralState_REFERRAL_STATE_READY && s < custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
		for name, c := range map[string]struct {
			record *protectionv1.CaseRecord
			own    string
			want   bool
		}{
			"the giver":                  {&protectionv1.CaseRecord{ReferralSequence: 3}, "balochistan", want},
			"sent on another offer":      {&protectionv1.CaseRecord{ReferralSequence: 3, DossierNode: "punjab", DossierOffer: "other"}, "balochistan", want},
			"sent":                       {&protectionv1.CaseRecord{ReferralSequence: 3, DossierNode: "punjab", DossierOffer: "offer"}, "balochistan", false},
			"an event that comes late":   {&protectionv1.CaseRecord{ReferralSequence: 4}, "balochistan", false},
			"somebody else":              {&protectionv1.CaseRecord{ReferralSequence: 3}, "sindh", false},
			"the node that has the case": {&protectionv1.CaseRecord{ReferralSequence: 3}, "punjab", false},
		} {
			c.record.Case = full()
			if node, offer, owed := rules.Owes(c.record, e, c.own); owed != c.want || owed && (node != "punjab" || offer != "offer") {
				t.Errorf("%v, %s: %s, %s, %t", s, name, node, offer, owed)
			}
		}
	}
}
