package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

func TestDeliveredAtCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, store.Options{Engine: store.NewMemory(), Schema: schema})
		c := &callee{}
		o := newOutbox(t, db, c, nil)
		stop := run(t, o)
		synctest.Wait()
		queue(t, db, o, id(1), "")
		synctest.Wait() // No time has passed: the commit woke it.
		if got := noted(t, db); got[id(1)] != "reply" {
			t.Errorf("got %v", got)
		}
		if n, err := o.Waiting(t.Context()); n != 0 || err != nil {
			t.Errorf("%d still wait, %v", n, err)
		}
		stop()
	})
}

func TestNothingGoesOutOfATransactionThatFails(t *testing.T) {
	db, c := openFile(t), &callee{}
	o := newOutbox(t, db, c, nil)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		if err := o.Queue(tx, outbox.Command{ID: id(1), Method: getHold, Request: &shelterv1.GetHoldRequest{}}); err != nil {
			return err
		}
		return errors.New("refused")
	})
	if err == nil {
		t.Fatal("no error")
	}
	if worked, err := o.Step(t.Context()); worked || err != nil || len(c.seen()) != 0 {
		t.Errorf("worked %v, %v, %v", worked, err, c.seen())
	}
}

func TestDefiniteRefusalsGoToTheHandler(t *testing.T) {
	for code, reason := range map[codes.Code]string{
		codes.FailedPrecondition: "REASON_WRONG_STATE", codes.InvalidArgument: "REASON_INVALID_FIELD", codes.NotFound: "REASON_NOT_FOUND",
		codes.AlreadyExists: "REASON_IDEMPOTENCY_MISMATCH", codes.PermissionDenied: "REASON_NOT_ALLOWED", codes.Aborted: "REASON_STALE_ETAG",
	} {
		db, c := openFile(t), &callee{answer: func(int, *shelterv1.GetHoldRequest) error { return status.Error(code, "no") }}
		o := newOutbox(t, db, c, nil)
		queue(t, db, o, id(1), "")
		if worked, err := o.Step(t.Context()); !worked || err != nil {
			t.Fatal(worked, err)
		}
		if got := noted(t, db); got[id(1)] != reason {
			t.Errorf("%v: got %v", code, got)
		}
	}
}

// RESOURCE_EXHAUSTED passes, except where it says that the message is too large.
func TestATooLargeMessageStaysTooLarge(t *testing.T) {
	refusal, err := status.New(codes.ResourceExhausted, "too large").WithDetails(&errdetails.ErrorInfo{
		Reason: fault.TooLarge.String(), Domain: "shelter.amanat", Metadata: map[string]string{"limit_bytes": "1048576"},
	})
	if err != nil {
		t.Fatal(err)
	}
	db, c := openFile(t), &callee{answer: func(int, *shelterv1.GetHoldRequest) error { return refusal.Err() }}
	o := newOutbox(t, db, c, nil)
	queue(t, db, o, id(1), "")
	if worked, err := o.Step(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	if got := noted(t, db); got[id(1)] != fault.TooLarge.String() {
		t.Errorf("got %v", got)
	}
}

func TestTransientFailuresAreTriedAgainLaterAndLater(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unimplemented, codes.Unauthenticated} {
		now := time.Unix(0, 0)
		db, c := openFile(t), &callee{answer: func(n int, _ *shelterv1.GetHoldRequest) error {
			if n <= 12 {
				return status.Error(code, "later")
			}
			return nil
		}}
		o := newOutbox(t, db, c, func(config *outbox.Config) {
			config.Now = func() time.Time { return now }
			config.Random = func() float64 { return 0 }
		})
		queue(t, db, o, id(1), "")
		step := func() bool {
			worked, err := o.Step(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return worked
		}
		delay := 50 * time.Millisecond
		for try := range 12 {
			if !step() {
				t.Fatalf("%v: try %d did not come after %v", code, try, delay)
			}
			if try > 0 {
				delay = min(2*delay, 30*time.Second)
			}
			now = now.Add(delay - time.Nanosecond)
			if step() {
				t.Fatalf("%v: try %d came too early", code, try+1)
			}
			now = now.Add(time.Nanosecond)
		}
		if !step() || noted(t, db)[id(1)] != "reply" {
			t.Errorf("%v: got %v", code, noted(t, db))
		}
	}
}

func TestOrderWithinASubjectAndOthersPass(t *testing.T) {
	db := openFile(t)
	stuck := make(map[string]bool)
	c := &callee{answer: func(_ int, request *shelterv1.GetHoldRequest) error {
		if request.GetName() == id(1) && !stuck["free"] {
			return status.Error(codes.Internal, "later")
		}
		return nil
	}}
	now := time.Unix(0, 0)
	o := newOutbox(t, db, c, func(config *outbox.Config) { config.Now = func() time.Time { return now } })
	for i := 1; i <= 6; i++ {
		queue(t, db, o, id(i), []string{"a", "b"}[(i+1)%2]) // odd: a, even: b
	}
	drain := func() {
		for {
			if worked, err := o.Step(t.Context()); err != nil {
				t.Fatal(err)
			} else if !worked {
				return
			}
		}
	}
	drain()
	if got := c.seen(); !slices.Equal(got, []string{id(1), id(2), id(4), id(6)}) {
		t.Fatalf("while the first of a is stuck: %v", got)
	}
	stuck["free"] = true
	now = now.Add(time.Minute)
	drain()
	if got := c.seen()[4:]; !slices.Equal(got, []string{id(1), id(3), id(5)}) {
		t.Errorf("then: %v", got)
	}
}

// What waits for a service is tried as soon as one of its answers comes, or somebody knows that it answers again.
func TestAServiceThatAnswersAgainReleasesAllThatWaitForIt(t *testing.T) {
	for _, how := range []string{"an answer comes", "somebody knows"} {
		t.Run(how, func(t *testing.T) { answersAgain(t, how == "somebody knows") })
	}
}

func answersAgain(t *testing.T, known bool) {
	db := openFile(t)
	away := true
	c := &callee{answer: func(int, *shelterv1.GetHoldRequest) error {
		if away {
			return status.Error(codes.Unavailable, "connection refused")
		}
		return nil
	}}
	now := time.Unix(0, 0)
	o := newOutbox(t, db, c, func(config *outbox.Config) { config.Now = func() time.Time { return now } })
	for i := range 10 {
		queue(t, db, o, id(i), "")
	}
	for range 100 { // All have failed often enough to wait for half a minute.
		for {
			if worked, err := o.Step(t.Context()); err != nil {
				t.Fatal(err)
			} else if !worked {
				break
			}
		}
		now = now.Add(7 * time.Second)
	}
	away = false
	if known {
		o.Hurry("shelter")
	} else {
		queue(t, db, o, id(10), "")
	}
	for {
		if worked, err := o.Step(t.Context()); err != nil {
			t.Fatal(err)
		} else if !worked {
			break
		}
	}
	if n, err := o.Waiting(t.Context()); n > 0 || err != nil {
		t.Errorf("%d still wait, %v", n, err)
	}
}

func TestCallsUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, store.Options{Engine: store.NewMemory(), Schema: schema})
		c := &callee{hold: make(chan struct{})}
		o := newOutbox(t, db, c, func(config *outbox.Config) { config.Workers = 4 })
		stop := run(t, o)
		for i := range 20 {
			queue(t, db, o, id(i), "")
		}
		synctest.Wait()
		if n := len(c.seen()); n != 4 {
			t.Errorf("%d calls under way", n)
		}
		close(c.hold)
		synctest.Wait()
		if got := noted(t, db); len(got) != 20 || c.most != 4 {
			t.Errorf("%d results, at most %d at once", len(got), c.most)
		}
		stop()
	})
}

func TestARestartLosesNothingAndKeepsOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "referral.db")
	db := open(t, store.Options{Path: path, Schema: schema})
	c := &callee{answer: func(int, *shelterv1.GetHoldRequest) error { return status.Error(codes.Unavailable, "away") }}
	o := newOutbox(t, db, c, nil)
	stop := run(t, o)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for i := range 1200 { // More than a page of what is read at the start.
			command := outbox.Command{ID: id(i), Method: getHold, Subject: fmt.Sprint("subject", i%100), Request: &shelterv1.GetHoldRequest{Name: id(i)}}
			if err := o.Queue(tx, command); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	closeChecked(t, db)

	db = open(t, store.Options{Path: path, Schema: schema})
	again := &callee{}
	o = newOutbox(t, db, again, nil)
	queue(t, db, o, id(1200), "subject0") // Before the first look at what is queued.
	run(t, o)
	for i := range 1201 {
		wait(t, o, id(i))
	}
	if got := noted(t, db); len(got) != 1201 {
		t.Errorf("%d results", len(got))
	}
	for subject := range 100 {
		var order []string
		for _, name := range again.seen() {
			var n int
			if _, err := fmt.Sscanf(name, "command-%d", &n); err != nil {
				t.Fatal(err)
			}
			if n%100 == subject {
				order = append(order, name)
			}
		}
		if !slices.IsSorted(order) {
			t.Errorf("subject %d out of order", subject)
		}
	}
}

func TestACrashBeforeTheResultRepeatsTheCall(t *testing.T) {
	engine := store.NewMemory()
	db := open(t, store.Options{Engine: engine, Schema: schema})
	c := &callee{}
	fail := errors.New("the process dies here")
	o := newOutbox(t, db, c, func(config *outbox.Config) {
		config.Targets[getHold] = outbox.Target{Service: "shelter", Result: func(tx *store.Tx, r outbox.Result) error {
			if err := note(tx, r); err != nil {
				return err
			}
			return fail
		}}
	})
	queue(t, db, o, id(1), "")
	if _, err := o.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(noted(t, db)) != 0 {
		t.Fatal("an effect without the end of its command")
	}
	closeChecked(t, db)
	db = open(t, store.Options{Engine: engine, Schema: schema})
	o = newOutbox(t, db, c, nil)
	if worked, err := o.Step(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	if got := noted(t, db); got[id(1)] != "reply" || !slices.Equal(c.seen(), []string{id(1), id(1)}) {
		t.Errorf("effects %v, calls %v", got, c.seen())
	}
}

func TestAHandlerThatPanicsStopsNobodyElse(t *testing.T) {
	db, c := openFile(t), &callee{}
	o := newOutbox(t, db, c, func(config *outbox.Config) {
		config.Targets[getHold] = outbox.Target{Service: "shelter", Result: func(tx *store.Tx, r outbox.Result) error {
			if r.Command.ID == id(1) {
				panic("nil map")
			}
			return note(tx, r)
		}}
	})
	queue(t, db, o, id(1), "a")
	queue(t, db, o, id(2), "b")
	run(t, o)
	wait(t, o, id(2))
	if n, err := o.Waiting(t.Context()); n != 1 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
}

func TestAHandlerMayQueueTheNextCommand(t *testing.T) {
	db, c := openFile(t), &callee{}
	var o *outbox.Outbox
	o = newOutbox(t, db, c, func(config *outbox.Config) {
		config.Targets[getHold] = outbox.Target{Service: "shelter", Result: func(tx *store.Tx, r outbox.Result) error {
			if r.Command.ID == id(1) {
				next := outbox.Command{ID: id(2), Method: getHold, Subject: r.Command.Subject, Request: r.Command.Request}
				if err := o.Queue(tx, next); err != nil {
					return err
				}
			}
			return note(tx, r)
		}}
	})
	queue(t, db, o, id(1), "a")
	run(t, o)
	wait(t, o, id(1))
	wait(t, o, id(2))
	if got := noted(t, db); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestWait(t *testing.T) {
	db, c := openFile(t), &callee{hold: make(chan struct{})}
	o := newOutbox(t, db, c, nil)
	if err := o.Wait(t.Context(), "nobody-knows"); err != nil {
		t.Errorf("for what is not queued: %v", err)
	}
	queue(t, db, o, id(1), "")
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := o.Wait(short, id(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("until its deadline: %v", err)
	}
	run(t, o)
	waited := make(chan error, 8)
	for range cap(waited) {
		go func() { waited <- o.Wait(t.Context(), id(1)) }()
	}
	close(c.hold)
	for range cap(waited) {
		if err := <-waited; err != nil {
			t.Error(err)
		}
	}
	if got := noted(t, db); got[id(1)] != "reply" {
		t.Errorf("the wait ended before the result was taken in: %v", got)
	}
}

// Who waits for a result is let go when the service stops, because its store has failed or it is told to: nobody brings the result any more,
// and the server does not stop before whoever waits is answered.
func TestNobodyWaitsForAnOutboxThatHasStopped(t *testing.T) {
	called := make(chan struct{}, 100)
	db, c := openFile(t), &callee{answer: func(int, *shelterv1.GetHoldRequest) error {
		called <- struct{}{}
		return status.Error(codes.Unavailable, "away")
	}}
	o := newOutbox(t, db, c, nil)
	queue(t, db, o, id(1), "")
	waited := make(chan error)
	go func() { waited <- o.Wait(t.Context(), id(1)) }()
	stop := run(t, o)
	<-called
	stop()
	if err := <-waited; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait under way ended with %v", err)
	}
	if err := o.Wait(t.Context(), id(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that begins later ended with %v", err)
	}
}

func TestQueueRefuses(t *testing.T) {
	db, c := openFile(t), &callee{}
	o := newOutbox(t, db, c, func(config *outbox.Config) {
		config.Targets[createWorker] = outbox.Target{Service: "protection", Result: note}
	})
	good := &shelterv1.GetHoldRequest{}
	for name, command := range map[string]outbox.Command{
		"has no target":        {ID: id(1), Method: "/a.B/C", Request: good},
		"the id of a command":  {ID: "short", Method: getHold, Request: good},
		"the request of":       {ID: id(1), Method: getHold, Request: &shelterv1.Hold{}},
		"there is no sealer":   {ID: id(1), Method: createWorker, Request: aWorker("Gul")},
		"REASON_TOO_LARGE":     {ID: id(1), Method: getHold, Request: &shelterv1.GetHoldRequest{Name: strings.Repeat("x", rpc.MaxMessageBytes)}},
		"the request of /aman": {ID: id(1), Method: getHold},
	} {
		err := db.Update(t.Context(), func(tx *store.Tx) error { return o.Queue(tx, command) })
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
	queue(t, db, o, id(1), "")
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		return o.Queue(tx, outbox.Command{ID: id(1), Method: getHold, Request: good})
	})
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("the same id twice: %v", err)
	}
}

func TestMarkedRequestsLieSealed(t *testing.T) {
	const secret = "Gul Bibi of Mastung"
	path := filepath.Join(t.TempDir(), "referral.db")
	db, c := open(t, store.Options{Path: path, Schema: schema}), &callee{}
	o := newOutbox(t, db, c, func(config *outbox.Config) {
		config.Sealer = &sealer{}
		config.Targets = map[string]outbox.Target{createWorker: {Service: "protection", Result: func(tx *store.Tx, r outbox.Result) error {
			if name := r.Command.Request.(*protectionv1.CreateWorkerRequest).GetWorker().GetDisplayName(); name != secret {
				return fmt.Errorf("the handler got another request")
			}
			return note(tx, r)
		}}}
	})
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		return o.Queue(tx, outbox.Command{ID: id(1), Method: createWorker, Subject: "nodes/sindh/cases/1", Request: aWorker(secret)})
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || bytes.Contains(raw, []byte("Gul")) || !bytes.Contains(raw, turned([]byte(secret))) {
		t.Fatalf("the file holds it in the clear, or not at all (%v)", err)
	}
	if worked, err := o.Step(t.Context()); !worked || err != nil || !slices.Equal(c.seen(), []string{secret}) {
		t.Errorf("worked %v, %v, called with %v", worked, err, c.seen())
	}
	if got := noted(t, db); got[id(1)] != "reply" {
		t.Errorf("got %v", got)
	}
}

func TestARequestWhoseKeyWasErasedEndsAsARefusal(t *testing.T) {
	db, c := openFile(t), &callee{}
	s := &sealer{}
	o := newOutbox(t, db, c, func(config *outbox.Config) {
		config.Sealer = s
		config.Targets = map[string]outbox.Target{createWorker: {Service: "protection", Result: note}}
	})
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		return o.Queue(tx, outbox.Command{ID: id(1), Method: createWorker, Request: aWorker("Gul")})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.erased = fault.New(fault.Missing, "The person's record was erased.")
	if _, err := o.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := noted(t, db); got[id(1)] != "REASON_NOT_FOUND" || len(c.seen()) != 0 {
		t.Errorf("got %v, calls %v", got, c.seen())
	}
}

func TestNewRefuses(t *testing.T) {
	db := openFile(t)
	for want, targets := range map[string]map[string]outbox.Target{
		"not a known unary method":   {"/amanat.shelter.v1.ShelterService/Nothing": {Service: "shelter", Result: note}},
		"is not the full name":       {"GetHold": {Service: "shelter", Result: note}},
		"a result handler":           {getHold: {Service: "shelter"}},
		`a connection to "referral"`: {getHold: {Service: "referral", Result: note}},
	} {
		_, err := outbox.New(outbox.Config{DB: db, Table: table, Targets: targets, Connections: map[string]grpc.ClientConnInterface{"shelter": &callee{}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAQueuedCommandWithoutATargetIsSaidAtTheStart(t *testing.T) {
	db := openFile(t)
	queue(t, db, newOutbox(t, db, &callee{}, nil), id(1), "")
	o := newOutbox(t, db, &callee{}, func(config *outbox.Config) {
		config.Targets = map[string]outbox.Target{createWorker: {Service: "protection", Result: note}}
	})
	if err := o.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "which has no target") {
		t.Errorf("got %v", err)
	}
}
