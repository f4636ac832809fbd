package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// takenInAt is a case of a unit in a district.
func (b *bench) takenInAt(district string) *protectionv1.Case {
	b.t.Helper()
	_, err := b.CreateUnit(b.t.Context(), &protectionv1.CreateUnitRequest{
		Parent: b.parent(), UnitId: "hub", Unit: &protectionv1.Unit{DisplayName: "One", District: district},
	})
	must(b.t, err)
	c, err := b.CreateCase(b.t.Context(), b.intake())
	must(b.t, err)
	return c
}

// refers has a case referred to the other node, and gives the name of its referral.
func (b *bench) refers(name string, number int) string {
	b.t.Helper()
	to := away
	if b.Node == away {
		to = home
	}
	made := fmt.Sprintf("%s/referrals/01920000-0000-7000-8000-%012d", b.parent(), number)
	b.referral.set(func(proto.Message) (proto.Message, error) {
		return &referralv1.Referral{Name: made, State: custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED}, nil
	})
	c := b.get(name)
	if c.GetConsent() == nil {
		var err error
		c, err = b.RecordConsent(b.t.Context(), consent(c), actor)
		must(b.t, err)
	}
	request := refer(c)
	request.ToUnit = "nodes/" + to + "/units/one"
	_, err := b.ReferCase(b.t.Context(), request, actor)
	must(b.t, err)
	return made
}

// goes tells of the state of a referral of this node. The chain goes through each state once.
func (b *bench) goes(referral string, state custodyv1.ReferralState) {
	b.t.Helper()
	to := away
	if b.Node == away {
		to = home
	}
	e := &referralv1.ReferralChanged{
		Referral: referral, State: state, OriginNode: b.Node, OwnerNode: to, CareNode: to, OwnerNodes: []string{b.Node, to}, ToNode: to,
		GiverNode: b.Node, Offer: referral + "/offers/aa",
	}
	if state == returned {
		e.OwnerNode, e.CareNode, e.ToNode = b.Node, b.Node, b.Node
	}
	b.happens("moved", e)
}

// owed are the deadlines of a case that are open, as step and hours from the beginning to when it is due.
func (b *bench) owed(name string) (steps []string) {
	b.t.Helper()
	must(b.t, b.DB.View(b.t.Context(), func(r kitstore.Reader) error {
		return store.DeadlinesByTime.Scan(r, kitstore.Range{}, func(_ kitstore.Key, d *protectionv1.CaseDeadline) error {
			if d.GetSubject() == name {
				steps = append(steps, fmt.Sprintf("%s %.0f", d.GetStep(), d.GetDueTime().AsTime().Sub(begin).Hours()))
			}
			return nil
		})
	}))
	slices.Sort(steps)
	return steps
}

// Who left and is back is owed what the law of the place wants, counted from the return, and so again after another time. What comes twice or
// late changes nothing.
func TestAReturnedCaseOwesItsDeadlines(t *testing.T) {
	for name, k := range map[string]struct {
		node, district     string
		meets              bool // what is owed at first
		first, back, again []string
	}{
		"Quetta":               {home, "PK226", false, []string{"MOVE_ON 72"}, []string{"MOVE_ON 172"}, []string{"MOVE_ON 273"}},
		"Quetta, met":          {home, "PK226", true, []string{"MOVE_ON 72"}, []string{"MOVE_ON 172"}, []string{"MOVE_ON 273"}}, // another stay
		"Lahore":               {away, "PK617", false, []string{"COURT_PRODUCTION 24"}, []string{"COURT_PRODUCTION 124"}, []string{"COURT_PRODUCTION 225"}},
		"Lahore, met":          {away, "PK617", true, []string{"COURT_PRODUCTION 24"}, nil, nil},
		"a place without laws": {home, "PK-BA-HUB", false, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApp(t, k.node)
			c := b.takenInAt(k.district)
			wants := func(when string, want []string) {
				t.Helper()
				if got := b.owed(c.GetName()); !slices.Equal(got, want) {
					t.Errorf("%s: owed %v, want %v", when, got, want)
				}
			}
			wants("taken in", k.first)
			if k.meets {
				d := b.deadline(t, c.GetName())
				_, err := b.MeetDeadline(t.Context(), &protectionv1.MeetDeadlineRequest{Name: d.GetName(), Etag: d.GetEtag()})
				must(t, err)
			}
			for i, back := range [][]string{k.back, k.again} {
				referral := b.refers(c.GetName(), i+1)
				b.now(50 * time.Hour)
				b.goes(referral, arrived)
				wants("gone", nil)
				b.now(50 * time.Hour)
				b.goes(referral, returned)
				wants("back", back)
				b.now(time.Hour)
				b.goes(referral, arrived)
				b.goes(referral, returned)
				wants("heard twice", back)
			}
		})
	}
}

// What a worker recorded goes on where it ended. So does what began and ended in one moment, where all is heard at once.
func TestARecordedDeadlineGoesOn(t *testing.T) {
	b := newApp(t, away)
	c := b.takenInAt("PK617")
	_, err := b.RecordLegalEvent(t.Context(), &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "dar-ul-aman-admission", EventTime: timestamppb.New(begin),
	})
	must(t, err)
	for i := range 2 {
		b.now(time.Hour * time.Duration(100*(1-i))) // the second time all is heard at once
		referral := b.refers(c.GetName(), i+1)
		b.goes(referral, arrived)
		if got := b.owed(c.GetName()); got != nil {
			t.Errorf("gone: owed %v", got)
		}
		b.goes(referral, returned)
		if got := b.owed(c.GetName()); !slices.Equal(got, []string{"COURT_PRODUCTION 124", "MEDICAL_AND_PSYCHOSOCIAL 336"}) {
			t.Errorf("back: owed %v", got)
		}
	}
}
