package federal

import (
	"context"
	"errors"
	"net"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/server"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/process"
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
	a := &app.App{
		DB: p.DB, Node: c.Node, Now: p.Now, Opened: p.Now(), Clock: time.Now,
		Member:   func(node string) bool { _, found := p.Identity.Roster().Node(node); return found },
		Tellers:  func() []*postv1.Address { return tellers(p.Identity.Members()) },
		Province: func(node string) string { n, _ := p.Identity.Roster().Node(node); return n.GetProvince() },
		// What only this service can sign is a secret that outlives a restart.
		Tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
	}
	letters, err := p.OpenPost(store.Post, a.Handlers(), nil)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	a.Post = letters
	a.OwnLinks = func(ctx context.Context) (*federalv1.LinkStates, error) {
		links, err := letters.Status(ctx)
		return flow.States(links, a.Clock()), err
	}
	// A store that was made before counts were as they are now is counted anew; one that may be an older copy asks for every day.
	if err := a.Recount(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := a.AskForDays(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	withheld, err := a.BeginLife(ctx)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if withheld {
		p.Log.Warn("publications stand still: the store was restored, and an analyst must say what was published since the copy was made (ResumePublications)")
	}
	federalv1.RegisterFederalServiceServer(p.Server, server.New(a))
	federalv1.RegisterFiguresServiceServer(p.Server, server.NewFigures(a))
	federalv1.RegisterPublicationServiceServer(p.Server, server.NewPublications(a))
	return &Service{
		process: p, publish: p.NewDue("publish months", a.PublishMonths), ask: process.NewDue("ask for days", a.AskAgain),
	}, nil
}

// tellers are the services of active nodes that tell facts.
func tellers(members identity.Members) (all []*postv1.Address) {
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
