package events

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

// Waker calls wake soon after something may have been published on a subject (which may end in
// the wildcard `>`), until stop is called. It may call it without need, and it may fail to.
type Waker interface {
	Subscribe(subject string, wake func()) (stop func(), err error)
}

// Handler takes in one event within the transaction that also moves the mark. It must be quick,
// wait for nothing, and take an event it has seen before without harm. An error undoes this
// event alone; it is tried again, later and later, and the events behind it wait.
type Handler func(tx *store.Tx, event *eventsv1.Event) error

// FollowerConfig says who follows whom. Waker and clock aside, all of it is needed.
type FollowerConfig struct {
	DB     *store.DB // of the service that follows
	Log    *Log      // its own, beside which the marks are kept
	Node   string    // such as `sindh`
	From   string    // the service that is followed, such as `shelter`
	Source eventsv1.EventServiceClient
	Handle Handler
	Waker  Waker // nil: polling alone
	Logger *logging.Logger
}

// Follower applies another service's events, each once per life of that service's store, in order.
type Follower struct {
	c    FollowerConfig
	key  store.Key
	wake chan struct{}

	progress *progress
}

// NewFollower makes one.
func NewFollower(c FollowerConfig) *Follower {
	return &Follower{c: c, key: store.K("from", c.From), wake: make(chan struct{}, 1), progress: newProgress(c.From)}
}

// Run follows until ctx ends: at once when woken, else every 2 s. Failures are logged and tried
// again; none stops it.
func (f *Follower) Run(ctx context.Context) {
	if f.c.Waker != nil {
		stop, err := f.c.Waker.Subscribe(subjectsOf(f.c.Node, f.c.From), func() { nudge(f.wake) })
		if err != nil {
			f.c.Logger.Warn("events wake nobody here: polling alone", logging.Peer(f.c.Node, f.c.From), logging.Err(err))
		} else {
			defer stop()
		}
	}
	run(ctx, f.wake, f.c.Logger.With(logging.Peer(f.c.Node, f.c.From)), f.Step)
}

// Step reads one page of events and applies it; it answers how many it applied, 0 at the end. It
// is for one goroutine, and not beside Run.
func (f *Follower) Step(ctx context.Context) (int, error) {
	mark, err := f.mark(ctx)
	if err != nil {
		return 0, err
	}
	page, err := f.read(ctx, mark)
	if err == nil && mark.GetPosition() > 0 && page.GetStoreId() != mark.GetStoreId() {
		f.c.Logger.Warn("the store followed lives another life: reading it again from the start",
			logging.Peer(f.c.Node, f.c.From), logging.Count("position", mark.GetPosition()))
		mark = &eventsv1.EventMark{}
		page, err = f.read(ctx, mark)
	}
	if err != nil {
		return 0, fmt.Errorf("read the events of %s: %w", f.c.From, err)
	}
	f.progress.position.Store(mark.GetPosition())
	f.progress.last.Store(page.GetLastPosition())
	f.progress.read.Store(time.Now().UnixNano())
	for i, event := range page.GetEvents() {
		if want := mark.GetPosition() + 1 + uint64(i); event.GetPosition() != want {
			return 0, fmt.Errorf("the events of %s have position %d where %d should be", f.c.From, event.GetPosition(), want)
		}
	}
	if len(page.GetEvents()) == 0 {
		return 0, nil
	}
	return f.applyPage(ctx, page)
}

// read reads a page behind a mark, and says what was read there last: who does not hold that was put back to an older copy, and learns it.
func (f *Follower) read(ctx context.Context, mark *eventsv1.EventMark) (*eventsv1.ListEventsResponse, error) {
	return f.c.Source.ListEvents(ctx, &eventsv1.ListEventsRequest{After: mark.GetPosition(), StoreId: mark.GetStoreId(), AfterDigest: mark.GetDigest()})
}

// digest is of what an event says; its position and id say nothing of that.
func digest(event *eventsv1.Event) []byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(event.GetType()), []byte(event.GetSubject()), []byte(event.GetTime().AsTime().Format(time.RFC3339Nano)), event.GetData().GetValue()} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}

// applyPage applies a page in one transaction; when one of its events fails, one by one, so that
// those before it are kept.
func (f *Follower) applyPage(ctx context.Context, page *eventsv1.ListEventsResponse) (applied int, err error) {
	all := page.GetEvents()
	if err = f.apply(ctx, page.GetStoreId(), all); err == nil {
		return len(all), nil
	}
	if len(all) == 1 || ctx.Err() != nil {
		return 0, err
	}
	for i := range all {
		if err := f.apply(ctx, page.GetStoreId(), all[i:i+1]); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

func (f *Follower) apply(ctx context.Context, storeID string, batch []*eventsv1.Event) error {
	last := batch[len(batch)-1]
	err := f.c.DB.Update(ctx, func(tx *store.Tx) error {
		for _, event := range batch {
			if err := f.handle(tx, event); err != nil {
				return fmt.Errorf("event %s of type %s: %w", event.GetId(), event.GetType(), err)
			}
		}
		return f.c.Log.marks.Put(tx, f.key, &eventsv1.EventMark{
			StoreId: storeID, Position: last.GetPosition(), Digest: digest(last),
		})
	})
	if err == nil {
		f.progress.position.Store(last.GetPosition())
	}
	return err
}

// handle keeps a panic of the handler from ending the process at each start.
func (f *Follower) handle(tx *store.Tx, event *eventsv1.Event) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fault.Panic(panicked)
		}
	}()
	return f.c.Handle(tx, event)
}

func (f *Follower) mark(ctx context.Context) (mark *eventsv1.EventMark, err error) {
	err = f.c.DB.View(ctx, func(r store.Reader) error {
		mark, err = f.c.Log.marks.Get(r, f.key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return &eventsv1.EventMark{}, nil
	}
	return mark, err
}

// run steps until nothing is left, then waits to be woken, and after a failure a while longer
// each time. A failure is logged when it begins and when it changes.
func run(ctx context.Context, wake <-chan struct{}, logger *logging.Logger, step func(context.Context) (int, error)) {
	failures, said := 0, ""
	for ctx.Err() == nil {
		n, err := step(ctx)
		switch {
		case err == nil && n > 0:
			failures, said = 0, ""
		case err == nil:
			failures, said = 0, ""
			pause(ctx, wake, pollEvery)
		case ctx.Err() != nil:
			return
		default:
			failures++
			if text := err.Error(); text != said {
				logger.Warn("events stand still and are tried again", logging.Err(err))
				said = text
			}
			if n > 0 {
				failures = 1
			}
			pause(ctx, nil, retryIn.Delay(failures, nil))
		}
	}
}

func pause(ctx context.Context, wake <-chan struct{}, longest time.Duration) {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}
