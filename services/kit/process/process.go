// Package process is the frame of a service's process: it opens identity, store, keys, event log
// and server in order, runs them until they are told to stop or one of them fails, and closes
// them in the other order. Use cases take the time from Now, which is the machine's unless a demo has a calendar (config.Service.Clock); all
// else here keeps the machine's clock. What a service does is its own; how it lives is here, once, and how it and its
// links stand is told to the operator (status.go).
package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
	"amanat.example/services/kit/tracing"
)

// BusName is the name under which a node's NATS has its certificate.
const BusName = "bus"

// Options say what a service is. All but Closed and Status are needed.
type Options struct {
	// Name of the service, such as `shelter`; also the folder and the file of its store.
	Name string
	// Schema of its store.
	Schema *store.Schema
	// Events is its event log, declared in Schema.
	Events *events.Log
	// Audit is its audit log, declared in Schema.
	Audit *audit.Log
	// Policy has a row for each of its RPCs; the rows of ListEvents, GetStatus and WriteBackup are added here.
	Policy rpc.Policy
	// Closed is rpc.Config.Closed; nil for a service that is always open.
	Closed func() error
	// Status adds to the service's status what it alone knows: missed deadlines, nodes whose answers are awaited. Nil for nothing.
	Status func(r store.Reader, into *statusv1.Status) error
}

// Process is an opened service: what its use cases stand on.
type Process struct {
	// Config is what it was opened with.
	Config config.Service
	// Identity of the service.
	Identity *identity.Service
	// Log of the service.
	Log *logging.Logger
	// DB is its store.
	DB *store.DB
	// Keys is its key file.
	Keys *privacy.Keyring
	// Server takes the service's RPCs; register them before Run.
	Server *rpc.Server
	// Metrics is what /metrics on the admin address shows.
	Metrics *prometheus.Registry

	// Bus wakes followers of other services' events.
	Bus *events.Bus

	tracing         *tracing.Tracing
	listener, admin net.Listener
	policy          rpc.Policy
	publisher       *events.Publisher
	failed          chan error // a store that cannot go on
	status          statusServer
	rolledBack      chan uint64
	tasks           []func(context.Context) error
	dues            []*Due   // by the clock of the use cases
	closers         []func() // of connections, in the order they were opened
}

// Open opens all that a service stands on, and listens. On an error nothing stays open.
func Open(ctx context.Context, c config.Service, o Options) (_ *Process, err error) {
	p := &Process{Config: c, failed: make(chan error, 2), rolledBack: make(chan uint64, 1), Metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s at %s does not start: %w", o.Name, c.Node, err), p.Close())
		}
	}()
	if p.Log, err = logging.New(logging.Options{Node: c.Node, Service: o.Name, Level: c.LogLevel}); err != nil {
		return nil, err
	}
	if p.Identity, err = identity.Load(c.Data, c.Node, o.Name); err != nil {
		return nil, err
	}
	if p.tracing, err = tracing.Open(ctx, c.OTLPEndpoint, c.Node, o.Name, p.Log); err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Data, c.Node, o.Name)
	if err := durable.MakeFolder(dir); err != nil {
		return nil, err
	}
	fatal := func(err error) {
		select {
		case p.failed <- err:
		default:
		}
	}
	// Keys first: what is sealed must find its key.
	if p.Keys, err = privacy.OpenKeyring(ctx, privacy.Options{Dir: dir, OnFatal: fatal}); err != nil {
		return nil, err
	}
	if p.DB, err = store.Open(ctx, store.Options{Path: filepath.Join(dir, o.Name+".db"), Schema: o.Schema, OnFatal: fatal}); err != nil {
		return nil, err
	}
	if p.Bus, err = events.Connect(c.NATSURL, p.Identity.ClientTLS(BusName), c.Node, o.Name); err != nil {
		return nil, err
	}
	p.publisher = events.NewPublisher(events.PublisherConfig{DB: p.DB, Log: o.Events, Node: c.Node, Broker: p.Bus, Logger: p.Log})
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), p.publisher} {
		if err := p.Metrics.Register(c); err != nil {
			return nil, err
		}
	}
	if err := p.serve(o); err != nil {
		return nil, err
	}
	if p.listener, err = net.Listen("tcp", c.Listen); err != nil {
		return nil, err
	}
	if p.admin, err = net.Listen("tcp", c.Admin); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Process) serve(o Options) (err error) {
	p.policy = rpc.Policy{
		eventsv1.EventService_ListEvents_FullMethodName: {Callers: []string{"protection", "referral", "shelter", "federal", "gateway"}, Early: true},
		statusv1.StatusService_GetStatus_FullMethodName: {Callers: []string{"operator"}, Early: true},
		// Also while the service answers nothing yet: what it has then is worth keeping, too.
		backupv1.BackupService_WriteBackup_FullMethodName: {Callers: []string{"operator"}, Deadline: backup.WritingTime, Early: true},
	}
	for method, row := range o.Policy {
		p.policy[method] = row
	}
	p.Server, err = rpc.NewServer(rpc.Config{
		Identity: p.Identity, Policy: p.policy, Log: p.Log, Audit: o.Audit.Reading(p.DB, time.Now), Ready: p.DB.Err, Closed: o.Closed, Metrics: p.Metrics, Trace: p.tracing.Server(),
	})
	if err != nil {
		return err
	}
	eventsv1.RegisterEventServiceServer(p.Server, events.NewServer(p.DB, o.Events, p.learns))
	backupv1.RegisterBackupServiceServer(p.Server, backup.NewServer(backup.Config{
		Data: p.Config.Data, Node: p.Config.Node, Service: o.Name, Schema: o.Schema, DB: p.DB, Keys: p.Keys, Log: p.Log,
	}))
	p.status = statusServer{process: p, own: o.Status, began: time.Now()}
	statusv1.RegisterStatusServiceServer(p.Server, &p.status)
	return nil
}

// Address is where the server listens.
func (p *Process) Address() net.Addr { return p.listener.Addr() }

// Run serves, publishes events, keeps the certificate fresh and runs the service's own tasks,
// until ctx ends, a task fails or a store fails. A task ends when its context does; nil before
// that means that it has no more to do.
func (p *Process) Run(ctx context.Context, tasks ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := p.Server.Run(ctx, p.listener, p.admin); err != nil {
			return err
		}
		return ctx.Err() // a server that has drained ends the others too
	})
	group.Go(func() error { p.publisher.Run(ctx); return nil })
	group.Go(func() error { return p.tend(ctx) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-p.failed:
			return fmt.Errorf("the store has failed; nothing more is taken: %w", err)
		}
	})
	group.Go(func() error { return p.awaitRolledBack(ctx) })
	if p.Config.Clock != nil {
		group.Go(func() error { p.watchClock(ctx); return nil })
	}
	for _, task := range append(p.tasks, tasks...) {
		group.Go(func() error { return task(ctx) })
	}
	p.Log.Info("serving", logging.Address(p.listener.Addr()))
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ErrRolledBack ends Run when a peer knows more of the service's store than the store itself: it was put back to an older copy, or lost. Its
// incarnation is raised, so that at its next start it asks the others what it lost.
var ErrRolledBack = errors.New("the store was rolled back to an older copy, or lost; start the service again, and it asks the other nodes what it lost")

// learns that the store was rolled back, and must be greater than above.
func (p *Process) learns(above uint64) {
	select {
	case p.rolledBack <- above:
	default: // one such word is enough
	}
}

func (p *Process) awaitRolledBack(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case above := <-p.rolledBack:
		return errors.Join(ErrRolledBack, p.DB.RaiseIncarnation(ctx, above))
	}
}

// Close closes what is open, last opened first.
func (p *Process) Close() (err error) {
	for _, l := range []net.Listener{p.listener, p.admin} {
		if l != nil {
			_ = l.Close() // the server closes them itself when it ran
		}
	}
	for _, closer := range slices.Backward(p.closers) {
		closer()
	}
	p.tracing.Close()
	if p.Bus != nil {
		p.Bus.Close()
	}
	if p.DB != nil {
		err = errors.Join(err, p.DB.Close())
	}
	if p.Keys != nil {
		err = errors.Join(err, p.Keys.Close())
	}
	return err
}
