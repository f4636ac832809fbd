package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/faults"
	"amanat.example/deploy/story"
)

// A year of the demo as people run it, while everything breaks that it can break: nobody is lost, nobody doubled, no bed promised twice, the
// federal cell counts the same, and all files are sound.
func TestDemoUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	c := newCountry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const referrals, cut = "60", "2s"
	demo := exec.CommandContext(ctx, c.amanat, "demo", "--data", c.layout.Root, "--once", "--json", "--referrals", referrals,
		"--faults", "--seed", "13", "--cut", "sindh:"+cut, "--cut", "punjab:"+cut, "--cut", "balochistan:"+cut)
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
	want := faults.Done{Seed: 13, Cuts: 3, Kills: len(c.layout.Parts()), BusWipes: 4, HubWipes: 1, HubRollBacks: 1}
	if result.Faults != want {
		t.Errorf("faults: %+v, want %+v", result.Faults, want)
	}
	if lines := strings.Count(told.String(), "\n"); lines < want.All() {
		t.Errorf("%d lines tell of %d faults:\n%s", lines, want.All(), told.String())
	}
	c.sound(t)
}
