package shelter

import (
	"bytes"
	"context"
	"io"
	"time"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/server"
	"amanat.example/services/shelter/internal/store"
)

// Stepping says what a stepped service stands on; all of it is needed.
type Stepping struct {
	Node string
	// Engine keeps the store; it outlives the service, as a disk does.
	Engine kitstore.Engine
	Keys   *privacy.Keyring
	Now    func() time.Time
	Random io.Reader
	NewID  func() (string, error)
}

// Stepped is the shelter service without process, network and goroutines: it does nothing but what its caller asks for, one thing
// after the other. It is wired as New wires it, but for adverts. For simulations.
type Stepped struct {
	// Server takes the service's RPCs.
	Server *rpc.Local

	db         *kitstore.DB
	app        *app.App
	woken      bool
	rolledBack uint64 // the incarnation in which a follower has read more; zero for none
}

// OpenStepped opens the service over its store. Nothing needs to be closed.
func OpenStepped(ctx context.Context, s Stepping) (*Stepped, error) {
	db, err := kitstore.Open(ctx, kitstore.Options{Engine: s.Engine, Inline: true, Schema: store.Schema, Clock: s.Now, Rand: s.Random})
	if err != nil {
		return nil, err
	}
	a, err := newApp(ctx, standing{
		node: s.Node, db: db, keys: s.Keys, now: s.Now, newID: s.NewID, tokens: paging.New([]byte(s.Node)),
		after: func(time.Duration) <-chan time.Time { return nil },
	})
	if err != nil {
		return nil, err
	}
	one := &Stepped{db: db, app: a, woken: true}
	a.Wake = func() { one.woken = true }
	policy := server.Policy()
	policy[events.ListEventsMethod] = rpc.Row{Callers: []string{rpc.AnyCaller}, Early: true}
	one.Server = rpc.NewLocal("shelter", policy, a.Gate.Closed)
	register(one.Server, a)
	eventsv1.RegisterEventServiceServer(one.Server, events.NewServer(db, store.Events, func(above uint64) { one.rolledBack = max(one.rolledBack, above) }))
	return one, nil
}

// Err says why the store has failed; nil while it has not. Then the service must not be used any more.
func (s *Stepped) Err() error { return s.db.Err() }

// EndDue ends what is due now, such as holds that run out, and says when the next is; zero for never.
func (s *Stepped) EndDue(ctx context.Context) (next time.Time, err error) {
	s.woken = false
	return s.app.FireDue(ctx)
}

// Woken says that EndDue is to be called again although its time has not come: something has changed since.
func (s *Stepped) Woken() bool { return s.woken }

// RolledBack is the incarnation in which a follower of its events has read more than the store holds: the service is to be opened anew after
// Raise. Zero while nobody has.
func (s *Stepped) RolledBack() uint64 { return s.rolledBack }

// Raise begins a new incarnation, greater than above. The service must not be used any more.
func (s *Stepped) Raise(ctx context.Context, above uint64) error {
	return s.db.RaiseIncarnation(ctx, above)
}

// RestoreTo writes what the store holds into an empty engine, as a restore from its backup does: with a new incarnation.
func (s *Stepped) RestoreTo(ctx context.Context, into kitstore.Engine, clock func() time.Time) error {
	var backup bytes.Buffer
	if err := s.db.Backup(ctx, &backup); err != nil {
		return err
	}
	return kitstore.Restore(ctx, &backup, kitstore.Options{Engine: into, Schema: store.Schema, Clock: clock}, false)
}
