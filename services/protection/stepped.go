package protection

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/app"
	"amanat.example/services/protection/internal/server"
	"amanat.example/services/protection/internal/store"
)

// Stepping says what a stepped service stands on; all of it is needed but where it says otherwise.
type Stepping struct {
	Node, Federal string
	// Engine keeps the store; it outlives the service, as a disk does.
	Engine    kitstore.Engine
	Keys      *privacy.Keyring
	Crypto    post.Keys
	Roster    app.Roster
	Transport post.Transport
	// Referral is the connection to the node's referral service.
	Referral grpc.ClientConnInterface
	Now      func() time.Time
	Random   io.Reader
	NewID    func() (string, error)
	Log      *logging.Logger
	// Resend is how long a parcel without receipt waits; zero for what is usual.
	Resend backoff.Range
	// Applied is told of every letter when what it did is committed; nil for nobody.
	Applied func(from *postv1.Address, letter *postv1.Letter)
}

// Stepped is the protection service without process, network and goroutines: it does nothing but what its caller asks for, one
// thing after the other. It is wired as New wires it, but that it follows the referral service alone, that what its links are like is not
// told, and that no message is sent: notices stand in the list. For simulations.
type Stepped struct {
	// Server takes the service's RPCs.
	Server *rpc.Local
	// Post of the service; Run is not called.
	Post *post.Post
	// Commands to the referral service; Run is not called.
	Commands *outbox.Outbox
	// Follower of the referral service's events; Run is not called.
	Follower *events.Follower

	db        *kitstore.DB
	app       *app.App
	referrals referralv1.ReferralServiceClient

	woken      bool
	begun      bool // this life
	flows      func(context.Context) (time.Time, error)
	rolledBack uint64 // the incarnation that a peer knows; zero for none
}

// resources are the rules of units and workers, which take long to make.
var resources = sync.OnceValues(func() (*rpc.ResourceRules, error) {
	return rpc.NewResourceRules(&protectionv1.Unit{}, &protectionv1.Worker{})
})

// OpenStepped opens the service over its store. Nothing needs to be closed.
func OpenStepped(ctx context.Context, s Stepping) (*Stepped, error) {
	rules, err := resources()
	if err != nil {
		return nil, err
	}
	db, err := kitstore.Open(ctx, kitstore.Options{Engine: s.Engine, Inline: true, Schema: store.Schema, Clock: s.Now, Rand: s.Random})
	if err != nil {
		return nil, err
	}
	a := newApp(standing{
		node: s.Node, federal: s.Federal, db: db, keys: s.Keys, roster: s.Roster, rules: rules, limits: limits.Default(),
		tokens: paging.New(s.Crypto.Sign("amanat.paging.v1", []byte(db.ID()))), now: s.Now, random: s.Random, newID: s.NewID, log: s.Log,
	})
	one := &Stepped{db: db, app: a, referrals: referralv1.NewReferralServiceClient(s.Referral), woken: true, flows: flow.Reports(a.Flows)}
	letters, err := post.New(post.Config{
		Node: s.Node, Service: "protection", DB: db, Tables: store.Letters, Keys: s.Crypto, Transport: s.Transport,
		Handlers: post.Told(a.Handlers(), s.Applied), Clock: s.Now, Rand: s.Random, Log: s.Log, Resend: s.Resend,
		OnRolledBack: func(above uint64) { one.rolledBack = max(one.rolledBack, above) },
	})
	if err != nil {
		return nil, err
	}
	commands, err := outbox.New(outbox.Config{
		DB: db, Table: store.Commands, Targets: targets(a), Connections: map[string]grpc.ClientConnInterface{"referral": s.Referral},
		Sealer: app.Sealer{Keys: s.Keys}, Logger: s.Log, Now: s.Now, Random: func() float64 { return 0 },
	})
	if err != nil {
		return nil, err
	}
	one.Post, one.Commands, one.Follower = letters, commands, newFollower(a, "referral", s.Referral, nil)
	a.Post, a.Commands, a.Wake = letters, outbox.Unwaiting{Outbox: commands}, func() { one.woken = true }
	policy := server.Policy()
	policy[events.ListEventsMethod] = rpc.Row{Callers: []string{rpc.AnyCaller}, Early: true}
	one.Server = rpc.NewLocal("protection", policy, nil)
	protectionv1.RegisterProtectionServiceServer(one.Server, server.New(a))
	eventsv1.RegisterEventServiceServer(one.Server, events.NewServer(db, store.Events, func(above uint64) { one.rolledBack = max(one.rolledBack, above) }))
	return one, nil
}

// DoDue does what is due now: deadlines of cases, and dossiers that did not come or that nobody awaits. It says when the next is; zero for
// never.
func (s *Stepped) DoDue(ctx context.Context) (next time.Time, err error) {
	s.woken = false
	if next, err = s.app.FireDeadlines(ctx); err != nil {
		return time.Time{}, err
	}
	asked, err := s.app.TendDossiers(ctx)
	if next.IsZero() || !asked.IsZero() && asked.Before(next) {
		next = asked
	}
	return next, err
}

// Woken says that DoDue is to be called again although its time has not come: something has changed since.
func (s *Stepped) Woken() bool { return s.woken }

// Compare is what the service does at start, and every ten seconds until it is done in these lives of both services: cases are compared
// with what the referral service holds. whole is false while it is not done.
func (s *Stepped) Compare(ctx context.Context) (whole bool, err error) {
	return s.app.CompareReferrals(ctx, s.referrals)
}

// Tell tells the federal cell what flows and what is late.
func (s *Stepped) Tell(ctx context.Context) error {
	if !s.begun {
		if err := s.app.BeginLife(ctx); err != nil {
			return err
		}
		s.begun = true
	}
	if _, err := s.flows(ctx); err != nil {
		return err
	}
	_, err := s.app.Late().Report(ctx)
	return err
}

// Waiting says that commands to the referral service have no result yet.
func (s *Stepped) Waiting(ctx context.Context) (bool, error) {
	n, err := s.Commands.Waiting(ctx)
	return n > 0, err
}

// Dossiers tells what came from other nodes of each person who is referred here, until a case is made of it, and what was closed; erased where
// what identifies the person is gone.
func (s *Stepped) Dossiers(ctx context.Context, each func(d *protectionv1.ReceivedDossier, erased bool)) error {
	return s.db.View(ctx, func(r kitstore.Reader) error {
		return store.Dossiers.Scan(r, s.app.Keys, kitstore.Range{}, func(row privacy.Row[*protectionv1.ReceivedDossier]) error {
			each(row.Value, row.Erased)
			return nil
		})
	})
}

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

// RestoreTo writes what the store holds into an empty engine, as a restore from its backup does: with a new incarnation. The keys stay: of
// them only the latest may exist.
func (s *Stepped) RestoreTo(ctx context.Context, into kitstore.Engine, clock func() time.Time) error {
	var backup bytes.Buffer
	if err := s.db.Backup(ctx, &backup); err != nil {
		return err
	}
	return kitstore.Restore(ctx, &backup, kitstore.Options{Engine: into, Schema: store.Schema, Clock: clock}, false)
}
