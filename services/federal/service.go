package federal

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/server"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/process"
	kitstore "amanat.example/services/kit/store"
)

// Config is the service's settings. The hub's address is needed: facts come by post.
type Config struct {
	config.Service
}

// Service is the federal service, opened.
type Service struct {
	process *process.Process
	publish *process.Due
	ask     *process.Due
}

// New opens the service's store and its post, and listens. Close it, also after Run.
func New(ctx context.Context, c Config) (*Service, error) {
	p, err := process.Open(ctx, c.Service, process.Options{
		Name: "federal", Schema: store.Schema, Events: store.Events, Audit: store.Audit, Policy: server.Policy(), Status: store.Status,
	})
	if err != nil {
		return nil, err
	}
	a := newApp(standing{
		node: c.Node, db: p.DB, roster: p.Identity.Members(), now: p.Now, clock: time.Now,
		// What only this service can sign is a secret that outlives a restart.
		tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
	})
	letters, err := p.OpenPost(store.Post, a.Handlers(), nil)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	withheld, err := begin(ctx, a, letters)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if withheld {
		p.Log.Warn("publications stand still: the store was restored, and an analyst must say what was published since the copy was made (ResumePublications)")
	}
	register(p.Server, a)
	return &Service{
		process: p, publish: p.NewDue("publish months", a.PublishMonths), ask: process.NewDue("ask for days", a.AskAgain),
	}, nil
}

// Roster is who takes part in the network: that of the files in a process.
type Roster interface {
	Node(name string) (*identityv1.RosterNode, bool)
	Nodes() []*identityv1.RosterNode
	Active(node, service string) bool
}

// standing is what the use cases stand on, in a process and in a simulation.
type standing struct {
	node       string
	db         *kitstore.DB
	roster     Roster
	tokens     *paging.Tokens
	now, clock func() time.Time
}

// newApp makes the use cases. Post and OwnLinks are begin's to set.
func newApp(s standing) *app.App {
	return &app.App{
		DB: s.db, Node: s.node, Now: s.now, Opened: s.now(), Clock: s.clock, Tokens: s.tokens,
		Member:   func(node string) bool { _, found := s.roster.Node(node); return found },
		Tellers:  func() []*postv1.Address { return tellers(s.roster) },
		Province: func(node string) string { n, _ := s.roster.Node(node); return n.GetProvince() },
	}
}

// begin does what is to be done before anything is served; withheld says that publications stand still.
func begin(ctx context.Context, a *app.App, letters *post.Post) (withheld bool, err error) {
	a.Post = letters
	a.OwnLinks = func(ctx context.Context) (*federalv1.LinkStates, error) {
		links, err := letters.Status(ctx)
		return flow.States(links, a.Clock()), err
	}
	// A store that was made before counts were as they are now is counted anew; one that may be an older copy asks for every day.
	if err := a.Recount(ctx); err != nil {
		return false, err
	}
	if err := a.AskForDays(ctx); err != nil {
		return false, err
	}
	return a.BeginLife(ctx)
}

// register registers what is served.
func register(r grpc.ServiceRegistrar, a *app.App) {
	federalv1.RegisterFederalServiceServer(r, server.New(a))
	federalv1.RegisterFiguresServiceServer(r, server.NewFigures(a))
	federalv1.RegisterPublicationServiceServer(r, server.NewPublications(a))
}

// tellers are the services of active nodes that tell facts.
func tellers(members Roster) (all []*postv1.Address) {
	for _, n := range members.Nodes() {
		if n.GetProvince() == "" { // the federal node has keys for every service, and runs none of these
			continue
		}
		for _, service := range []string{"protection", "referral"} {
			if members.Active(n.GetNode(), service) {
				all = append(all, &postv1.Address{Node: n.GetNode(), Service: service})
			}
		}
	}
	return all
}

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves, takes letters in, asks again for days that differ and publishes months, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return s.process.Run(ctx, s.publish.Run, s.ask.Run)
}

// Close closes the store and the keys.
func (s *Service) Close() error { return s.process.Close() }
