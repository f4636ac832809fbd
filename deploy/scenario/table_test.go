package scenario_test

import (
	"strings"
	"testing"

	"amanat.example/deploy/scenario"
)

// Marginals: what was made lies within the stated bounds of what is published. With -v the table is printed.
func TestMarginals(t *testing.T) {
	for _, options := range []scenario.Options{
		{},
		{Seed: 7, Referrals: 5000},
		{Seed: 1, Referrals: 5000},
		{Seed: 2, Referrals: 300},
		{Seed: 3, Referrals: 20000, Interprovincial: 0.4, Referred: 0.3},
		{Seed: 4, Referrals: 2000, Interprovincial: -1, Referred: 1},
		{Seed: 5, Referrals: 2000, Interprovincial: 1},
	} {
		y, err := scenario.Make(options)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := scenario.Table(y)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := scenario.Print(&text, rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if !r.OK {
				t.Errorf("%+v: %s, %s: made %.4f, published %.4f, further apart than %.4f", options, r.Of, r.What, r.Made, r.Published, r.Bound)
			}
		}
		t.Logf("%d cases, %d rows\n%s", len(y.Cases), len(rows), text.String())
	}
}
