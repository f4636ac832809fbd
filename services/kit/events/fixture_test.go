package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const held = "shelter.hold.held.v1"

var (
	// The service whose events are followed.
	ownerSchema = store.NewSchema("shelter", 1)
	ownerLog    = events.Declare(ownerSchema, "shelter", events.Catalogue{held: &shelterv1.HoldChanged{}})
	// The service that follows; effects is where it notes what it has seen.
	followerSchema = store.NewSchema("referral", 1)
	followerLog    = events.Declare(followerSchema, "referral", nil)
	effects        = store.NewTable[*shelterv1.HoldChanged](followerSchema, "effects")
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// open opens a store and checks it when the test ends.
func open(t *testing.T, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeChecked(t, db) })
	return db
}

func closeChecked(t *testing.T, db *store.DB) {
	t.Helper()
	report, err := db.Check(context.Background())
	if errors.Is(err, store.ErrClosed) {
		return
	}
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		t.Errorf("check: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func openFile(t *testing.T, schema *store.Schema) *store.DB {
	t.Helper()
	return open(t, store.Options{Path: filepath.Join(t.TempDir(), "a.db"), Schema: schema})
}

// add commits n events in one transaction each.
func add(t *testing.T, db *store.DB, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			return ownerLog.Append(tx, held, name(i), start, &shelterv1.HoldChanged{Hold: name(i)})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func name(i int) string { return fmt.Sprintf("nodes/sindh/holds/%04x", i) }

// source reads a log without a wire in between; it fails while err is set.
type source struct {
	mu     sync.Mutex
	server *events.Server
	err    error
}

func (s *source) ListEvents(ctx context.Context, request *eventsv1.ListEventsRequest, _ ...grpc.CallOption) (*eventsv1.ListEventsResponse, error) {
	s.mu.Lock()
	server, err := s.server, s.err
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return server.ListEvents(ctx, request)
}

func (s *source) set(server *events.Server, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server, s.err = server, err
}

// waker wakes when told to.
type waker struct {
	mu   sync.Mutex
	wake func()
	on   string
	err  error
}

func (w *waker) Subscribe(subject string, wake func()) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.wake = subject, wake
	return func() {}, w.err
}

func (w *waker) now() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake()
}

// broker keeps what was published, and fails while err is set.
type broker struct {
	mu       sync.Mutex
	err      error
	messages []events.Message
}

func (b *broker) Publish(_ context.Context, messages []events.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.messages = append(b.messages, messages...)
	return nil
}

func (b *broker) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *broker) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.messages)
}

// logged is a logger and what it wrote.
func logged(t *testing.T) (*logging.Logger, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	logger, err := logging.New(logging.Options{Node: "sindh", Service: "referral", Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	return logger, &out
}
