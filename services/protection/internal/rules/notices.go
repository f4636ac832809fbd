package rules

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
)

// How much one person is told.
const (
	// DigestEvery is the time between two messages that gather notices.
	DigestEvery = 15 * time.Minute
	// HourlyMessages is how many messages one person gets in an hour, digests included.
	HourlyMessages = 8
	// DigestNotices is how many notices one message gathers at most.
	DigestNotices = 500
	// GiveUpAfter is how long one message is tried.
	GiveUpAfter = 24 * time.Hour
)

// longestWait is how far ahead something is to be done about a mailbox at most: quiet hours end within a day.
const longestWait = 24 * time.Hour

// Waits says that nothing is to be done about a mailbox yet. A time that lies further ahead than any can was noted while the clock was wrong.
func Waits(next, now time.Time) bool { return next.After(now) && !next.After(now.Add(longestWait)) }

// Tell takes in that a deadline was missed for the nth time, and says at which step of the ladder somebody
// is told; unspecified when nobody is: it was heard before, or somebody took notice. Who took notice at
// a step silences that step for ever, and those above for as long as hold: then it is still not
// done, and the next one hears of it.
func Tell(m *protectionv1.MissedRecord, missed int32, hold time.Duration, now time.Time) protectionv1.Notice_Level {
	if missed <= m.GetMissed() {
		return protectionv1.Notice_LEVEL_UNSPECIFIED
	}
	m.Missed = missed
	next := min(m.GetTold()+1, protectionv1.Notice_LEVEL_FOCAL_POINT)
	taken := m.GetAcknowledgeTime().AsTime()
	if m.GetAcknowledgeTime() != nil && (next <= m.GetAcknowledged() || !taken.After(now) && now.Before(taken.Add(hold))) {
		return protectionv1.Notice_LEVEL_UNSPECIFIED
	}
	m.Told = next
	return next
}

// Acknowledge notes that somebody took notice at a step of the ladder.
func Acknowledge(m *protectionv1.MissedRecord, level protectionv1.Notice_Level, now time.Time) {
	m.AcknowledgeTime, m.Acknowledged = timestamppb.New(now), max(m.GetAcknowledged(), level)
}

// Compose decides what one worker is told now. waiting are the notices that wait, in the order in which they are told. It gives
// the notices of the next message, high risk first; none while it must wait, until the time next (zero:
// nothing waits). One notice goes at once; several, or the third within a quarter of an hour, are
// gathered, once in a quarter of an hour. In quiet hours there is high risk alone.
func Compose(box *protectionv1.MailboxRecord, w *protectionv1.Worker, waiting []*protectionv1.Notice, now time.Time) (picked []string, next time.Time) {
	// What lies ahead was noted while the clock was wrong, and holds up nothing.
	made := slices.DeleteFunc(box.GetMadeTime(), func(t *timestamppb.Timestamp) bool {
		return !t.AsTime().After(now.Add(-time.Hour)) || t.AsTime().After(now)
	})
	box.MadeTime = made
	if box.GetDigestTime().AsTime().After(now) {
		box.DigestTime = nil
	}
	if len(waiting) == 0 {
		return nil, time.Time{}
	}
	quiet, ends := Quiet(w, now)
	all := slices.Clone(waiting)
	if quiet {
		all = slices.DeleteFunc(all, func(n *protectionv1.Notice) bool { return !high(n) })
		if len(all) == 0 {
			return nil, ends
		}
	}
	recent := 0
	for _, t := range made {
		if t.AsTime().After(now.Add(-DigestEvery)) {
			recent++
		}
	}
	gather := len(all) > 1 || recent >= 2
	digestDue := box.GetDigestTime().AsTime().Add(DigestEvery)
	switch {
	case len(made) >= HourlyMessages:
		return nil, made[0].AsTime().Add(time.Hour)
	case gather && box.GetDigestTime() != nil && now.Before(digestDue):
		return nil, digestDue
	}
	slices.SortStableFunc(all, func(a, b *protectionv1.Notice) int {
		switch {
		case high(a) == high(b):
			return 0
		case high(a):
			return -1
		}
		return 1
	})
	for _, n := range all[:min(len(all), DigestNotices)] {
		picked = append(picked, n.GetName())
	}
	if gather {
		box.DigestTime = timestamppb.New(now)
	}
	box.MadeTime = append(box.GetMadeTime(), timestamppb.New(now))
	return picked, time.Time{}
}

func high(n *protectionv1.Notice) bool {
	return n.GetUrgency() == custodyv1.Urgency_URGENCY_HIGH || n.GetUrgency() == custodyv1.Urgency_URGENCY_UNSPECIFIED
}
