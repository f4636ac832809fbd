package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/network"
	"amanat.example/deploy/scenario"
	"amanat.example/deploy/story"
)

// A year is broken off in the middle, by an end of all processes; the next start goes on with it, and all nodes say the same of all people.
func TestYearGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	c := newCountry(t)
	plan, err := story.NewPlan(c.layout, 7, 40)
	must(t, err)
	year, err := plan.Year()
	must(t, err)
	middle := year.Start.AddDate(0, 6, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()

	first := c.playYear(t, ctx, year, func(player *story.Player, stop func()) {
		for ctx.Err() == nil {
			if _, day := player.Counts(); day.After(middle) {
				stop()
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	if !errors.Is(first, context.Canceled) {
		t.Fatalf("the year was not broken off: %v", first)
	}
	clock, err := c.layout.Calendar()
	must(t, err)
	if now := clock.Now(); now.Before(middle) || clock.Behind() == 0 {
		t.Fatalf("it was broken off at %v", now)
	}

	var result *story.YearResult
	second := c.playYear(t, ctx, year, func(player *story.Player, _ func()) {
		result, err = player.Examine(ctx)
		must(t, err)
	}, true)
	must(t, second)
	if clock.Behind() != 0 {
		t.Errorf("the calendar is %v behind at the end", clock.Behind())
	}
	intakes := 0
	for _, one := range year.Cases {
		if one.Time.Before(time.Now()) {
			intakes++
		}
	}
	if !result.Kept() || result.Identified != intakes || result.Referrals < 35 || result.States["COMPLETED"] < 20 || result.DeadlinesMissed == 0 {
		t.Errorf("%d were to be taken in: %+v", intakes, result)
	}
	c.sound(t)
}

// playYear runs the network and plays on it what is left of a year; along looks on meanwhile, or afterwards.
func (c *country) playYear(t *testing.T, ctx context.Context, year *scenario.Year, along func(*story.Player, func()), afterwards ...bool) error {
	t.Helper()
	c.run(t, func(p network.Part) []string {
		return []string{c.amanat, "part", "--data", c.layout.Root, p.Node, p.Name}
	})
	defer c.stop()
	player, err := story.OpenPlayer(c.layout, year, story.PlayOptions{Tell: t.Logf})
	must(t, err)
	defer func() { must(t, player.Close()) }()
	must(t, player.Furnish(ctx))
	playing, stop := context.WithCancel(ctx)
	defer stop()
	looked := make(chan struct{})
	if len(afterwards) == 0 {
		go func() {
			defer close(looked)
			along(player, stop)
		}()
	} else {
		close(looked)
	}
	played := player.Play(playing)
	<-looked
	if len(afterwards) > 0 && played == nil {
		along(player, stop)
	}
	return played
}

// A network that was used at the present cannot play a year before it, and says so.
func TestNoYearBeforeThePresent(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	c := newCountry(t)
	demo := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var out, told bytes.Buffer
		command := exec.CommandContext(ctx, c.amanat, append([]string{"demo", "--data", c.layout.Root, "--once", "--json"}, args...)...)
		command.Stdout, command.Stderr = &out, &told
		err := command.Run()
		return out.String() + told.String(), err
	}
	out, err := demo()
	if err != nil {
		t.Fatalf("one girl: %v: %s", err, out)
	}
	var result story.Result
	must(t, json.NewDecoder(strings.NewReader(out)).Decode(&result))
	if !result.Kept() || result.Referrals != 1 {
		t.Errorf("one girl: %+v", result)
	}
	if out, err := demo("--referrals", "20"); err == nil || !strings.Contains(out, "make clean-data") {
		t.Errorf("a year before the present: %v: %s", err, out)
	}
}
