package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/faults"
	"amanat.example/deploy/network"
	"amanat.example/deploy/story"
	"amanat.example/services/kit/soaktest"
)

// A year of the demo as people run it, while everything breaks that it can break: nobody is lost, nobody doubled, no bed promised twice, the
// federal cell counts the same, and all files are sound. In a soak one year after the other, each broken at other moments.
func TestDemoUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	for n := range soaktest.Rounds(t, 1, 1) {
		yearUnderFaults(t, 13+uint64(n))
	}
}

// A year of the whole network in one process, under the race detector, which does not look into the processes that the other tests start.
func TestAYearInOneProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command under the race detector; run without -short")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no C compiler, so no race detector: apt-get install gcc libc6-dev")
	}
	t.Parallel()
	amanat := build(t, "amanat-race", "amanat.example/deploy/amanat", "-race")
	layout, err := network.Free(filepath.Join(t.TempDir(), "data"))
	must(t, err)
	must(t, layout.Init())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	demo := exec.CommandContext(ctx, amanat, "demo", "--data", layout.Root, "--once", "--json", "--in-process", "--referrals", "10", "--pace", "max")
	var told bytes.Buffer
	demo.Stderr = &told
	out, err := demo.Output() // a race that was found is an exit code of its own
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, told.String())
	}
	var result story.YearResult
	must(t, json.Unmarshal(out, &result))
	if result.Referrals < 8 || !result.Kept() {
		t.Errorf("a promise broke: %s", out)
	}
	t.Logf("%d referrals, and no race", result.Referrals)
}

func yearUnderFaults(t *testing.T, seed uint64) {
	t.Helper()
	c := newCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args := []string{"demo", "--data", c.layout.Root, "--once", "--json", "--referrals", "60", "--faults", "--seed", strconv.FormatUint(seed, 10)}
	for _, province := range []string{"sindh", "punjab", "balochistan"} {
		for _, how := range []string{"", ":out", ":in", ":flap", ":slow"} {
			args = append(args, "--cut", province+":2s"+how)
		}
	}
	demo := exec.CommandContext(ctx, c.amanat, args...)
	var out, told bytes.Buffer
	demo.Stdout, demo.Stderr = &out, &told
	if err := demo.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), told.String())
	}
	var result struct {
		story.YearResult
		Faults faults.Done
	}
	must(t, json.Unmarshal(out.Bytes(), &result))
	if result.Referrals < 50 || !result.Kept() {
		t.Errorf("a promise broke: %s", out.String())
	}
	processes := len(c.layout.Parts())
	want := faults.Done{
		Seed: seed, Cuts: 3, OneWayCuts: 6, Flaps: 3, Slowed: 3, Kills: processes, Freezes: processes, BusWipes: 4, HubWipes: 1, HubRollBacks: 1,
	}
	if result.Faults != want {
		t.Errorf("faults: %+v, want %+v", result.Faults, want)
	}
	if lines := strings.Count(told.String(), "\n"); lines < want.All() {
		t.Errorf("%d lines tell of %d faults:\n%s", lines, want.All(), told.String())
	}
	t.Logf("%d faults in a year of %d referrals: %+v", want.All(), result.Referrals, result.Faults)
	c.sound(t)
}
