package protection

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"time"

	"github.com/google/uuid"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/process"
	"amanat.example/services/protection/internal/app"
	"amanat.example/services/protection/internal/server"
	"amanat.example/services/protection/internal/store"
)

// Config is the service's settings.
type Config struct {
	config.Service

	FederalNode string `koanf:"federal-node" default:"federal" help:"Name of the federal node, which counts flows."`
}

// Service is the protection service, opened.
type Service struct {
	process *process.Process
}

// New opens the service's store and keys, its post, its outbox and what it follows, and listens.
// Close it, also after Run.
func New(ctx context.Context, c Config) (_ *Service, err error) {
	p, err := process.Open(ctx, c.Service, process.Options{
		Name: "protection", Schema: store.Schema, Events: store.Events, Audit: store.Audit, Policy: server.Policy(),
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	a := &app.App{
		DB: p.DB, Node: c.Node, Federal: c.FederalNode, Now: time.Now, Random: rand.Reader,
		Roster: p.Identity.Members(), Keys: p.Keys, Events: store.Events,
		// What only this service can sign is a secret that outlives a restart.
		Tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
		NewID:  func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
	}
	letters, err := p.OpenPost(store.Letters, a.Handlers())
	if err != nil {
		return nil, err
	}
	commands, err := p.OpenOutbox(store.Commands, map[string]outbox.Target{
		referralv1.ReferralService_SubmitReferral_FullMethodName:   {Service: "referral", Result: a.TakeReferred},
		referralv1.ReferralService_CompleteReferral_FullMethodName: {Service: "referral", Result: a.TakeCompleted},
	}, app.Sealer{Keys: p.Keys}, map[string]string{"referral": c.ReferralAddress})
	if err != nil {
		return nil, err
	}
	a.Post, a.Commands = letters, commands
	referral, err := p.Dial("referral", c.ReferralAddress)
	if err != nil {
		return nil, err
	}
	err = p.Follow(events.NewFollower(events.FollowerConfig{
		DB: p.DB, Log: store.Events, Node: c.Node, From: "referral", Source: eventsv1.NewEventServiceClient(referral),
		Handle: a.FollowReferral, Waker: p.Bus, Logger: p.Log,
	}))
	if err != nil {
		return nil, err
	}
	protectionv1.RegisterProtectionServiceServer(p.Server, server.New(a))
	return &Service{process: p}, nil
}

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves, sends and takes letters, calls the referral service and follows its events, until
// ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.process.Run(ctx) }

// Close closes the store and the keys.
func (s *Service) Close() error { return s.process.Close() }
