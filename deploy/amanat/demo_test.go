package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"amanat.example/deploy/faults"
	"amanat.example/deploy/network"
)

// What cannot be broken as asked is refused with what would do, and nothing is made.
func TestDemoRefusesFaults(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for remedy, args := range map[string][]string{
		"use sindh, punjab or balochistan":         {"--once", "--cut", "atlantis:1s"},
		`"federal" is no province`:                 {"--once", "--cut", "federal:1s"},
		"give a duration after the province":       {"--once", "--cut", "punjab"},
		"--cut punjab:-1s: give a duration":        {"--once", "--cut", "punjab:-1s"},
		"at most 1h0m0s":                           {"--once", "--cut", "punjab:2h"},
		"a province is cut once each way":          {"--once", "--cut", "punjab:1s", "--cut", "punjab:1s:out", "--cut", "punjab:2s:out"},
		"use out, in, flap or slow":                {"--once", "--cut", "punjab:1s:sideways"},
		`"" is no way`:                             {"--once", "--cut", "punjab:1s:"},
		"add --once":                               {"--kill"},
		"leaves nothing to kill":                   {"--once", "--in-process", "--faults"},
		"--referrals must lie between 1 and 50000": {"--once", "--referrals", "-1"},
		"must lie between 1 and 50000":             {"--once", "--referrals", "0"},
		"--pace must be max":                       {"--once", "--pace", "fast"},
		"give it with --once":                      {"--surge"},
		"--json is the result of a run that ends":  {"--json"},
		"leave --surge or the faults out":          {"--once", "--surge", "--kill"},
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
	if !o.Kill || o.Freeze != 2*time.Second || !o.WipeBus || !o.WipeHub || !o.RollBackHub || o.Seed != 5 {
		t.Errorf("all: %+v", o)
	}
	if len(o.Cuts) != 3*5 || o.Cuts[0] != (faults.Cut{Node: "sindh", For: 10 * time.Second}) || o.Cuts[1] != (faults.Cut{Node: "sindh", For: 3 * time.Second, How: faults.Out}) {
		t.Errorf("all: %+v", o)
	}
	if o = read(faultFlags{every: true, cuts: []string{"punjab:2s"}}); len(o.Cuts) != 1 || o.Cuts[0] != (faults.Cut{Node: "punjab", For: 2 * time.Second}) {
		t.Errorf("with a cut: %+v", o.Cuts)
	}
	if _, any, err := (&faultFlags{}).options(5); any || err != nil {
		t.Errorf("nothing was asked for: %t %v", any, err)
	}
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
		"--kill":              {Seed: 5, Kill: true},
		"--freeze":            {Seed: 5, Freeze: 2 * time.Second},
		"--wipe-bus":          {Seed: 5, WipeBus: true},
		"--wipe-hub":          {Seed: 5, WipeHub: true},
		"--roll-back-hub":     {Seed: 5, RollBackHub: true},
		"--cut=sindh:3s":      {Seed: 5, Cuts: []faults.Cut{{Node: "sindh", For: 3 * time.Second}}},
		"--cut=sindh:3s:slow": {Seed: 5, Cuts: []faults.Cut{{Node: "sindh", For: 3 * time.Second, How: faults.Slow}}},
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
	run := func(live bool) string {
		var out strings.Builder
		p := &progress{errs: &out, bar: live}
		p.show(bar(0.25) + " one")
		p.tell("%s is killed", "punjab/bus")
		p.show(bar(1) + " two")
		p.end()
		return out.String()
	}
	if got := run(false); got != "  punjab/bus is killed\n" {
		t.Errorf("elsewhere: %q", got)
	}
	first, second := "  [#######-----------------------] one", "  [##############################] two"
	want := clearLine + first + clearLine + "  punjab/bus is killed\n" + first + clearLine + second + clearLine
	if got := run(true); got != want {
		t.Errorf("at a terminal:\n%q, want\n%q", got, want)
	}
}

// Who watches sees a year of some hundred referrals go by in minutes; a machine gets one girl, or a year as fast as it goes.
func TestDemoFlags(t *testing.T) {
	for name, c := range map[string]struct {
		flags     demoFlags
		referrals int
		days      float64
	}{
		"watched":         {demoFlags{}, usualReferrals, usualPace},
		"watched fast":    {demoFlags{pace: maxPace}, usualReferrals, 0},
		"at another pace": {demoFlags{pace: "2.5", referrals: 30}, 30, 2.5},
		"once":            {demoFlags{once: true}, 1, 0},
		"a year once":     {demoFlags{once: true, referrals: 5000, pace: maxPace}, 5000, 0},
	} {
		if err := c.flags.check(); err != nil || c.flags.referrals != c.referrals || c.flags.days != c.days {
			t.Errorf("%s: %d referrals, %v days in a second, %v", name, c.flags.referrals, c.flags.days, err)
		}
	}
	for _, pace := range []string{"0", "-1", "NaN", "fast", "1e9"} {
		if err := (&demoFlags{once: true, pace: pace}).check(); err == nil {
			t.Errorf("pace %s is taken", pace)
		}
	}
}

// A year that was begun goes on as it was begun, whatever is asked for by then.
func TestAPlanIsKept(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	first := demoFlags{referrals: 70, seed: 9}
	begun, err := first.plan(l, &told)
	if err != nil || told.Len() > 0 {
		t.Fatal(err, told.String())
	}
	clock, err := l.Calendar()
	if err != nil || clock == nil || clock.Now().Sub(begun.Start).Abs() > time.Minute {
		t.Fatalf("the calendar does not begin with the year: %v", err)
	}
	if _, err := (&demoFlags{referrals: 600}).plan(l, &told); err != nil || told.Len() > 0 {
		t.Errorf("who asks for nothing is told: %s %v", told.String(), err)
	}
	again := demoFlags{referrals: 600, counted: true}
	plan, err := again.plan(l, &told)
	if err != nil || again.referrals != 70 || again.seed != 9 || !plan.Start.Equal(begun.Start) || !strings.Contains(told.String(), "70 referrals and seed 9") {
		t.Errorf("%+v %+v: %v %s", again, plan, err, told.String())
	}
	if err := plan.Finish(); err != nil {
		t.Fatal(err)
	}
	if plan, err = (&demoFlags{referrals: 70}).plan(l, &told); err != nil || !plan.Finished {
		t.Errorf("a year that is over would be played again: %v", err)
	}
	if plan, err := (&demoFlags{surge: true, referrals: 1}).plan(l, &told); err == nil || !strings.Contains(err.Error(), "leave --data out") {
		t.Errorf("a surge beside a year: %v %v", plan, err)
	}
	if plan, err := (&demoFlags{referrals: 1}).plan(&network.Layout{Root: t.TempDir()}, &told); plan != nil || err != nil {
		t.Errorf("one girl has no year: %v %v", plan, err)
	}
}

// Tokens are kept from one start to the next, and made anew before they are good no more.
func TestTokensOfTheDemo(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	secrets := func(age time.Duration) string {
		t.Helper()
		all := ""
		people, err := (&demoFlags{}).people(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range people {
			secret, err := os.ReadFile(p.file)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(p.file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the token of %s may be read by others: %v", p.role, err)
			}
			all += string(secret)
			if err := os.Chtimes(p.file, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	first := secrets(renewTokens - time.Hour)
	if again := secrets(renewTokens + time.Hour); again != first {
		t.Error("tokens that are good are made anew")
	}
	if secrets(0) == first {
		t.Error("old tokens are kept")
	}
}
