package shelter

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/process"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/server"
	"amanat.example/services/shelter/internal/store"
)

// Config is the service's settings.
type Config struct {
	config.Service
	// FederalNode is the node that is told how many beds there are and how many are taken.
	FederalNode string `koanf:"federal-node" default:"federal" help:"Node of the federal cell, which is told how many beds there are and how many are taken."`
}

// Service is the shelter service, opened.
type Service struct {
	process *process.Process
	tasks   []func(context.Context) error
}

// New opens the service's store and keys, and listens. Close it, also after Run.
func New(ctx context.Context, c Config) (*Service, error) {
	var gate *app.Gate
	p, err := process.Open(ctx, c.Service, process.Options{
		Name: "shelter", Schema: store.Schema, Events: store.Events, Audit: store.Audit, Policy: server.Policy(),
		Closed: func() error { return gate.Closed() }, Status: store.Status,
	})
	if err != nil {
		return nil, err
	}
	a, err := newApp(ctx, standing{
		node: c.Node, db: p.DB, keys: p.Keys, now: p.Now, after: time.After,
		newID: func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
		// What only this service can sign is a secret that outlives a restart.
		tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	gate = a.Gate
	due := p.NewDue("end what is due", a.FireDue)
	a.Wake = due.Wake
	register(p.Server, a)
	s := &Service{process: p, tasks: []func(context.Context) error{due.Run}}
	err = s.advertise(ctx, a)
	if err == nil {
		err = s.tellFederal(a, c.FederalNode)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
}

// standing is what the use cases stand on, in a process and in a simulation.
type standing struct {
	node   string
	db     *kitstore.DB
	keys   *privacy.Keyring
	tokens *paging.Tokens
	now    func() time.Time
	after  func(time.Duration) <-chan time.Time
	newID  func() (string, error)
}

// resources are the rules of what is stored, compiled once.
var resources = sync.OnceValues(func() (*rpc.ResourceRules, error) {
	return rpc.NewResourceRules(&shelterv1.Shelter{}, &shelterv1.Group{})
})

// newApp makes the use cases. Wake is the caller's to set.
func newApp(ctx context.Context, s standing) (*app.App, error) {
	gate, err := app.OpenGate(ctx, s.db, s.now())
	if err != nil {
		return nil, err
	}
	stored, err := resources()
	if err != nil {
		return nil, err
	}
	directory, err := app.OpenDirectory(ctx, s.db, s.node)
	if err != nil {
		return nil, err
	}
	return &app.App{
		Directory: directory, Gate: gate, Rules: stored, Watchers: app.NewWatchers(s.db), After: s.after,
		DB: s.db, Node: s.node, Now: s.now, Keys: s.keys, Events: store.Events, Tokens: s.tokens, NewID: s.newID,
	}, nil
}

// register registers what is served.
func register(r grpc.ServiceRegistrar, a *app.App) {
	shelterv1.RegisterShelterServiceServer(r, server.New(a))
	shelterv1.RegisterReconcileServiceServer(r, server.NewReconciler(a))
	shelterv1.RegisterAdvertServiceServer(r, server.NewAdverts(a))
}

// advertise has Run exchange adverts with other nodes, where there is a hub.
func (s *Service) advertise(ctx context.Context, a *app.App) error {
	keys := s.process.Identity.Keys()
	if err := a.DropAdverts(ctx, keys); err != nil {
		return err
	}
	transport, err := s.process.OpenAdverts()
	if err != nil || transport == nil {
		return err
	}
	counts := advert.NewCounts()
	adverts, err := app.NewAdverts(app.AdvertsConfig{App: a, Keys: keys, Transport: transport, Counts: counts, Log: s.process.Log})
	if err != nil {
		return err
	}
	s.tasks = append(s.tasks, adverts.Run)
	return s.process.Metrics.Register(counts)
}

// tellFederal has Run tell the federal cell what there is, where there is a hub.
func (s *Service) tellFederal(a *app.App, federal string) error {
	p := s.process
	if p.Config.HubURL == "" {
		return nil
	}
	letters, err := p.OpenPost(store.Letters, nil, nil)
	if err != nil {
		return err
	}
	teller := &app.FederalTeller{App: a, Federal: federal, Post: letters}
	links := &flow.LinkTeller{DB: p.DB, Links: letters.Status, Federal: federal, Now: time.Now, Post: letters}
	s.tasks = append(s.tasks, p.NewDue("tell what there is", teller.Report).Run, process.NewDue("tell how links stand", links.Report).Run)
	return nil
}

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves until ctx ends, expires holds as they run out, and tells other nodes what is free.
func (s *Service) Run(ctx context.Context) error { return s.process.Run(ctx, s.tasks...) }

// Close closes the store and the keys.
func (s *Service) Close() error { return s.process.Close() }
