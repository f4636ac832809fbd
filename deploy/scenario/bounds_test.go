package scenario_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/scenario"
	"amanat.example/services/kit/codes"
)

// The bounds bite: of a year that is spoiled in one thing the table says so, and in which of its parts.
func TestSpoiledYearIsRefused(t *testing.T) {
	for of, spoil := range map[string]func(c *scenario.Case){
		"taken in, children": func(c *scenario.Case) { // two in a hundred of Punjab are said to be of Sindh
			if c.Number%50 == 0 && c.Node == "punjab" {
				c.Node = "sindh"
			}
		},
		"children taken in, by city": func(c *scenario.Case) {
			if c.Number%100 == 0 && c.Case.GetFoundDistrict() == "PK617" {
				c.Case.FoundDistrict = "PK622"
			}
		},
		"kind, children of punjab": func(c *scenario.Case) {
			if c.Number%100 == 0 && c.Kind == "beggary" {
				c.Kind = "labour"
			}
		},
		"sex": func(c *scenario.Case) {
			if c.Number%15 == 0 {
				c.Case.Person.Gender = codes.GenderMasculine
			}
		},
		"identity number": func(c *scenario.Case) {
			if c.Number%6 == 0 {
				c.Case.Person.Cnic = ""
			}
		},
		"families": func(c *scenario.Case) {
			if c.Number%5 == 0 {
				c.Family = 0
			}
		},
		"referrals": func(c *scenario.Case) {
			if c.Number > 1000 && c.Number <= 1010 {
				c.Referral = nil
			}
		},
		"children back with their parents": func(c *scenario.Case) {
			if c.Number%8 == 0 && c.Referral != nil && c.Referral.Outcome == "REUNIFIED" {
				c.Referral.Outcome = "DIED"
			}
		},
		"support": func(c *scenario.Case) {
			if c.Number%6 == 0 && c.Referral != nil {
				c.Referral.Services = []string{"SHELTER"}
			}
		},
		"week": func(c *scenario.Case) {
			if c.Time.Weekday() == time.Friday && c.Number%3 == 0 {
				c.Time = c.Time.AddDate(0, 0, 1)
			}
		},
		"day": func(c *scenario.Case) {
			if c.Number%10 == 0 {
				c.Time = time.Date(c.Time.Year(), c.Time.Month(), c.Time.Day(), 3, 0, 0, 0, c.Time.Location())
			}
		},
		"season": func(c *scenario.Case) {
			if c.Number%3 == 0 && c.Kind == "beggary" {
				c.Time = time.Date(2026, time.March, 1+c.Number%15, 12, 0, 0, 0, c.Time.Location())
			}
		},
		"answers": func(c *scenario.Case) {
			if c.Referral != nil && c.Referral.Answers[0].Silent && c.Number%2 == 0 {
				c.Referral.Answers = append([]scenario.Answer(nil), c.Referral.Answers[1:]...)
			}
		},
		"road": func(c *scenario.Case) {
			if c.Referral != nil && c.Number%25 == 0 {
				c.Referral.NoShow = true
			}
		},
	} {
		spoiled := copied(make5000(t))
		for i := range spoiled.Cases {
			spoil(&spoiled.Cases[i])
		}
		wrong := refused(t, spoiled)
		if !wrong[of] {
			t.Errorf("a year spoiled in %q is taken; refused are %v", of, wrong)
		}
	}
	if wrong := refused(t, copied(make5000(t))); len(wrong) > 0 {
		t.Errorf("the year itself is refused in %v", wrong)
	}
}

func copied(y *scenario.Year) *scenario.Year {
	spoiled := *y
	spoiled.Cases = make([]scenario.Case, len(y.Cases))
	for i, c := range y.Cases {
		c.Case = proto.CloneOf(c.Case)
		if c.Referral != nil {
			r := *c.Referral
			c.Referral = &r
		}
		spoiled.Cases[i] = c
	}
	return &spoiled
}

// refused are the parts of the table that are out of their bounds.
func refused(t *testing.T, y *scenario.Year) map[string]bool {
	t.Helper()
	rows, err := scenario.Table(y)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, r := range rows {
		if !r.OK {
			all[r.Of] = true
		}
	}
	return all
}

// A bound is of use only where it is narrow: in a year of 5000 referrals no share of 5000 or more may be off by a twentieth of the whole.
func TestBoundsAreNarrow(t *testing.T) {
	rows, err := scenario.Table(make5000(t))
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]bool{}
	for _, r := range rows {
		groups[r.Of] = true
		few := r.N < 5000
		if !few && r.Bound > 0.05 || r.Bound <= 0 || r.Published <= 0 || r.N == 0 {
			t.Errorf("%s, %s: a bound of %.3f around %.3f of %d", r.Of, r.What, r.Bound, r.Published, r.N)
		}
		if !r.Assumed && r.Source == "" {
			t.Errorf("%s, %s: neither assumed nor of a source", r.Of, r.What)
		}
	}
	for _, of := range strings.Split("taken in, children;taken in, women;children taken in, by city;sex;families;referrals;support;week;day;season;answers;road", ";") {
		if !groups[of] {
			t.Errorf("the table has no %q, but %v", of, maps.Keys(groups))
		}
	}
}
