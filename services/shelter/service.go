package shelter

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/google/uuid"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/process"
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
	app     *app.App
	wake    chan struct{} // capacity 1: a commit changed when the next hold runs out
}

// New opens the service's store and keys, and listens. Close it, also after Run.
func New(ctx context.Context, c Config) (*Service, error) {
	p, err := process.Open(ctx, c.Service, process.Options{
		Name: "shelter", Schema: store.Schema, Events: store.Events, Audit: store.Audit, Policy: server.Policy(),
	})
	if err != nil {
		return nil, err
	}
	s := &Service{process: p, wake: make(chan struct{}, 1)}
	s.app = &app.App{
		DB: p.DB, Node: c.Node, Now: time.Now, Keys: p.Keys, Events: store.Events,
		// What only this service can sign is a secret that outlives a restart.
		Tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
		NewID:  func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
		Wake:   s.nudge,
	}
	shelterv1.RegisterShelterServiceServer(p.Server, server.New(s.app))
	return s, nil
}

func (s *Service) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves until ctx ends, and expires holds as they run out.
func (s *Service) Run(ctx context.Context) error { return s.process.Run(ctx, s.expire) }

// expire ends holds when their time has come: woken by a commit, else by the clock.
func (s *Service) expire(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		next, err := s.app.ExpireHolds(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return errors.Join(errors.New("holds could not be expired"), err)
		case !next.IsZero():
			timer.Reset(time.Until(next))
		}
	}
}

// Close closes the store and the keys.
func (s *Service) Close() error { return s.process.Close() }
