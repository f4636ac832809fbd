package rules_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/zone"
	"amanat.example/services/protection/internal/rules"
)

func fieldOf(err error) string {
	refused, ok := errors.AsType[*fault.Error](err)
	if !ok || len(refused.Fields()) == 0 {
		return ""
	}
	return refused.Fields()[0].Field
}

const hold = 3 * time.Hour

// Each step of a missed deadline is told once, up the ladder; what was heard before is not.
func TestTellClimbs(t *testing.T) {
	m := &protectionv1.MissedRecord{}
	want := []protectionv1.Notice_Level{1, 2, 3, 3, 3}
	for i, level := range want {
		if got := rules.Tell(m, int32(i+1), hold, monday); got != level {
			t.Errorf("step %d: %v, want %v", i+1, got, level)
		}
		for step := range int32(i + 2) {
			if got := rules.Tell(m, step, hold, monday); got != 0 {
				t.Errorf("step %d again: %v", step, got)
			}
		}
	}
}

// Who takes notice is not told again; whoever stands above hears of it when it is still not done.
func TestTellAfterNoticeWasTaken(t *testing.T) {
	m := &protectionv1.MissedRecord{}
	tell := func(step int32, after time.Duration) protectionv1.Notice_Level {
		return rules.Tell(m, step, hold, monday.Add(after))
	}
	tell(1, 0)
	rules.Acknowledge(m, protectionv1.Notice_LEVEL_WORKER, monday)
	if got := tell(2, hold-1); got != 0 {
		t.Errorf("told %v while somebody is at it", got)
	}
	if got := tell(3, hold); got != protectionv1.Notice_LEVEL_SUPERVISOR {
		t.Errorf("still not done: %v is told", got)
	}
	if got := tell(4, hold+1); got != protectionv1.Notice_LEVEL_FOCAL_POINT {
		t.Errorf("the supervisor did not take notice: %v is told", got)
	}
	rules.Acknowledge(m, protectionv1.Notice_LEVEL_FOCAL_POINT, monday.Add(hold+2))
	if got := tell(5, 100*hold); got != 0 {
		t.Errorf("the focal point took notice and %v is told again", got)
	}
}

// Notice that was taken while the clock ran ahead holds nobody until the day it showed.
func TestTellAfterAClockThatRanAhead(t *testing.T) {
	m := &protectionv1.MissedRecord{}
	rules.Tell(m, 1, hold, monday.AddDate(1, 0, 0))
	rules.Acknowledge(m, protectionv1.Notice_LEVEL_WORKER, monday.AddDate(1, 0, 0))
	if got := rules.Tell(m, 2, hold, monday); got != protectionv1.Notice_LEVEL_SUPERVISOR {
		t.Errorf("told: %v", got)
	}
}

func waiting(urgencies ...custodyv1.Urgency) (all []*protectionv1.Notice) {
	for i, u := range urgencies {
		all = append(all, &protectionv1.Notice{Name: fmt.Sprintf("n%d", i), Urgency: u})
	}
	return all
}

const (
	urgent = custodyv1.Urgency_URGENCY_HIGH
	slow   = custodyv1.Urgency_URGENCY_LOW
)

func TestCompose(t *testing.T) {
	night := time.Date(2026, 11, 23, 23, 0, 0, 0, zone.Karachi)
	ago := func(all ...time.Duration) (times []*timestamppb.Timestamp) {
		for _, d := range all {
			times = append(times, timestamppb.New(monday.Add(-d)))
		}
		return times
	}
	for name, c := range map[string]struct {
		box     *protectionv1.MailboxRecord
		waiting []*protectionv1.Notice
		now     time.Time
		want    []string
		next    time.Time
	}{
		"nothing":                      {&protectionv1.MailboxRecord{}, nil, monday, nil, time.Time{}},
		"one":                          {&protectionv1.MailboxRecord{}, waiting(slow), monday, []string{"n0"}, time.Time{}},
		"several, high risk first":     {&protectionv1.MailboxRecord{}, waiting(slow, urgent, slow, urgent), monday, []string{"n1", "n3", "n0", "n2"}, time.Time{}},
		"at night":                     {&protectionv1.MailboxRecord{}, waiting(slow, slow), night, nil, night.Add(8 * time.Hour)},
		"at night, high risk":          {&protectionv1.MailboxRecord{}, waiting(slow, urgent), night, []string{"n1"}, time.Time{}},
		"soon after a digest":          {&protectionv1.MailboxRecord{DigestTime: ago(time.Minute)[0]}, waiting(slow, slow), monday, nil, monday.Add(14 * time.Minute)},
		"a quarter of an hour later":   {&protectionv1.MailboxRecord{DigestTime: ago(15 * time.Minute)[0]}, waiting(slow, slow), monday, []string{"n0", "n1"}, time.Time{}},
		"the third within a quarter":   {&protectionv1.MailboxRecord{DigestTime: ago(time.Minute)[0], MadeTime: ago(9*time.Minute, time.Minute)}, waiting(urgent), monday, nil, monday.Add(14 * time.Minute)},
		"eight within an hour":         {&protectionv1.MailboxRecord{MadeTime: ago(59*time.Minute, 50*time.Minute, 49*time.Minute, 48*time.Minute, 47*time.Minute, 46*time.Minute, 45*time.Minute, 44*time.Minute)}, waiting(urgent), monday, nil, monday.Add(time.Minute)},
		"eight, the first an hour ago": {&protectionv1.MailboxRecord{MadeTime: ago(60*time.Minute, 50*time.Minute, 49*time.Minute, 48*time.Minute, 47*time.Minute, 46*time.Minute, 45*time.Minute, 44*time.Minute)}, waiting(urgent), monday, []string{"n0"}, time.Time{}},
		"noted while the clock ran ahead": {&protectionv1.MailboxRecord{
			DigestTime: ago(-8760 * time.Hour)[0], MadeTime: ago(-8760*time.Hour, -8760*time.Hour, -8760*time.Hour, -8760*time.Hour, -8760*time.Hour, -8760*time.Hour, -8760*time.Hour, -8760*time.Hour),
		}, waiting(slow, slow), monday, []string{"n0", "n1"}, time.Time{}},
	} {
		picked, next := rules.Compose(c.box, &protectionv1.Worker{}, c.waiting, c.now)
		if !slices.Equal(picked, c.want) || !next.Equal(c.next) {
			t.Errorf("%s: %v, next %v", name, picked, next)
		}
	}
}

// However notices come, one person gets at most so many messages an hour, and digests a quarter of an hour
// apart; at the end everything was told.
func TestNoStorm(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		box, w := &protectionv1.MailboxRecord{}, &protectionv1.Worker{QuietHours: &protectionv1.QuietHours{From: "00:00", Until: "00:00"}}
		var pending []*protectionv1.Notice
		var made, digests []time.Time
		now, told, written := monday, 0, 0
		step := func() {
			picked, next := rules.Compose(box, w, pending, now)
			if len(picked) == 0 {
				if len(pending) > 0 && !next.After(now) {
					r.Fatalf("%d wait, and the next look is at %v, now %v", len(pending), next, now)
				}
				return
			}
			told += len(picked)
			made = append(made, now)
			if len(picked) > 1 {
				digests = append(digests, now)
			}
			pending = slices.DeleteFunc(pending, func(n *protectionv1.Notice) bool { return slices.Contains(picked, n.GetName()) })
		}
		for range rapid.IntRange(1, 120).Draw(r, "moments") {
			now = now.Add(time.Duration(rapid.IntRange(0, 600).Draw(r, "seconds")) * time.Second)
			for range rapid.IntRange(0, 3).Draw(r, "notices") {
				written++
				pending = append(pending, &protectionv1.Notice{Name: fmt.Sprint(written), Urgency: rapid.SampledFrom([]custodyv1.Urgency{urgent, slow}).Draw(r, "risk")})
			}
			step()
		}
		for range 20 {
			now = now.Add(rules.DigestEvery)
			step()
		}
		if told != written {
			r.Errorf("%d of %d were told", told, written)
		}
		for i := range made {
			if j := i + rules.HourlyMessages; j < len(made) && made[j].Sub(made[i]) < time.Hour {
				r.Errorf("%d messages within %v", rules.HourlyMessages+1, made[j].Sub(made[i]))
			}
		}
		for i := 1; i < len(digests); i++ {
			if digests[i].Sub(digests[i-1]) < rules.DigestEvery {
				r.Errorf("two digests within %v", digests[i].Sub(digests[i-1]))
			}
		}
	})
}
