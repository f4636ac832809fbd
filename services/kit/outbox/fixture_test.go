package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	getHold      = shelterv1.ShelterService_GetHold_FullMethodName
	createWorker = protectionv1.ProtectionService_CreateWorker_FullMethodName
)

var (
	schema  = store.NewSchema("referral", 1)
	table   = outbox.Declare(schema)
	effects = store.NewTable[*shelterv1.Hold](schema, "effects")
)

// callee answers calls as a test says, and keeps what came.
type callee struct {
	mu     sync.Mutex
	answer func(n int, request *shelterv1.GetHoldRequest) error // n counts from 1
	calls  []string
	under  int
	most   int
	hold   chan struct{} // a call waits for it, where it is set
}

func (c *callee) Invoke(ctx context.Context, method string, request, reply any, _ ...grpc.CallOption) error {
	asked, ok := request.(*shelterv1.GetHoldRequest)
	if !ok {
		asked = &shelterv1.GetHoldRequest{Name: request.(*protectionv1.CreateWorkerRequest).GetWorker().GetDisplayName()}
	}
	c.mu.Lock()
	c.calls = append(c.calls, asked.GetName())
	n := len(c.calls)
	c.under++
	c.most = max(c.most, c.under)
	answer, hold := c.answer, c.hold
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.under--
		c.mu.Unlock()
	}()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	if answer != nil {
		if err := answer(n, asked); err != nil {
			return err
		}
	}
	if held, ok := reply.(*shelterv1.Hold); ok {
		held.Name = asked.GetName()
	}
	return nil
}

func (c *callee) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams")
}

func (c *callee) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// note keeps a result as an effect, once: a second one would fail.
func note(tx *store.Tx, r outbox.Result) error {
	effect := &shelterv1.Hold{Name: "reply"}
	if r.Fault != nil {
		effect.Name = r.Fault.Reason().String()
	}
	return effects.Insert(tx, store.K(r.Command.ID), effect)
}

func noted(t *testing.T, db *store.DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := db.View(context.Background(), func(r store.Reader) error {
		return effects.Scan(r, store.Range{}, func(key store.Key, m *shelterv1.Hold) error {
			all[string(key[:len(key)-2])] = m.GetName()
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func openFile(t *testing.T) *store.DB {
	t.Helper()
	return open(t, store.Options{Path: filepath.Join(t.TempDir(), "a.db"), Schema: schema})
}

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

// newOutbox makes an outbox that calls c; change may alter its configuration.
func newOutbox(t *testing.T, db *store.DB, c grpc.ClientConnInterface, change func(*outbox.Config)) *outbox.Outbox {
	t.Helper()
	config := outbox.Config{
		DB: db, Table: table, Logger: logging.Discard(),
		Targets:     map[string]outbox.Target{getHold: {Service: "shelter", Result: note}},
		Connections: map[string]grpc.ClientConnInterface{"shelter": c, "protection": c},
	}
	if change != nil {
		change(&config)
	}
	o, err := outbox.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func id(i int) string { return fmt.Sprintf("command-%04d", i) }

// queue commits one command about a subject; the request's name is its id.
func queue(t *testing.T, db *store.DB, o *outbox.Outbox, id, subject string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		return o.Queue(tx, outbox.Command{ID: id, Method: getHold, Subject: subject, Request: &shelterv1.GetHoldRequest{Name: id}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// run runs an outbox until stop is called or the test ends.
func run(t *testing.T, o *outbox.Outbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func wait(t *testing.T, o *outbox.Outbox, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := o.Wait(ctx, id); err != nil {
		t.Fatalf("wait for %s: %v", id, err)
	}
}

// sealer turns every byte round, and opens only what was sealed under the subject.
type sealer struct{ erased error }

func (s *sealer) Seal(subject string, plaintext []byte) ([]byte, error) {
	return append([]byte(subject+"|"), turned(plaintext)...), nil
}

func (s *sealer) Open(subject string, sealed []byte) ([]byte, error) {
	if s.erased != nil {
		return nil, s.erased
	}
	if len(sealed) < len(subject)+1 || string(sealed[:len(subject)+1]) != subject+"|" {
		return nil, errors.New("sealed under another subject")
	}
	return turned(sealed[len(subject)+1:]), nil
}

func turned(in []byte) []byte {
	out := slices.Clone(in)
	for i := range out {
		out[i] = ^out[i]
	}
	return out
}

func aWorker(name string) proto.Message {
	return &protectionv1.CreateWorkerRequest{Worker: &protectionv1.Worker{DisplayName: name}}
}
