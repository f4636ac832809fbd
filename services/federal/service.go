package federal

import (
	"context"
	"errors"
	"net"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/server"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/process"
)

// Config is the service's settings. The hub's address is needed: facts come by post.
type Config struct {
	config.Service
}

// Service is the federal service, opened.
type Service struct {
	process *process.Process
}

// New opens the service's store and its post, and listens. Close it, also after Run.
func New(ctx context.Context, c Config) (*Service, error) {
	p, err := process.Open(ctx, c.Service, process.Options{
		Name: "federal", Schema: store.Schema, Events: store.Events, Audit: store.Audit, Policy: server.Policy(),
	})
	if err != nil {
		return nil, err
	}
	a := &app.App{
		DB:     p.DB,
		Now:    time.Now,
		Member: func(node string) bool { _, found := p.Identity.Roster().Node(node); return found },
		// What only this service can sign is a secret that outlives a restart.
		Tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
	}
	if _, err := p.OpenPost(store.Post, map[string]post.Handler{app.FlowKind: a.TakeFact, late.Kind: a.TakeLate}, nil); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	federalv1.RegisterFederalServiceServer(p.Server, server.New(a))
	return &Service{process: p}, nil
}

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves and takes letters in until ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.process.Run(ctx) }

// Close closes the store and the keys.
func (s *Service) Close() error { return s.process.Close() }
