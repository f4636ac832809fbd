package shelter

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/google/uuid"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/process"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/server"
	"amanat.example/services/shelter/internal/store"
)

// Config is the service's settings.
type Config struct {
	config.Service
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
		Closed: func() error { return gate.Closed() },
	})
	if err != nil {
		return nil, err
	}
	if gate, err = app.OpenGate(ctx, p.DB); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	resources, err := rpc.NewResourceRules(&shelterv1.Shelter{}, &shelterv1.Group{})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	directory, err := app.OpenDirectory(ctx, p.DB, c.Node)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	a := &app.App{
		Directory: directory, Gate: gate,
		Rules: resources, Watchers: app.NewWatchers(p.DB), After: time.After,
		DB: p.DB, Node: c.Node, Now: time.Now, Keys: p.Keys, Events: store.Events,
		// What only this service can sign is a secret that outlives a restart.
		Tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
		NewID:  func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
	}
	due := process.NewDue("end what is due", a.FireDue)
	a.Wake = due.Wake
	shelterv1.RegisterShelterServiceServer(p.Server, server.New(a))
	shelterv1.RegisterReconcileServiceServer(p.Server, server.NewReconciler(a))
	shelterv1.RegisterAdvertServiceServer(p.Server, server.NewAdverts(a))
	s := &Service{process: p, tasks: []func(context.Context) error{due.Run}}
	if err := s.advertise(ctx, a); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return s, nil
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

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves until ctx ends, expires holds as they run out, and tells other nodes what is free.
func (s *Service) Run(ctx context.Context) error { return s.process.Run(ctx, s.tasks...) }

// Close closes the store and the keys.
func (s *Service) Close() error { return s.process.Close() }
