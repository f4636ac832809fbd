package scenario_test

import (
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"amanat.example/deploy/scenario"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/soaktest"
)

var five = sync.OnceValues(func() (*scenario.Year, error) { return scenario.Make(scenario.Options{Seed: 7, Referrals: 5000}) })

func make5000(t *testing.T) *scenario.Year {
	t.Helper()
	y, err := five()
	if err != nil {
		t.Fatal(err)
	}
	return y
}

func TestTheSameOptionsMakeTheSameYear(t *testing.T) {
	referrals := soaktest.Alone(5000, 1000)
	var sums []string
	for _, seed := range []uint64{7, 7, 8} {
		y, err := scenario.Make(scenario.Options{Seed: seed, Referrals: referrals})
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, digest(t, y))
	}
	if sums[0] != sums[1] {
		t.Error("two years of the same options differ")
	}
	if sums[1] == sums[2] {
		t.Error("another seed makes the same year")
	}
}

func digest(t *testing.T, y *scenario.Year) string {
	t.Helper()
	sum, err := y.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// Whatever is changed in a year changes its digest.
func TestDigest(t *testing.T) {
	y, err := scenario.Make(scenario.Options{Seed: 7, Referrals: 100})
	if err != nil {
		t.Fatal(err)
	}
	referred := slices.IndexFunc(y.Cases, func(c scenario.Case) bool { return c.Referral != nil })
	seen := map[string]string{digest(t, y): "nothing"}
	for what, change := range map[string]func(y *scenario.Year){
		"a cut":     func(y *scenario.Year) { y.Cuts = y.Cuts[1:] },
		"a unit":    func(y *scenario.Year) { y.Units = y.Units[1:] },
		"a shelter": func(y *scenario.Year) { y.Shelters = y.Shelters[1:] },
		"a case":    func(y *scenario.Year) { y.Cases = y.Cases[1:] },
		"a time":    func(y *scenario.Year) { y.Cases[0].Time = y.Cases[0].Time.Add(1) },
		"a person":  func(y *scenario.Year) { y.Cases[0].Case.Person.GivenName += "." },
		"a consent": func(y *scenario.Year) { y.Cases[referred].Consent = nil },
		"a request": func(y *scenario.Year) { y.Cases[referred].Referral.Request = &protectionv1.ReferCaseRequest{} },
		"a stay":    func(y *scenario.Year) { y.Cases[referred].Referral.Stay++ },
		"an answer": func(y *scenario.Year) { y.Cases[referred].Referral.Answers = nil },
		"an option": func(y *scenario.Year) { y.Options.Seed++ },
	} {
		changed := copied(y)
		change(changed)
		sum := digest(t, changed)
		if seen[sum] != "" {
			t.Errorf("%s changes no more than %s", what, seen[sum])
		}
		seen[sum] = what
	}
}

func TestOptionsOutOfRangeAreRefused(t *testing.T) {
	for field, options := range map[string]scenario.Options{
		"Referred": {Referred: -0.1}, "Referred ": {Referred: 1.1}, "Referred  ": {Referred: math.NaN()},
		"Interprovincial": {Interprovincial: 1.5}, "Interprovincial ": {Interprovincial: math.NaN()}, "Referrals": {Referrals: -1},
	} {
		if y, err := scenario.Make(options); err == nil || y != nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// As many referrals as are asked for, however few, and cases in order of time within the year.
func TestAsManyAsAskedFor(t *testing.T) {
	for _, options := range []scenario.Options{
		{Referrals: 1},
		{Referrals: 7, Referred: 1},
		{Referrals: 50, Referred: 0.01, Interprovincial: 1},
		{Referrals: 999, Interprovincial: -1},
		{Referrals: 100, Start: time.Date(2024, time.January, 31, 22, 0, 0, 0, time.UTC)},
	} {
		y, err := scenario.Make(options)
		if err != nil {
			t.Fatal(err)
		}
		if y.Start.Hour() != 0 || !options.Start.IsZero() && options.Start.Sub(y.Start) != 3*time.Hour {
			t.Errorf("%+v: begins at %v", options, y.Start)
		}
		referred, away := 0, 0
		for i, c := range y.Cases {
			if c.Number != i+1 || i > 0 && c.Time.Before(y.Cases[i-1].Time) || c.Time.Before(y.Start) || c.Time.After(y.End.Add(time.Hour)) {
				t.Fatalf("%+v: case %d of %v is out of order or of the year", options, c.Number, c.Time)
			}
			if c.Referral != nil {
				referred++
				if !strings.HasPrefix(c.Referral.Request.GetToUnit(), "nodes/"+c.Node+"/") {
					away++
				}
			}
		}
		want := int(math.Round(float64(options.Referrals) * y.Options.Interprovincial))
		if referred != options.Referrals || away != want {
			t.Errorf("%+v: %d referrals of which %d to another province, want %d", options, referred, away, want)
		}
	}
}

// Cuts lie in the year and never over each other; Balochistan's last longest.
func TestCuts(t *testing.T) {
	y := make5000(t)
	ends, away, long := map[string]time.Time{}, map[string]time.Duration{}, 0
	for _, c := range y.Cuts {
		if c.From.Before(y.Start) || c.From.Add(c.For).After(y.End) || c.From.Before(ends[c.Node]) || c.For <= 0 {
			t.Errorf("%s: cut from %v for %v", c.Node, c.From, c.For)
		}
		if most := map[string]time.Duration{"balochistan": 7 * 24 * time.Hour}[c.Node]; c.For > max(most, 24*time.Hour) {
			t.Errorf("%s: away for %v", c.Node, c.For)
		}
		ends[c.Node] = c.From.Add(c.For)
		away[c.Node] += c.For
		if c.For > 24*time.Hour && c.Node == "balochistan" {
			long++
		}
	}
	if len(away) != 3 || long < 3 || away["balochistan"] < 4*away["sindh"] {
		t.Errorf("away for %v; %d cuts of Balochistan for more than a day", away, long)
	}
}
