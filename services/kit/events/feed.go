package events

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/store"
)

const (
	// recentEvents is how many of the last events a feed keeps in memory for all its readers.
	recentEvents = 1024
	// MaxBehind is how many events a reader may lack who still gets them one by one; whoever lacks more reads what they changed
	// faster than the events.
	MaxBehind = 4 * recentEvents
)

// FeedConfig says what is told of which log. All of it is needed.
type FeedConfig[T any] struct {
	DB  *store.DB
	Log *Log
	// Tell makes of an event what readers get, with what else the store says at that moment; false: they get nothing of it.
	// What it makes is shared by all readers and must not be changed.
	Tell func(r store.Reader, event *eventsv1.Event) (news T, ok bool, err error)
	// Anew makes what a reader gets who must read everything: from position id on, changes are told.
	Anew func(id string) T
}

// Feed tells many readers of a log what is committed to it, at once and in order. Whoever comes back says which event it had
// last, and gets those it missed. However many read, an event is read from the store once while it is new; a reader who is
// slow, or comes back, reads from the store what is no longer kept, and nobody waits for it.
type Feed[T any] struct {
	c FeedConfig[T]

	mu    sync.Mutex
	grown chan struct{} // closed by the next commit of an event
	stale atomic.Bool   // events were committed that are not in recent

	reading sync.Mutex // for what follows
	storeID string
	recent  []told[T] // without gaps up to last
	last    uint64
}

// told is one event of the feed.
type told[T any] struct {
	position uint64
	news     T
	ok       bool
}

// NewFeed makes one, which from now on notes what commits.
func NewFeed[T any](c FeedConfig[T]) *Feed[T] {
	f := &Feed[T]{c: c, grown: make(chan struct{})}
	f.stale.Store(true)
	table := c.Log.events.Name()
	c.DB.Observe(func(set store.ChangeSet) {
		if slices.ContainsFunc(set.Changes, func(change store.Change) bool { return change.Table == table }) {
			f.note()
		}
	})
	return f
}

func (f *Feed[T]) note() {
	f.stale.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *Feed[T]) next() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grown
}

// Follow sends what is told of each event behind the one whose id is after, until ctx ends or send fails. Where after is empty,
// is no event of this life of the store, or lies more than [MaxBehind] events back, it first sends what Anew makes, and goes on
// from there; likewise when a slow reader falls back that far, or the store begins another life. It always returns an error:
// ctx's cause, or that of send or of the store.
func (f *Feed[T]) Follow(ctx context.Context, after string, send func(T) error) error {
	for {
		id := StoreID(f.c.DB)
		at, err := f.begin(ctx, id, after, send)
		if err != nil {
			return err
		}
		if err := f.follow(ctx, id, at, send); err != nil {
			return err
		}
		after = ""
	}
}

// begin is the position from which a reader goes on; whom the log does not know is told so.
func (f *Feed[T]) begin(ctx context.Context, id, after string, send func(T) error) (at uint64, err error) {
	f.reading.Lock()
	err = f.catchUp(ctx, id)
	last := f.last
	f.reading.Unlock()
	if err != nil {
		return 0, err
	}
	text, ours := strings.CutPrefix(after, id+"-")
	at, err = strconv.ParseUint(text, 10, 64)
	if !ours || err != nil || at > last || last-at > MaxBehind {
		return last, send(f.c.Anew(id + "-" + strconv.FormatUint(last, 10)))
	}
	return at, nil
}

// follow sends what comes behind a position; nil says that all must be read anew, since the store has begun another life or the
// reader has fallen back too far.
func (f *Feed[T]) follow(ctx context.Context, id string, at uint64, send func(T) error) error {
	for {
		next := f.next() // Before the look, so that nothing falls between the two.
		if StoreID(f.c.DB) != id {
			return nil
		}
		page, behind, err := f.after(ctx, id, at)
		if err != nil || behind > MaxBehind {
			return err
		}
		for _, one := range page {
			if one.ok {
				if err := send(one.news); err != nil {
					return err
				}
			}
			at = one.position
		}
		if len(page) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-next:
		}
	}
}

// after is what was told behind a position, of what is kept all, else a page from the store; and how many events there are
// behind it.
func (f *Feed[T]) after(ctx context.Context, id string, at uint64) (page []told[T], behind uint64, err error) {
	f.reading.Lock()
	if err := f.catchUp(ctx, id); err != nil {
		f.reading.Unlock()
		return nil, 0, err
	}
	behind = f.last - min(at, f.last)
	if kept := uint64(len(f.recent)); behind <= kept {
		page = slices.Clone(f.recent[kept-behind:])
		f.reading.Unlock()
		return page, behind, nil
	}
	f.reading.Unlock()
	page, err = f.read(ctx, id, at)
	return page, behind, err
}

// catchUp reads what is new, for all readers; the caller holds reading. What was committed while nobody read, beyond what is
// kept, is left to whoever asks for it.
func (f *Feed[T]) catchUp(ctx context.Context, id string) error {
	if id != f.storeID {
		f.storeID, f.recent, f.last = id, nil, 0
		f.stale.Store(true)
	}
	if !f.stale.Swap(false) {
		return nil
	}
	err := f.readNew(ctx, id)
	if err != nil {
		f.stale.Store(true)
	}
	return err
}

func (f *Feed[T]) readNew(ctx context.Context, id string) error {
	var last uint64
	err := f.c.DB.View(ctx, func(r store.Reader) (err error) {
		last, err = f.c.Log.events.Count(r)
		return err
	})
	if err != nil {
		return err
	}
	if last > f.last+recentEvents {
		f.recent, f.last = nil, last-recentEvents
	}
	for f.last < last {
		page, err := f.read(ctx, id, f.last)
		if err != nil {
			return err
		}
		f.recent = append(f.recent, page...)
		f.last += uint64(len(page))
	}
	if old := len(f.recent) - recentEvents; old > 0 {
		f.recent = slices.Clone(f.recent[old:])
	}
	return nil
}

// read tells a page of events behind a position.
func (f *Feed[T]) read(ctx context.Context, id string, at uint64) (page []told[T], err error) {
	err = f.c.DB.View(ctx, func(r store.Reader) error {
		events, _, err := f.c.Log.read(r, id, at, defaultPage)
		if err != nil {
			return err
		}
		for _, event := range events {
			one := told[T]{position: event.GetPosition()}
			if one.news, one.ok, err = f.c.Tell(r, event); err != nil {
				return err
			}
			page = append(page, one)
		}
		return nil
	})
	return page, err
}
