package outbox

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	outboxv1 "amanat.example/proto/amanat/outbox/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

const (
	defaultWorkers     = 16
	defaultCallTimeout = 10 * time.Second
	// maxRequest leaves room in a message for what a seal adds.
	maxRequest = rpc.MaxMessageBytes - 4<<10
)

// Table is where a service's commands lie. It holds no state, so one declaration serves all
// stores of its schema.
type Table struct {
	rows *store.Table[*outboxv1.QueuedCommand]
	ids  *store.Index[*outboxv1.QueuedCommand]
}

// Declare adds the outbox (`outbox`, `outbox_by_id`) to a service's schema.
func Declare(schema *store.Schema) *Table {
	t := &Table{rows: store.NewTable[*outboxv1.QueuedCommand](schema, "outbox")}
	t.ids = store.NewIndex(t.rows, "outbox_by_id", func(row *outboxv1.QueuedCommand) []store.Key {
		return []store.Key{idKey(row.GetId())}
	}, store.Unique)
	return t
}

func idKey(id string) store.Key { return store.K(id) }

// Command is one call owed to another service.
type Command struct {
	// ID is the idempotency key, 8 to 100 letters, digits and `._-`. It is also the request id of
	// the call; the request usually carries it as `request_id`.
	ID string
	// Method is its full name, such as `/amanat.shelter.v1.HoldService/PlaceHold`; it has a
	// [Target] in the outbox's configuration.
	Method string
	// Subject keeps commands in order: a resource name. Empty: in no order.
	Subject string
	// Request is of the method's request type.
	Request proto.Message
	// OnBehalfOf is the resource name of the person on whose behalf the service acts, for its own
	// records and handlers; the call itself is made as the service.
	OnBehalfOf string
}

// Result is how a command ended.
type Result struct {
	// Command as it was queued.
	Command Command
	// Reply is of the method's reply type; nil when there is a Fault.
	Reply proto.Message
	// Fault is the called service's refusal; nil when there is a Reply.
	Fault *fault.Error
}

// ResultFunc takes in a result within the transaction that also deletes the command. It must be
// quick and wait for nothing; what it needs of the outside world it queues again. An error keeps
// the command, which is then called once more.
type ResultFunc func(tx *store.Tx, result Result) error

// Target says where a method's calls go and who takes in their results.
type Target struct {
	Service string // such as `shelter`; its connection is in the configuration
	Result  ResultFunc
}

// Sealer seals requests that can carry a person's data while they lie in the store. subject is
// the command's; what it seals under that subject, and no other, it opens again. A *fault.Error
// of Open is final (the person's key was erased): it becomes the command's result.
type Sealer interface {
	Seal(subject string, plaintext []byte) ([]byte, error)
	Open(subject string, sealed []byte) ([]byte, error)
}

// Config of an outbox. DB, Table, Targets, Connections and Logger are needed.
type Config struct {
	DB      *store.DB
	Table   *Table
	Targets map[string]Target // by full method name
	// Connections by service name, as rpc.Dial makes them.
	Connections map[string]grpc.ClientConnInterface
	Sealer      Sealer // nil: requests that can carry a person's data are refused
	Logger      *logging.Logger
	Workers     int              // calls under way at once; 0: 16
	CallTimeout time.Duration    // of one try; 0: 10 s
	Now         func() time.Time // nil: time.Now
	Random      func() float64   // for jitter, in [0, 1); nil: math/rand/v2
}

// Outbox queues commands and delivers them. One exists per store.
type Outbox struct {
	c       Config
	methods map[string]*method
	metrics *metrics

	mu      sync.Mutex // guards all below
	lanes   lanes
	waiting map[string][]chan struct{} // by command id
	loaded  bool
	wake    chan struct{}
	ended   chan struct{} // closed when Run has ended
}

// method is a target with the types of its messages.
type method struct {
	Target
	name           string
	conn           grpc.ClientConnInterface
	request, reply protoreflect.MessageType
	marked         bool // the request can carry a person's data
}

// New makes an outbox over a store. It fails where a target has no connection, no handler, or
// names no known unary method.
func New(c Config) (*Outbox, error) {
	if c.Workers <= 0 {
		c.Workers = defaultWorkers
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	o := &Outbox{
		c: c, methods: make(map[string]*method, len(c.Targets)), lanes: newLanes(), metrics: newMetrics(),
		waiting: make(map[string][]chan struct{}), wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	for name, target := range c.Targets {
		m, err := resolve(name)
		if err != nil {
			return nil, err
		}
		m.Target, m.conn = target, c.Connections[target.Service]
		if m.Result == nil || m.conn == nil {
			return nil, fmt.Errorf("outbox: %s needs a result handler and a connection to %q", name, target.Service)
		}
		o.methods[name] = m
	}
	c.DB.Observe(o.observe)
	return o, nil
}

var fullMethod = regexp.MustCompile(`^/([A-Za-z0-9_.]+)/([A-Za-z0-9_]+)$`)

func resolve(name string) (*method, error) {
	parts := fullMethod.FindStringSubmatch(name)
	if parts == nil {
		return nil, fmt.Errorf("outbox: %q is not the full name of a method, such as /package.Service/Method", name)
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(parts[1] + "." + parts[2]))
	descriptor, ok := found.(protoreflect.MethodDescriptor)
	if err != nil || !ok || descriptor.IsStreamingClient() || descriptor.IsStreamingServer() {
		return nil, fmt.Errorf("outbox: %s is not a known unary method", name)
	}
	m := &method{name: name, marked: privacy.Marked(descriptor.Input())}
	if m.request, err = protoregistry.GlobalTypes.FindMessageByName(descriptor.Input().FullName()); err != nil {
		return nil, fmt.Errorf("outbox: request of %s: %w", name, err)
	}
	if m.reply, err = protoregistry.GlobalTypes.FindMessageByName(descriptor.Output().FullName()); err != nil {
		return nil, fmt.Errorf("outbox: reply of %s: %w", name, err)
	}
	return m, nil
}

var commandID = regexp.MustCompile(`^[A-Za-z0-9._-]{8,100}$`)

// CheckID says what is wrong with the id of a command; what stands for an outbox in a test refuses what this one refuses.
func CheckID(id string) error {
	if !commandID.MatchString(id) {
		return fmt.Errorf("outbox: the id of a command matches %s, and not %q", commandID, id)
	}
	return nil
}

// Queue adds a command to the transaction that decides it; it goes out as soon as that commits.
// An id that is still queued gives an error wrapping store.ErrExists.
func (o *Outbox) Queue(tx *store.Tx, c Command) error {
	m, ok := o.methods[c.Method]
	switch {
	case !ok:
		return fmt.Errorf("outbox: %s has no target", c.Method)
	case CheckID(c.ID) != nil:
		return CheckID(c.ID)
	case c.Request == nil || c.Request.ProtoReflect().Descriptor() != m.request.Descriptor():
		return fmt.Errorf("outbox: the request of %s is a %s", c.Method, m.request.Descriptor().FullName())
	}
	request, err := proto.Marshal(c.Request)
	if err != nil {
		return fmt.Errorf("outbox: request of %s: %w", c.Method, err)
	}
	if len(request) > maxRequest {
		return fault.New(fault.TooLarge, fmt.Sprintf("A request of %s has %d bytes; it may have %d.", c.Method, len(request), maxRequest))
	}
	row := &outboxv1.QueuedCommand{
		Id: c.ID, Service: m.Service, Method: c.Method, Subject: c.Subject, Request: request,
		Sealed: m.marked, OnBehalfOf: c.OnBehalfOf, QueueTime: timestamppb.New(o.c.Now()),
	}
	if m.marked {
		if o.c.Sealer == nil {
			return fmt.Errorf("outbox: a request of %s can carry a person's data and there is no sealer", c.Method)
		}
		if row.Request, err = o.c.Sealer.Seal(c.Subject, request); err != nil {
			return fmt.Errorf("outbox: seal a request of %s: %w", c.Method, err)
		}
	}
	// Rows are in order of queueing; the last one standing says which number comes next.
	last, _, err := o.c.Table.rows.Page(tx, store.Range{Reverse: true}, 1)
	if err != nil {
		return err
	}
	next := uint64(1)
	if len(last) > 0 {
		next = sequenceOf(last[0].Key) + 1
	}
	return o.c.Table.rows.Insert(tx, store.K(next), row)
}

// Wait returns nil once the command's result has been taken in (at once when it is not queued,
// or not any more), and ctx's error when that comes first. Once Run has ended no result comes any more, and the
// time to wait is over: context.DeadlineExceeded. What the result was stands where the handler has put it.
func (o *Outbox) Wait(ctx context.Context, id string) error {
	done := make(chan struct{})
	o.mu.Lock()
	o.waiting[id] = append(o.waiting[id], done)
	o.mu.Unlock()
	defer o.forget(id, done)
	// Asked after the wait is known, so that no end can slip between the two.
	queued, err := o.queued(ctx, id)
	if err != nil || !queued {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-o.ended: // a service that stops does not wait for those who wait for this
		return context.DeadlineExceeded
	}
}

func (o *Outbox) queued(ctx context.Context, id string) (queued bool, err error) {
	err = o.c.DB.View(ctx, func(r store.Reader) error {
		_, err := o.c.Table.ids.First(r, store.Range{Prefix: idKey(id)})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		queued = err == nil
		return err
	})
	return queued, err
}

func (o *Outbox) forget(id string, done chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, other := range o.waiting[id] {
		if other == done {
			o.waiting[id] = append(o.waiting[id][:i], o.waiting[id][i+1:]...)
			break
		}
	}
	if len(o.waiting[id]) == 0 {
		delete(o.waiting, id)
	}
}

// Unwaiting is an outbox whose results nobody waits for, since whoever would bring one is this very goroutine. For simulations.
type Unwaiting struct{ *Outbox }

// Wait ends at once, as one whose time is over.
func (Unwaiting) Wait(context.Context, string) error { return context.DeadlineExceeded }

// Hurry has what waits for a service tried now: the caller knows that it answers again. Each of them waits up to 30 s else.
func (o *Outbox) Hurry(service string) {
	o.mu.Lock()
	o.lanes.answers(service)
	o.mu.Unlock()
	o.nudge()
}

// Waiting is how many commands have no result yet.
func (o *Outbox) Waiting(ctx context.Context) (n uint64, err error) {
	err = o.c.DB.View(ctx, func(r store.Reader) error {
		n, err = o.c.Table.rows.Count(r)
		return err
	})
	return n, err
}
