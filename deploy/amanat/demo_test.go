package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"amanat.example/deploy/faults"
)

// What cannot be broken as asked is refused with what would do, and nothing is made.
func TestDemoRefusesFaults(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for remedy, args := range map[string][]string{
		"use sindh, punjab or balochistan":        {"--once", "--cut", "atlantis:1s"},
		`"federal" is no province`:                {"--once", "--cut", "federal:1s"},
		"give a duration after the province":      {"--once", "--cut", "punjab"},
		"--cut punjab:-1s: give a duration":       {"--once", "--cut", "punjab:-1s"},
		"at most 1h0m0s":                          {"--once", "--cut", "punjab:2h"},
		"a province is cut once":                  {"--once", "--cut", "punjab:1s", "--cut", "punjab:2s"},
		"add --once":                              {"--kill"},
		"leaves nothing to kill":                  {"--once", "--in-process", "--faults"},
		"--referrals must lie between 1 and 5000": {"--once", "--referrals", "0"},
	} {
		refused(t, remedy, append([]string{"demo", "--data", data}, args...)...)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("something was made")
	}
}

// One flag asks for everything; what is said besides of a cut holds.
func TestFaultFlags(t *testing.T) {
	read := func(f faultFlags) faults.Options {
		t.Helper()
		o, _, err := f.options(5)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := read(faultFlags{every: true})
	if !o.Kill || !o.WipeBus || !o.WipeHub || !o.RollBackHub || len(o.Cuts) != 3 || o.Cuts[0].For != 10*time.Second || o.Seed != 5 {
		t.Errorf("all: %+v", o)
	}
	if o = read(faultFlags{every: true, cuts: []string{"punjab:2s"}}); len(o.Cuts) != 1 || o.Cuts[0] != (faults.Cut{Node: "punjab", For: 2 * time.Second}) {
		t.Errorf("with a cut: %+v", o.Cuts)
	}
	if _, any, err := (&faultFlags{}).options(5); any || err != nil {
		t.Errorf("nothing was asked for: %t %v", any, err)
	}
}

// A child who is not through in time is given up and told of, by what name it has; the others go on, and all count as played.
func TestAChildIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told strings.Builder
		shown := &progress{errs: &told}
		played := 0
		names, err := handovers(t.Context(), 4, time.Minute, func(ctx context.Context, number int) (string, error) {
			switch number {
			case 2: // its referral is known
				<-ctx.Done()
				return "referral-2", ctx.Err()
			case 3:
				<-ctx.Done()
				return "", ctx.Err()
			}
			return fmt.Sprintf("referral-%d", number), nil
		}, shown.tell, func() { played++ })
		slices.Sort(names)
		if want := []string{"child 3, not referred", "referral-1", "referral-2", "referral-4"}; err != nil || !slices.Equal(names, want) || played != 4 {
			t.Errorf("%v %v, %d played", names, err, played)
		}
		if got := told.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "Child 2 is given up: referral-2") {
			t.Errorf("told: %q", got)
		}
	})
}

// Links that are cut for longer than a child is waited for do not make it a lost one.
func TestWaitingForCuts(t *testing.T) {
	f := demoFlags{once: true, faults: faultFlags{cuts: []string{"punjab:10m", "sindh:1h"}}}
	broken, err := f.breaking()
	if err != nil || broken.cutFor() != 70*time.Minute {
		t.Errorf("%v %v", broken.cutFor(), err)
	}
	if broken = nil; broken.cutFor() != 0 {
		t.Error("nothing is cut")
	}
}

// Each flag asks for what it names, and for nothing besides.
func TestEachFaultFlag(t *testing.T) {
	for flag, want := range map[string]faults.Options{
		"--kill":          {Seed: 5, Kill: true},
		"--wipe-bus":      {Seed: 5, WipeBus: true},
		"--wipe-hub":      {Seed: 5, WipeHub: true},
		"--roll-back-hub": {Seed: 5, RollBackHub: true},
		"--cut=sindh:3s":  {Seed: 5, Cuts: []faults.Cut{{Node: "sindh", For: 3 * time.Second}}},
	} {
		var f faultFlags
		c := &cobra.Command{}
		f.add(c)
		if err := c.ParseFlags([]string{flag}); err != nil {
			t.Fatal(err)
		}
		if o, any, err := f.options(5); err != nil || !any || !reflect.DeepEqual(o, want) {
			t.Errorf("%s: %+v %t %v", flag, o, any, err)
		}
	}
}

// At a terminal the last line keeps up and what is told stands above it; elsewhere there is no such line.
func TestProgress(t *testing.T) {
	run := func(bar bool) string {
		var out strings.Builder
		p := &progress{errs: &out, bar: bar, referrals: 4, faults: 2}
		p.referralDone()
		p.tell("%s is killed", "punjab/bus")
		p.faultBegun()
		p.end()
		return out.String()
	}
	if got := run(false); got != "  punjab/bus is killed\n" {
		t.Errorf("elsewhere: %q", got)
	}
	first, second := "  [#######-----------------------] 1 of 4 referrals, 0 of 2 faults", "  [#######-----------------------] 1 of 4 referrals, 1 of 2 faults"
	want := clearLine + first + clearLine + "  punjab/bus is killed\n" + first + clearLine + second + clearLine
	if got := run(true); got != want {
		t.Errorf("at a terminal:\n%q, want\n%q", got, want)
	}
}
