package referral

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/backoff"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/process"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/app"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/server"
	"amanat.example/services/referral/internal/store"
)

// Config is the service's settings.
type Config struct {
	config.Service
	config.Limits

	FederalNode   string `koanf:"federal-node" default:"federal" help:"Name of the federal node, which counts flows."`
	ManualConfirm bool   `koanf:"manual-confirm" help:"A person chooses also where only one unit was asked and has accepted."`
}

// Service is the referral service, opened.
type Service struct {
	process *process.Process
	tasks   []func(context.Context) error
}

// New opens the service's store and keys, its post and its outbox, and listens. Close it, also
// after Run.
func New(ctx context.Context, c Config) (_ *Service, err error) {
	table, err := c.ReadLimits()
	if err != nil {
		return nil, err
	}
	p, err := process.Open(ctx, c.Service, process.Options{
		Name: "referral", Schema: store.Schema, Events: store.Events, Audit: store.Audit, Policy: server.Policy(), Status: store.Status,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	own, _ := p.Identity.Members().Node(c.Node) // without a province only laws of the whole country hold
	a := newApp(standing{
		node: c.Node, federal: c.FederalNode, db: p.DB, keys: p.Keys, crypto: p.Identity.Keys(), roster: p.Identity.Members(),
		limits: rules.LimitsOf(table, limits.Place{Province: own.GetProvince()}), autoConfirm: !c.ManualConfirm,
		now: p.Now, random: rand.Reader, newID: func() (string, error) { id, err := uuid.NewV7(); return id.String(), err }, log: p.Log,
	})
	heads := &headComparison{app: a}
	heads.due = process.NewDue("compare heads", heads.work)
	letters, err := p.OpenPost(store.Letters, handlers(a), heads.due.Wake)
	if err != nil {
		return nil, err
	}
	commands, err := p.OpenOutbox(store.Commands, targets(a), nil, map[string]string{"shelter": c.ShelterAddress})
	if err != nil {
		return nil, err
	}
	a.Post, a.Commands, a.Feed = letters, commands, app.NewFeed(p.DB)
	links := &flow.LinkTeller{DB: p.DB, Links: letters.Status, Federal: c.FederalNode, Now: time.Now, Post: letters}
	var compare *comparison
	recover := p.NewDue("recover what was lost", func(ctx context.Context) (time.Time, error) {
		before := a.Recovering()
		next, err := a.Recover(ctx)
		if before && !a.Recovering() {
			compare.due.Wake() // a shelter service that was restored with this one waits for it
		}
		return next, err
	})
	listens := &listener{begun: p.Now(), now: p.Now, heard: letters.AllHeard, fire: a.FireDeadlines}
	a.WakeRecovery, a.Listened = recover.Wake, listens.over.Load
	if err := a.BeginRecovery(ctx); err != nil {
		return nil, err
	}
	shelter, err := p.Dial("shelter", c.ShelterAddress)
	if err != nil {
		return nil, err
	}
	if err := p.Follow(newFollower(a, shelter, p.Bus)); err != nil {
		return nil, err
	}
	compare = &comparison{app: a, shelter: shelterv1.NewReconcileServiceClient(shelter), hurry: func() { commands.Hurry("shelter") }, log: p.Log}
	compare.due = process.NewDue("compare offers with holds", compare.work)
	due, late := p.NewDue("fire deadlines", listens.work), p.NewDue("tell what is late", a.Late().Report)
	a.Wake = func() { due.Wake(); late.Wake() }
	referralv1.RegisterReferralServiceServer(p.Server, server.New(a))
	flows := p.NewDue("tell what flows", flow.Reports(a.Flows))
	return &Service{process: p, tasks: []func(context.Context) error{
		due.Run, late.Run, compare.due.Run, recover.Run, heads.due.Run, flows.Run,
		process.NewDue("tell how links stand", links.Report).Run,
	}}, nil
}

// standing is what the use cases stand on, in a process and in a simulation.
type standing struct {
	node, federal string
	db            *kitstore.DB
	keys          *privacy.Keyring
	crypto        post.Keys
	roster        app.Roster
	limits        rules.Limits
	autoConfirm   bool
	now           func() time.Time
	random        io.Reader
	newID         func() (string, error)
	log           *logging.Logger
}

// newApp makes the use cases. Post, commands and wake are the caller's to set.
func newApp(s standing) *app.App {
	return &app.App{
		DB: s.db, Node: s.node, Now: s.now, Random: s.random, Signer: s.crypto, Roster: s.roster, Opener: s.crypto, Federal: s.federal,
		Limits: s.limits, AutoConfirm: s.autoConfirm, Annexes: app.Annexes{Keys: s.keys}, Events: store.Events,
		// What only this service can sign is a secret that outlives a restart.
		Tokens: paging.New(s.crypto.Sign("amanat.paging.v1", []byte(s.db.ID()))),
		NewID:  s.newID, Log: s.log,
	}
}

// newFollower follows the events of this node's shelter service; waker is nil where they are asked for.
func newFollower(a *app.App, shelter grpc.ClientConnInterface, waker events.Waker) *events.Follower {
	return events.NewFollower(events.FollowerConfig{
		DB: a.DB, Log: store.Events, Node: a.Node, From: "shelter", Source: eventsv1.NewEventServiceClient(shelter),
		Handle: a.FollowShelter, Waker: waker, Logger: a.Log,
	})
}

// Times between comparisons of live offers with holds.
const (
	compareEvery = 15 * time.Minute
	// A shelter service that was restored answers nothing before it was compared, so it is asked about that more often.
	askEvery = 10 * time.Second
)

// comparison sends the shelter service the list of live offers: at start, then now and then, and at once when it was restored.
type comparison struct {
	app      *app.App
	shelter  shelterv1.ReconcileServiceClient
	hurry    func() // has what the shelter service was asked for in vain asked again
	due      *process.Due
	log      *logging.Logger
	compared time.Time
	failures int
}

// mayCompare: while what a restore took away is not told, the list would lack it, and the beds of what it lacks would be given to others. So
// would that of a store that was put back to an older copy, of which the service has not heard yet. What cannot be done of a recovery keeps no
// shelter service waiting that was restored too.
func mayCompare(a *app.App) bool { return a.Listened() && a.Told() || mutant.Off("wait") }

func (c *comparison) work(ctx context.Context) (next time.Time, err error) {
	switch {
	case mayCompare(c.app):
	case !c.app.Listened():
		return time.Now().Add(lookEvery), nil
	default:
		return time.Now().Add(askEvery), nil
	}
	if err := c.once(ctx); err != nil {
		c.failures++
		if c.failures == 2 { // while a machine starts, the shelter service may come a moment later
			c.log.Warn("live offers cannot be compared with the shelter's holds; it will be tried again", logging.Err(err))
		}
		return time.Now().Add(backoff.Range{Min: 200 * time.Millisecond, Max: askEvery}.Delay(c.failures, nil)), nil
	}
	c.failures = 0
	return time.Now().Add(askEvery), nil
}

func (c *comparison) once(ctx context.Context) error {
	if time.Since(c.compared) < compareEvery {
		begun, err := c.app.ShelterRestored(ctx, c.shelter)
		if err != nil || !begun {
			return err
		}
	}
	if err := c.app.ReconcileShelter(ctx, c.shelter); err != nil {
		return err
	}
	c.compared = time.Now()
	c.hurry()
	return nil
}

// headComparison sends digests of open chains to the other nodes: at start, each hour, and when the hub is there again, but not more often
// than each minute on a link that comes and goes.
type headComparison struct {
	app      *app.App
	due      *process.Due
	compared time.Time
}

func (c *headComparison) work(ctx context.Context) (next time.Time, err error) {
	if next := c.compared.Add(time.Minute); time.Now().Before(next) {
		return next, nil
	}
	c.compared = time.Now()
	return c.compared.Add(time.Hour), c.app.CompareHeads(ctx)
}

// handlers are the use cases that take letters in, as the post calls them.
func handlers(a *app.App) map[string]post.Handler {
	all := map[string]post.Handler{}
	maps.Copy(all, flow.Handlers(a.Flows))
	for kind, apply := range a.Handlers() {
		all[kind] = func(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
			err := apply(tx, from, letter)
			if refused, ok := errors.AsType[*app.Refused](err); ok {
				return post.Refuse(refused.Reason)
			}
			return err
		}
	}
	return all
}

// targets are the use cases that take results of commands in, as the outbox calls them.
func targets(a *app.App) map[string]outbox.Target {
	all := map[string]outbox.Target{}
	for method, take := range a.Results() {
		all[method] = outbox.Target{Service: "shelter", Result: take}
	}
	return all
}

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves, sends and takes letters, calls the shelter service and fires deadlines, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	return s.process.Run(ctx, s.tasks...)
}

// Close closes the store and the keys.
func (s *Service) Close() error { return s.process.Close() }
