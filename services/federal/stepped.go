package federal

import (
	"context"
	"io"
	"time"

	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/server"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
)

// Stepping says what a stepped service stands on; all of it is needed.
type Stepping struct {
	Node string
	// Engine keeps the store; it outlives the service, as a disk does.
	Engine    kitstore.Engine
	Crypto    post.Keys
	Roster    Roster
	Transport post.Transport
	Now       func() time.Time
	Random    io.Reader
	Log       *logging.Logger
	// Resend is how long a parcel without receipt waits; zero for what is usual.
	Resend backoff.Range
}

// Stepped is the federal service without process, network and goroutines: it does nothing but what its caller asks for, one
// thing after the other. It is wired as New wires it. For simulations.
type Stepped struct {
	// Server takes the service's RPCs.
	Server *rpc.Local
	// Post of the service; Run is not called.
	Post *post.Post

	db         *kitstore.DB
	app        *app.App
	rolledBack uint64 // the incarnation that a peer knows; zero for none
}

// OpenStepped opens the service over its store. Nothing needs to be closed.
func OpenStepped(ctx context.Context, s Stepping) (*Stepped, error) {
	db, err := kitstore.Open(ctx, kitstore.Options{Engine: s.Engine, Inline: true, Schema: store.Schema, Clock: s.Now, Rand: s.Random})
	if err != nil {
		return nil, err
	}
	a := newApp(standing{node: s.Node, db: db, roster: s.Roster, now: s.Now, clock: s.Now, tokens: paging.New(s.Crypto.Sign("amanat.paging.v1", []byte(db.ID())))})
	one := &Stepped{db: db, app: a}
	letters, err := post.New(post.Config{
		Node: s.Node, Service: "federal", DB: db, Tables: store.Post, Keys: s.Crypto, Transport: s.Transport,
		Handlers: a.Handlers(), Clock: s.Now, Rand: s.Random, Log: s.Log, Resend: s.Resend,
		OnRolledBack: func(above uint64) { one.rolledBack = max(one.rolledBack, above) },
	})
	if err != nil {
		return nil, err
	}
	if _, err := begin(ctx, a, letters); err != nil {
		return nil, err
	}
	one.Post, one.Server = letters, rpc.NewLocal("federal", server.Policy(), nil)
	register(one.Server, a)
	return one, nil
}

// Err says why the store has failed; nil while it has not. Then the service must not be used any more.
func (s *Stepped) Err() error { return s.db.Err() }

// RolledBack is an incarnation that a peer knows of this store, which has none so great: the service is to be opened anew after
// Raise. Zero while nobody does.
func (s *Stepped) RolledBack() uint64 { return s.rolledBack }

// Raise begins a new incarnation, greater than above. The service must not be used any more.
func (s *Stepped) Raise(ctx context.Context, above uint64) error {
	return s.db.RaiseIncarnation(ctx, above)
}

// AskAgain asks once more for days that differ, and says when to look again.
func (s *Stepped) AskAgain(ctx context.Context) (next time.Time, err error) {
	return s.app.AskAgain(ctx)
}
