package referral

import (
	"context"
	"time"
)

// Listens is how long a service that starts fires no deadline. What its store holds may be an older copy than it knows, put back by
// somebody who told nobody (with a whole machine, say). The first word of a peer tells; what fires before would be a second event at a
// position of the chain that has one.
const Listens = time.Minute

// listening has fire wait until the service has listened. A clock that is put back meanwhile keeps it no longer.
func listening(now func() time.Time, fire func(context.Context) (time.Time, error)) func(context.Context) (time.Time, error) {
	begun := now()
	return func(ctx context.Context) (next time.Time, err error) {
		if until, at := begun.Add(Listens), now(); !at.Before(begun) && at.Before(until) {
			return until, nil
		}
		return fire(ctx)
	}
}
