package app

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/logging"
)

// AdvertsConfig is what the adverts of a node need besides its use cases. All fields are needed.
type AdvertsConfig struct {
	App       *App
	Keys      advert.Keys
	Transport advert.Transport
	Counts    advert.Counts
	Log       *logging.Logger
}

// Adverts tell other nodes what is free here, and take in what is free there.
type Adverts struct {
	AdvertsConfig
	reader    *advert.Reader
	published time.Time // the latest publish time given out
	failing   bool      // the broker did not take all of the last round
}

// NewAdverts makes them; Run runs them.
func NewAdverts(c AdvertsConfig) (*Adverts, error) {
	reader, err := advert.NewReader(c.App.Node, c.Keys)
	return &Adverts{AdvertsConfig: c, reader: reader}, err
}

// Run publishes and takes in until ctx ends or the store fails.
func (a *Adverts) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.publish(ctx) })
	group.Go(func() error { return a.hear(ctx) })
	return group.Wait()
}
