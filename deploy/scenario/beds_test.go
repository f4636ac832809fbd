package scenario_test

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// Where a place is expected to be found there is a bed, nearly always: what is made would fit into the beds, if people did as it says.
func TestBedsAreFree(t *testing.T) {
	type step struct {
		at   time.Time
		beds int
	}
	y, steps, came, full := make5000(t), map[string][]step{}, 0, 0
	for _, c := range y.Cases {
		if c.Referral == nil {
			continue
		}
		at := c.Time.Add(c.Referral.After)
		for _, a := range c.Referral.Answers {
			at = at.Add(a.Delay)
		}
		if group := c.Referral.Answers[len(c.Referral.Answers)-1].Group; group != "" {
			came++
			steps[group] = append(steps[group], step{at, 1}, step{at.Add(c.Referral.Road + c.Referral.Stay), -1})
		}
	}
	for _, s := range y.Shelters {
		for _, g := range s.Shelter.GetGroups() {
			taken, all := 0, steps[s.Shelter.GetName()+"/groups/"+g.GetName()]
			slices.SortFunc(all, func(a, b step) int { return cmp.Or(a.at.Compare(b.at), a.beds-b.beds) })
			for _, one := range all {
				if taken += one.beds; one.beds > 0 && taken > int(g.GetTotal()) {
					full++
				}
			}
		}
	}
	if came < 1500 || full > came/100 {
		t.Errorf("%d of %d come where no bed is free", full, came)
	}
}
