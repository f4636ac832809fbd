package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	federalv1 "amanat.example/proto/amanat/federal/v1"
)

// A run ends with an error exactly where a promise broke, of whatever was played, and for machines it prints one object and nothing else.
func TestAResultThatIsBrokenFails(t *testing.T) {
	result := story.Result{Referrals: 2, States: map[string]int{"COMPLETED": 2}, FederalMatches: true}
	girl := func() *demoResult { return &demoResult{Result: result, FederalFacts: 7} }
	year := func() *demoResult {
		return &demoResult{Result: result, YearResult: &story.YearResult{Result: result, Identified: 9}, FederalFacts: 7}
	}
	surge := func() *demoResult { return &demoResult{Surge: &surged{Children: 5, Counted: 5}, FederalFacts: 5} }
	for name, c := range map[string]struct {
		made  func() *demoResult
		spoil func(*demoResult)
		kept  bool
	}{
		"a girl":                       {girl, func(*demoResult) {}, true},
		"a year":                       {year, func(*demoResult) {}, true},
		"a surge":                      {surge, func(*demoResult) {}, true},
		"a year played before":         {func() *demoResult { return &demoResult{before: true, FederalFacts: 7} }, func(*demoResult) {}, true},
		"a year of before that is not": {func() *demoResult { return &demoResult{before: true} }, func(*demoResult) {}, false},
		"a girl who is lost":           {girl, func(r *demoResult) { r.Result.Lost = 1 }, false},
		"a girl and other facts":       {girl, func(r *demoResult) { r.FederalFacts = 0 }, false},
		"a year with somebody lost":    {year, func(r *demoResult) { r.YearResult.Lost = 1 }, false},
		"a year and other facts":       {year, func(r *demoResult) { r.FederalFacts = 0 }, false},
		"a year counted otherwise":     {year, func(r *demoResult) { r.YearResult.FederalMatches = false }, false},
		"a surge counted otherwise":    {surge, func(r *demoResult) { r.Surge.Counted = 6 }, false},
		"a surge and other facts":      {surge, func(r *demoResult) { r.FederalFacts = 0 }, false},
	} {
		for _, asJSON := range []bool{false, true} {
			r := c.made()
			c.spoil(r)
			var out strings.Builder
			if err := (&demoFlags{once: true, json: asJSON}).report(&out, r); (err == nil) != c.kept || err != nil && !errors.Is(err, errBroken) {
				t.Errorf("%s: %v", name, err)
			}
			object := map[string]any{}
			read := json.NewDecoder(strings.NewReader(out.String()))
			if asJSON && (read.Decode(&object) != nil || read.Decode(&object) != io.EOF || object["federal_facts"] == nil) {
				t.Errorf("%s: %s", name, out.String())
			}
		}
	}
}

// A year that somebody watches goes on another time; what was to be judged and was not is an error.
func TestStopped(t *testing.T) {
	for name, c := range map[string]struct {
		run run
		err error
	}{
		"a year that is watched": {run{demoFlags: &demoFlags{}, plan: &story.Plan{}}, nil},
		"a year to its end":      {run{demoFlags: &demoFlags{once: true}, plan: &story.Plan{}}, errStopped},
		"a girl":                 {run{demoFlags: &demoFlags{}}, errStopped},
	} {
		var out strings.Builder
		if err := c.run.stopped(&out); !errors.Is(err, c.err) || (err == nil) != strings.Contains(out.String(), "goes on") {
			t.Errorf("%s: %v %s", name, err, out.String())
		}
	}
}

// One day that differs, or that nobody told, and nothing is known to be whole; the command that shows figures says which and fails.
func TestOneDayThatDiffers(t *testing.T) {
	day := func(kept, told int64) *federalv1.DayRecord {
		return &federalv1.DayRecord{Node: "sindh", Service: "referral", Kept: &federalv1.FlowDay{Day: "2026-03-04", Facts: kept}, Told: &federalv1.FlowDay{Facts: told}}
	}
	if got := wholeFacts([]*federalv1.DayRecord{day(3, 3), day(4, 4)}); got != 7 {
		t.Errorf("%d of 7 facts", got)
	}
	for _, days := range [][]*federalv1.DayRecord{nil, {day(3, 3), day(4, 5)}, {day(5, 4), day(3, 3)}, {day(3, 3), {Kept: &federalv1.FlowDay{Facts: 1}}}} {
		if got := wholeFacts(days); got != 0 {
			t.Errorf("%v: %d facts are taken for whole", days, got)
		}
	}
	differs := day(4, 5)
	differs.DifferTime = timestamppb.Now()
	if err := differing([]*federalv1.DayRecord{day(3, 3), differs}); err == nil || !strings.Contains(err.Error(), "referral of sindh told 5 facts of 2026-03-04, and 4 are counted") {
		t.Error(err)
	}
	if err := differing([]*federalv1.DayRecord{day(3, 3), day(4, 5)}); err != nil {
		t.Errorf("a day that is not settled yet: %v", err)
	}
}

// Links are there to be cut while a year is played by processes, and no longer.
func TestLinked(t *testing.T) {
	l := network.Fixed(t.TempDir())
	for name, c := range map[string]struct {
		flags demoFlags
		plan  *story.Plan
		links int
	}{
		"a year": {demoFlags{}, &story.Plan{}, 3}, "a year that is over": {demoFlags{}, &story.Plan{Finished: true}, 0}, "no year": {demoFlags{}, nil, 0},
		"in one process": {demoFlags{one: true}, &story.Plan{}, 0},
	} {
		if got := c.flags.linked(l, c.plan, nil); len(got) != c.links {
			t.Errorf("%s: links of %v", name, got)
		}
	}
}

// There is no line to keep up to date in a file or a pipe, nor beside what is for machines.
func TestNobodyWatches(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "errors"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	for name, errs := range map[string]io.Writer{"a file": file, "a pipe": write, "a buffer": &strings.Builder{}} {
		if (&run{demoFlags: &demoFlags{}, errs: errs}).progress().bar {
			t.Errorf("%s is taken for a terminal", name)
		}
	}
}
