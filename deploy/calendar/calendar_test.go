package calendar_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/calendar"
)

const year = 365 * 24 * time.Hour

func made(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "calendar")
	if err := calendar.Create(path, time.Now().Add(-year)); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) *calendar.Calendar {
	t.Helper()
	c, err := calendar.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Two processes that map the same file read the same time, before and after a jump, and never an earlier one.
func TestOneTimeForAll(t *testing.T) {
	path := made(t)
	one, other := open(t, path), open(t, path)
	for _, ahead := range []time.Duration{0, time.Hour, 100 * 24 * time.Hour} {
		want := one.Now().Add(ahead)
		one.JumpTo(want)
		if one.Behind() != other.Behind() {
			t.Fatalf("%v and %v behind", one.Behind(), other.Behind())
		}
		if got := other.Now(); got.Before(want) {
			t.Errorf("%v after a jump to %v", got, want)
		}
	}
	behind := one.Behind()
	if one.JumpTo(one.Now().Add(-time.Hour)); one.Behind() != behind {
		t.Error("it went back")
	}
}

// Whoever starts again finds the calendar where it was; making it again does not set it back.
func TestARestartGoesOn(t *testing.T) {
	path := made(t)
	c := open(t, path)
	c.JumpTo(c.Now().Add(40 * 24 * time.Hour))
	if err := calendar.Create(path, time.Now().Add(-2*year)); err != nil {
		t.Fatal(err)
	}
	if again := open(t, path); again.Behind() != c.Behind() {
		t.Errorf("%v behind, then %v", c.Behind(), again.Behind())
	}
}

// At the present it ends: it is the machine's clock, and nobody waits for a jump any more.
func TestThePresent(t *testing.T) {
	path := made(t)
	c := open(t, path)
	if c.JumpTo(time.Now().Add(-time.Minute)); c.Behind() == 0 {
		t.Fatal("it is at the present a minute too early")
	}
	if c.ToPresent(); c.Behind() != 0 {
		t.Fatalf("%v behind", c.Behind())
	}
	if d := time.Until(c.Now()); d > 0 {
		t.Errorf("%v ahead", d)
	}
	c.Watch(context.Background(), func() {}) // ends
	again := made(t)
	c = open(t, again)
	c.JumpTo(time.Now().Add(time.Hour)) // which is still to come: the present is as far as it goes
	if c := open(t, again); c.Behind() != 0 || time.Until(c.Now()) > 0 {
		t.Errorf("%v behind after a jump beyond the present", c.Behind())
	}
	future := filepath.Join(t.TempDir(), "calendar")
	if err := calendar.Create(future, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if c := open(t, future); c.Behind() != 0 {
		t.Errorf("%v behind a time to come", c.Behind())
	}
}

// A jump that another process makes is noticed.
func TestAJumpIsNoticed(t *testing.T) {
	path := made(t)
	player, watcher := open(t, path), open(t, path)
	jumps := make(chan time.Duration)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watcher.Watch(ctx, func() {
			select {
			case jumps <- watcher.Behind():
			case <-ctx.Done():
			}
		})
	}()
	<-jumps // at once
	player.JumpTo(player.Now().Add(time.Hour))
	if got := <-jumps; got != player.Behind() {
		t.Errorf("%v behind after a jump to %v", got, player.Behind())
	}
	stop()
	<-ended
}

// What is no calendar is not taken for one that shows some day.
func TestNoCalendar(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calendar")
	for _, text := range []string{"", "short", "too long for one", "eightAsc", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x80\x00\x00\x00\x00\x00\x00\x80"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := calendar.Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q is opened, and shows %v: %v", text, c.Now(), err)
		}
	}
}
