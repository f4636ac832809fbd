package story

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/zone"
)

// The year that is played is over when it begins to be, also on the day that only some years have, and lasts as long as a year.
func TestYearBefore(t *testing.T) {
	for now := time.Date(2026, time.November, 26, 0, 0, 0, 0, zone.Karachi); now.Year() < 2033; now = now.Add(7 * time.Hour) {
		start := yearBefore(now)
		if end := start.AddDate(1, 0, 0); end.After(now) || now.Sub(end) >= 48*time.Hour || start.Hour() != 0 || end.Sub(start) < 365*24*time.Hour {
			t.Fatalf("at %v the year before began at %v", now, start)
		}
	}
}

func planIn(t *testing.T) (*network.Layout, *Plan, string) {
	t.Helper()
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(l, 7, 30)
	if err != nil {
		t.Fatal(err)
	}
	return l, p, filepath.Join(l.Root, planFile)
}

// A plan that was kept makes the same year; of people whom another version made nobody goes on to tell.
func TestAPlanMakesItsYear(t *testing.T) {
	l, p, _ := planIn(t)
	first, err := p.Year()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := LoadPlan(l)
	if err != nil {
		t.Fatal(err)
	}
	again, err := kept.Year()
	if err != nil || len(again.Cases) != len(first.Cases) || !again.Start.Equal(first.Start) {
		t.Fatalf("%d cases, then %d: %v", len(first.Cases), len(again.Cases), err)
	}
	kept.Digest = "of another version"
	if _, err := kept.Year(); err == nil || !strings.Contains(err.Error(), "make clean-data") {
		t.Errorf("other people: %v", err)
	}
}

// What is no plan is refused with what to do, and not played as some other year.
func TestNoPlan(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "torn": `{"seed":7,"refer`, "nothing said": "{}", "of before digests": `{"seed":7,"referrals":30,"start":"2025-11-26T00:00:00+05:00"}`,
		"no year": `{"seed":7,"referrals":-3,"start":"2025-11-26T00:00:00+05:00","digest":"1"}`, "another file": "[]",
	} {
		l, _, path := planIn(t)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPlan(l); err == nil || !strings.Contains(err.Error(), "make clean-data") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A start that was broken off at any moment goes on at the next: there is no calendar without a plan, and a plan without a calendar gets it.
func TestAStartThatWasBrokenOff(t *testing.T) {
	l, p, _ := planIn(t)
	path := filepath.Join(l.Root, "calendar")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPlan(l); err != nil {
		t.Fatal(err)
	}
	clock, err := l.Calendar()
	if err != nil || clock == nil || clock.Now().Sub(p.Start).Abs() > time.Minute {
		t.Fatalf("no calendar from %v on: %v", p.Start, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(l.Root, "punjab", network.Shelter, network.Shelter+".db") // it has played: nothing may go back
	if err := durable.Create(ran, nil); err != nil {
		t.Fatal(err)
	}
	kept, err := LoadPlan(l)
	if err != nil {
		t.Fatal(err)
	}
	year, err := kept.Year()
	if err != nil {
		t.Fatal(err)
	}
	if player, err := OpenPlayer(l, year, PlayOptions{}); err == nil || !strings.Contains(err.Error(), "make clean-data") {
		t.Errorf("a year without its calendar: %v %v", player, err)
	}
	none, err := network.Free(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(none.Root, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewPlan(none, 1, 2); err == nil {
		t.Error("a plan is made where nothing can be written")
	}
}
