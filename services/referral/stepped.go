package referral

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/server"
	"amanat.example/services/referral/internal/store"
)

// Stepping says what a stepped service stands on. ManualConfirm aside, all of it is needed.
type Stepping struct {
	Node, Federal string
	ManualConfirm bool
	// Engine keeps the store; it outlives the service, as a disk does.
	Engine    kitstore.Engine
	Keys      *privacy.Keyring
	Crypto    post.Keys
	Roster    app.Roster
	Transport post.Transport
	// Shelter is the connection to the node's shelter service.
	Shelter grpc.ClientConnInterface
	Now     func() time.Time
	Random  io.Reader
	NewID   func() (string, error)
	Log     *logging.Logger
	// Resend is how long a parcel without receipt waits; zero for what is usual.
	Resend backoff.Range
	// Listens has a service that was opened listen to the others first, as one does that starts.
	Listens bool
	// Applied is told of every letter when what it did is committed; nil for nobody.
	Applied func(from *postv1.Address, letter *postv1.Letter)
}

// Stepped is the referral service without process, network and goroutines: it does nothing but what its caller asks for, one
// thing after the other. It is wired as New wires it. For simulations.
type Stepped struct {
	// Server takes the service's RPCs.
	Server *rpc.Local
	// Post of the service; Run is not called.
	Post *post.Post
	// Commands to the shelter service; Run is not called.
	Commands *outbox.Outbox
	// Follower of the shelter's events; Run is not called.
	Follower *events.Follower

	db      *kitstore.DB
	app     *app.App
	shelter shelterv1.ReconcileServiceClient

	listens             *listener
	deadlines, recovery bool // woken
	flows               func(context.Context) (time.Time, error)
	rolledBack          uint64 // the incarnation that a peer knows; zero for none
}

// OpenStepped opens the service over its store. Nothing needs to be closed.
func OpenStepped(ctx context.Context, s Stepping) (*Stepped, error) {
	db, err := kitstore.Open(ctx, kitstore.Options{Engine: s.Engine, Inline: true, Schema: store.Schema, Clock: s.Now, Rand: s.Random})
	if err != nil {
		return nil, err
	}
	a := newApp(standing{
		node: s.Node, federal: s.Federal, db: db, keys: s.Keys, crypto: s.Crypto, roster: s.Roster, limits: rules.DefaultLimits(),
		autoConfirm: !s.ManualConfirm, now: s.Now, random: s.Random, newID: s.NewID, log: s.Log,
	})
	one := &Stepped{db: db, app: a, shelter: shelterv1.NewReconcileServiceClient(s.Shelter), deadlines: true, recovery: true, flows: flow.Reports(a.Flows)}
	letters, err := post.New(post.Config{
		Node: s.Node, Service: "referral", DB: db, Tables: store.Letters, Keys: s.Crypto, Transport: s.Transport,
		Handlers: post.Told(handlers(a), s.Applied), Clock: s.Now, Rand: s.Random, Log: s.Log, Resend: s.Resend,
		OnRolledBack: func(above uint64) { one.rolledBack = max(one.rolledBack, above) },
	})
	if err != nil {
		return nil, err
	}
	commands, err := outbox.New(outbox.Config{
		DB: db, Table: store.Commands, Targets: targets(a), Connections: map[string]grpc.ClientConnInterface{"shelter": s.Shelter},
		Logger: s.Log, Now: s.Now, Random: func() float64 { return 0 },
	})
	if err != nil {
		return nil, err
	}
	one.listens = &listener{begun: s.Now(), now: s.Now, heard: letters.AllHeard, fire: a.FireDeadlines}
	one.listens.over.Store(!s.Listens)
	a.Listened = one.listens.over.Load
	one.Post, one.Commands, one.Follower = letters, commands, newFollower(a, s.Shelter, nil)
	a.Post, a.Commands = letters, outbox.Unwaiting{Outbox: commands}
	a.Wake, a.WakeRecovery = func() { one.deadlines = true }, func() { one.recovery = true }
	if err := a.BeginRecovery(ctx); err != nil {
		return nil, err
	}
	policy := server.Policy()
	policy[events.ListEventsMethod] = rpc.Row{Callers: []string{rpc.AnyCaller}, Early: true}
	one.Server = rpc.NewLocal("referral", policy, nil)
	referralv1.RegisterReferralServiceServer(one.Server, server.New(a))
	eventsv1.RegisterEventServiceServer(one.Server, events.NewServer(db, store.Events, func(above uint64) { one.rolledBack = max(one.rolledBack, above) }))
	return one, nil
}

// FireDeadlines fires what is due now, unless the service listens still, and says when the next is; zero for never.
func (s *Stepped) FireDeadlines(ctx context.Context) (next time.Time, err error) {
	s.deadlines = false
	return s.listens.work(ctx)
}

// Recover does what is to be done for restored nodes, and says when to come again; zero for not before something happens.
func (s *Stepped) Recover(ctx context.Context) (next time.Time, err error) {
	s.recovery = false
	return s.app.Recover(ctx)
}

// Woken says which of FireDeadlines and Recover is to be called again although its time has not come: something has changed since.
func (s *Stepped) Woken() (deadlines, recovery bool) { return s.deadlines, s.recovery }

// Recovering says that referrals of before a restore stand still.
func (s *Stepped) Recovering() bool { return s.app.Recovering() }

// Err says why the store has failed; nil while it has not. Then the service must not be used any more.
func (s *Stepped) Err() error { return s.db.Err() }

// RolledBack is an incarnation in which a peer, or a service that follows this one, knows more of the store than that holds: the service is to
// be opened anew after Raise. Zero while nobody does.
func (s *Stepped) RolledBack() uint64 { return s.rolledBack }

// Raise begins a new incarnation, greater than above. The service must not be used any more.
func (s *Stepped) Raise(ctx context.Context, above uint64) error {
	return s.db.RaiseIncarnation(ctx, above)
}

// Incarnation is the store's.
func (s *Stepped) Incarnation() uint64 { return s.db.Incarnation() }

// Tell tells the federal cell what flows and what is late.
func (s *Stepped) Tell(ctx context.Context) error {
	_, err := s.flows(ctx)
	_, late := s.app.Late().Report(ctx)
	return errors.Join(err, late)
}

// Waiting says that commands to the shelter service have no result yet.
func (s *Stepped) Waiting(ctx context.Context) (bool, error) {
	n, err := s.Commands.Waiting(ctx)
	return n > 0, err
}

// CompareHeads is what the service does at start, each hour and when the hub is there again.
func (s *Stepped) CompareHeads(ctx context.Context) error { return s.app.CompareHeads(ctx) }

// CompareWithShelter is what the service does at start, now and then, and when the shelter service was restored; did is false while
// it may not.
func (s *Stepped) CompareWithShelter(ctx context.Context) (did bool, err error) {
	if !mayCompare(s.app) {
		return false, nil
	}
	return true, s.app.ReconcileShelter(ctx, s.shelter)
}

// RestoreTo writes what the store holds into an empty engine, as a restore from its backup does: with a new incarnation.
func (s *Stepped) RestoreTo(ctx context.Context, into kitstore.Engine, clock func() time.Time) error {
	var backup bytes.Buffer
	if err := s.db.Backup(ctx, &backup); err != nil {
		return err
	}
	return kitstore.Restore(ctx, &backup, kitstore.Options{Engine: into, Schema: store.Schema, Clock: clock}, false)
}
