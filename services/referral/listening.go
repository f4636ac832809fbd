package referral

import (
	"context"
	"sync/atomic"
	"time"
)

// listensAtMost is how long a service that starts fires no deadline, ends no recovery and gives back no bed, until it has heard all others with
// which it has exchanged letters.
// What its store holds may be an older copy than it knows, put back by somebody who told nobody (with a whole machine, say). The first word
// of a peer tells; what fires before would be a second event at a position of the chain that has one.
const listensAtMost = time.Minute

// lookEvery is how often it is looked at whether all were heard.
const lookEvery = time.Second

// listener fires deadlines once a service has listened.
type listener struct {
	begun time.Time
	now   func() time.Time
	heard func(context.Context) (bool, error)
	fire  func(context.Context) (time.Time, error)
	over  atomic.Bool
}

// work fires deadlines, or says when to come again. A clock that is put back keeps it no longer.
func (l *listener) work(ctx context.Context) (next time.Time, err error) {
	if now := l.now(); !l.over.Load() && !now.Before(l.begun) && now.Before(l.begun.Add(listensAtMost)) {
		heard, err := l.heard(ctx)
		if err != nil || !heard {
			return now.Add(lookEvery), err
		}
	}
	l.over.Store(true)
	return l.fire(ctx)
}
