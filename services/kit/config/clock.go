package config

import (
	"context"
	"time"
)

// Clock is what use cases take the time from where that is not the machine's. It never goes back; it may jump forward.
type Clock interface {
	Now() time.Time
	// Watch calls jumped after the clock has jumped, until ctx ends or the clock will jump no more.
	Watch(ctx context.Context, jumped func())
}
