package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	outboxv1 "amanat.example/proto/amanat/outbox/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

// retryIn is how long a command waits after a try that decided nothing.
var retryIn = backoff.Range{Min: 50 * time.Millisecond, Max: 30 * time.Second}

// definite are the codes that repeating the same request cannot change. All others are tried
// again: the service is away, overloaded, failing, or not yet the version that knows the method.
var definite = map[codes.Code]bool{
	codes.InvalidArgument:    true,
	codes.OutOfRange:         true,
	codes.NotFound:           true,
	codes.AlreadyExists:      true,
	codes.FailedPrecondition: true,
	codes.Aborted:            true, // A stale etag stays stale.
	codes.PermissionDenied:   true,
}

// observe keeps the lanes as the table is. It runs in the store's committer.
func (o *Outbox) observe(set store.ChangeSet) {
	table := o.c.Table.rows
	changed := false
	for _, change := range set.Changes {
		if change.Table != table.Name() {
			continue
		}
		changed = true
		// What cannot be decoded was written a moment ago by this very table; a row that this
		// process then does not see is found at the next start.
		if change.New == nil {
			if row, err := table.Decode(change.Old); err == nil {
				o.mu.Lock()
				o.lanes.remove(row.GetId())
				o.mu.Unlock()
			}
		} else if row, err := table.Decode(change.New); err == nil {
			o.mu.Lock()
			o.lanes.add(sequenceOf(change.Key), row)
			o.mu.Unlock()
		}
	}
	if changed {
		o.nudge()
	}
}

func (o *Outbox) nudge() {
	select {
	case o.wake <- struct{}{}:
	default: // The dispatcher has one waiting already.
	}
}

// load takes over what an earlier process has queued, page by page.
func (o *Outbox) load(ctx context.Context) error {
	o.mu.Lock()
	loaded := o.loaded
	o.mu.Unlock()
	if loaded {
		return nil
	}
	var after store.Key
	for {
		var rows []store.Row[*outboxv1.QueuedCommand]
		err := o.c.DB.View(ctx, func(r store.Reader) (err error) {
			rows, after, err = o.c.Table.rows.Page(r, store.Range{After: after}, 500)
			return err
		})
		if err != nil {
			return fmt.Errorf("outbox: read what is queued: %w", err)
		}
		o.mu.Lock()
		for _, row := range rows {
			if o.methods[row.Value.GetMethod()] == nil {
				o.mu.Unlock()
				return fmt.Errorf("outbox: a command of %s is queued, which has no target", row.Value.GetMethod())
			}
			o.lanes.add(sequenceOf(row.Key), row.Value)
		}
		o.loaded = o.loaded || after == nil
		o.mu.Unlock()
		if after == nil {
			return nil
		}
	}
}

// Run delivers until ctx ends, and returns when its calls have ended; then nobody waits for a result
// any more. It runs once. The error says why it could not begin: the store cannot be read, or a queued
// command has no target.
func (o *Outbox) Run(ctx context.Context) error {
	defer close(o.ended)
	if err := o.load(ctx); err != nil {
		return err
	}
	var working sync.WaitGroup
	defer working.Wait()
	free := make(chan struct{}, o.c.Workers)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		one := o.next(ctx)
		if one == nil {
			return nil
		}
		working.Go(func() {
			o.try(ctx, one)
			<-free
			o.nudge()
		})
	}
}

// next waits for a lane that may go; nil when ctx ends.
func (o *Outbox) next(ctx context.Context) *lane {
	for ctx.Err() == nil {
		o.mu.Lock()
		one, wait := o.lanes.take(o.c.Now())
		o.mu.Unlock()
		if one != nil {
			return one
		}
		if wait < 0 {
			wait = retryIn.Max // Nothing is due; the wake will come first.
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// Step tries one command that may go now, for simulation on one goroutine; worked is false when
// there is none. The error is that of Run.
func (o *Outbox) Step(ctx context.Context) (worked bool, err error) {
	if err := o.load(ctx); err != nil {
		return false, err
	}
	o.mu.Lock()
	one, _ := o.lanes.take(o.c.Now())
	o.mu.Unlock()
	if one == nil {
		return false, nil
	}
	o.try(ctx, one)
	return true, nil
}

// try calls the first command of a lane once and takes in a definite result.
func (o *Outbox) try(ctx context.Context, one *lane) {
	o.mu.Lock()
	if len(one.queue) == 0 {
		o.lanes.done(one)
		o.mu.Unlock()
		return
	}
	first := one.queue[0]
	o.mu.Unlock()

	err := o.deliver(ctx, first)
	o.metrics.tried(first.service, err)

	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		for _, waiting := range o.waiting[first.id] {
			close(waiting)
		}
		delete(o.waiting, first.id)
		o.lanes.done(one)
		o.lanes.answers(first.service)
		return
	}
	one.failures++
	if ctx.Err() == nil && (one.failures == 1 || one.failures%10 == 0) {
		o.c.Logger.Warn("a command has no result yet and is tried again", logging.ID("command", first.id),
			logging.Service(first.service), logging.Count("tries", one.failures), logging.Err(err))
	}
	due := o.c.Now().Add(retryIn.Delay(one.failures, o.c.Random))
	o.lanes.delay(one, due, status.Code(err) == codes.Unavailable)
}

// deliver is one try; nil means that the result was taken in and the row is gone.
func (o *Outbox) deliver(ctx context.Context, e entry) (err error) {
	defer func() { // Of a handler: the store hands its panic on to here.
		if panicked := recover(); panicked != nil {
			err = fault.Panic(panicked)
		}
	}()
	var row *outboxv1.QueuedCommand
	err = o.c.DB.View(ctx, func(r store.Reader) error {
		row, err = o.c.Table.rows.Get(r, store.K(e.sequence))
		return err
	})
	if err != nil {
		return err
	}
	m := o.methods[row.GetMethod()]
	result := Result{Command: Command{ID: row.GetId(), Method: row.GetMethod(), Subject: row.GetSubject(), OnBehalfOf: row.GetOnBehalfOf()}}
	result.Command.Request, err = o.open(m, row)
	if result.Fault, _ = errors.AsType[*fault.Error](err); err != nil && result.Fault == nil {
		return err
	}
	if result.Fault == nil {
		if err := o.call(ctx, m, &result); err != nil {
			return err
		}
	}
	return o.c.DB.Update(ctx, func(tx *store.Tx) error {
		if err := m.Result(tx, result); err != nil {
			return fmt.Errorf("take in the result of %s: %w", m.name, err)
		}
		return o.c.Table.rows.Delete(tx, store.K(e.sequence))
	})
}

// open makes the request from the row.
func (o *Outbox) open(m *method, row *outboxv1.QueuedCommand) (proto.Message, error) {
	raw := row.GetRequest()
	if row.GetSealed() {
		if o.c.Sealer == nil {
			return nil, fmt.Errorf("a request of %s is sealed and there is no sealer", m.name)
		}
		var err error
		if raw, err = o.c.Sealer.Open(row.GetSubject(), raw); err != nil {
			return nil, fmt.Errorf("open a request of %s: %w", m.name, err)
		}
	}
	request := m.request.New().Interface()
	if err := proto.Unmarshal(raw, request); err != nil {
		return nil, fmt.Errorf("read a request of %s: %w", m.name, err)
	}
	return request, nil
}

// call makes the call. nil means a definite answer, which is then in result.
func (o *Outbox) call(ctx context.Context, m *method, result *Result) error {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, rpc.RequestIDKey, result.Command.ID), o.c.CallTimeout)
	defer cancel()
	reply := m.reply.New().Interface()
	err := m.conn.Invoke(ctx, m.name, result.Command.Request, reply)
	switch {
	case err == nil:
		result.Reply = reply
	case definite[status.Code(err)], tooLarge(err):
		result.Fault = rpc.Fault(err)
	default:
		return err
	}
	return nil
}

// tooLarge tells the two meanings of RESOURCE_EXHAUSTED apart: a message stays as large as it is.
func tooLarge(err error) bool {
	st, _ := status.FromError(err)
	return len(st.Details()) > 0 && rpc.Fault(err).Reason() == fault.TooLarge
}
