package protection

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/process"
	"amanat.example/services/kit/rpc"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/app"
	"amanat.example/services/protection/internal/server"
	"amanat.example/services/protection/internal/store"
)

// Config is the service's settings.
type Config struct {
	config.Service
	config.Limits
	notify.Settings

	FederalNode string `koanf:"federal-node" default:"federal" help:"Name of the federal node, which counts flows."`
}

// Check judges each setting by itself.
func (c *Config) Check() error { return errors.Join(c.Service.Check(), c.CheckSenders()) }

// Service is the protection service, opened.
type Service struct {
	process  *process.Process
	tasks    []func(context.Context) error
	closeAll func() // senders
}

// New opens the service's store and keys, its post, its outbox and what it follows, and listens.
// Close it, also after Run.
func New(ctx context.Context, c Config) (_ *Service, err error) {
	table, err := c.ReadLimits()
	if err != nil {
		return nil, err
	}
	resources, err := rpc.NewResourceRules(&protectionv1.Unit{}, &protectionv1.Worker{})
	if err != nil {
		return nil, err
	}
	senders, closeAll, err := c.Open()
	if err != nil {
		return nil, err
	}
	p, err := process.Open(ctx, c.Service, process.Options{
		Name: "protection", Schema: store.Schema, Events: store.Events, Audit: store.Audit, Policy: server.Policy(), Status: store.Status,
	})
	if err != nil {
		closeAll()
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll()
			err = errors.Join(err, p.Close())
		}
	}()
	if len(senders) == 0 {
		p.Log.Warn("no mail server and no webhook are set: notices stand in the list alone, and nobody is told")
	}
	a := newApp(standing{
		node: c.Node, federal: c.FederalNode, db: p.DB, keys: p.Keys, roster: p.Identity.Members(), rules: resources, limits: table,
		// What only this service can sign is a secret that outlives a restart.
		tokens: paging.New(p.Identity.Sign("amanat.paging.v1", []byte(p.DB.ID()))),
		now:    p.Now, random: rand.Reader, newID: func() (string, error) { id, err := uuid.NewV7(); return id.String(), err }, log: p.Log,
	})
	a.Senders, a.Gateway = senders, strings.TrimRight(c.GatewayURL, "/")
	deadlines, notices := p.NewDue("fire deadlines", a.FireDeadlines), p.NewDue("send notices", a.SendNotices)
	dossiers := p.NewDue("ask for dossiers", a.TendDossiers)
	late := p.NewDue("tell what is late", func(ctx context.Context) (time.Time, error) { return a.Late().Report(ctx) })
	flows := p.NewDue("tell what flows", flow.Reports(a.Flows))
	a.Wake = func() { deadlines.Wake(); notices.Wake(); dossiers.Wake(); late.Wake() }
	letters, err := p.OpenPost(store.Letters, a.Handlers(), nil)
	if err != nil {
		return nil, err
	}
	commands, err := p.OpenOutbox(store.Commands, targets(a), app.Sealer{Keys: p.Keys}, map[string]string{"referral": c.ReferralAddress})
	if err != nil {
		return nil, err
	}
	a.Post, a.Commands, a.Feed = letters, commands, app.NewFeed(p.DB)
	if err := a.BeginLife(ctx); err != nil {
		return nil, err
	}
	var compare *comparison
	links := &flow.LinkTeller{DB: p.DB, Links: letters.Status, Federal: c.FederalNode, Now: time.Now, Post: letters}
	for service, address := range map[string]string{"referral": c.ReferralAddress, "shelter": c.ShelterAddress} {
		conn, err := p.Dial(service, address)
		if err != nil {
			return nil, err
		}
		if service == "referral" {
			compare = &comparison{app: a, referrals: referralv1.NewReferralServiceClient(conn), log: p.Log}
		}
		if err := p.Follow(newFollower(a, service, conn, p.Bus)); err != nil {
			return nil, err
		}
	}
	protectionv1.RegisterProtectionServiceServer(p.Server, server.New(a))
	tasks := []func(context.Context) error{
		deadlines.Run, notices.Run, dossiers.Run, late.Run, flows.Run, process.NewDue("tell how links stand", links.Report).Run,
		process.NewDue("compare cases with referrals", compare.work).Run,
	}
	return &Service{process: p, tasks: tasks, closeAll: closeAll}, nil
}

// standing is what the use cases stand on, in a process and in a simulation.
type standing struct {
	node, federal string
	db            *kitstore.DB
	keys          *privacy.Keyring
	roster        app.Roster
	rules         app.Rules
	limits        *limits.Table
	tokens        *paging.Tokens
	now           func() time.Time
	random        io.Reader
	newID         func() (string, error)
	log           *logging.Logger
}

// newApp makes the use cases. Post, commands, wake and who sends messages are the caller's to set.
func newApp(s standing) *app.App {
	return &app.App{
		DB: s.db, Node: s.node, Federal: s.federal, Now: s.now, Random: s.random, NewID: s.newID, Roster: s.roster, Keys: s.keys, Events: store.Events,
		Tokens: s.tokens, Rules: s.rules, Limits: s.limits, Log: s.log,
	}
}

// newFollower follows the events of another service of this node; waker is nil where they are asked for.
func newFollower(a *app.App, service string, conn grpc.ClientConnInterface, waker events.Waker) *events.Follower {
	handle := a.FollowReferral
	if service == "shelter" {
		handle = a.FollowShelter
	}
	return events.NewFollower(events.FollowerConfig{
		DB: a.DB, Log: store.Events, Node: a.Node, From: service, Source: eventsv1.NewEventServiceClient(conn), Handle: handle, Waker: waker, Logger: a.Log,
	})
}

// targets are the use cases that take results of commands in, as the outbox calls them.
func targets(a *app.App) map[string]outbox.Target {
	return map[string]outbox.Target{
		referralv1.ReferralService_SubmitReferral_FullMethodName:   {Service: "referral", Result: a.TakeReferred},
		referralv1.ReferralService_SubmitReferrals_FullMethodName:  {Service: "referral", Result: a.TakeReferredTogether},
		referralv1.ReferralService_CompleteReferral_FullMethodName: {Service: "referral", Result: a.TakeCompleted},

		referralv1.ReferralService_ReportDossierClosed_FullMethodName: {Service: "referral", Result: a.TakeReported},
		referralv1.ReferralService_ReportConsentEnded_FullMethodName:  {Service: "referral", Result: a.TakeReported},
	}
}

// compareEvery is the time between two looks at whether cases must be compared with referrals.
const compareEvery = 10 * time.Second

// comparison compares cases with what the referral service holds: at start, and when that service was restored.
type comparison struct {
	app       *app.App
	referrals app.Referrals
	log       *logging.Logger
	failures  int
}

func (c *comparison) work(ctx context.Context) (next time.Time, err error) {
	calling, cancel := context.WithTimeout(ctx, compareEvery)
	defer cancel()
	whole, err := c.app.CompareReferrals(calling, c.referrals)
	switch {
	case err != nil && ctx.Err() == nil:
		c.failures++
		if c.failures == 3 { // while a machine starts, the referral service may come a moment later
			c.log.Warn("cases cannot be compared with the referral service; it will be tried again", logging.Err(err))
		}
	case whole:
		c.failures = 0
	}
	return time.Now().Add(compareEvery), nil
}

// Address is where the service listens.
func (s *Service) Address() net.Addr { return s.process.Address() }

// Run serves, sends and takes letters, calls the referral service, follows its events and those of the
// shelter service, fires deadlines and sends notices, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return s.process.Run(ctx, s.tasks...)
}

// Close closes the store, the keys and the senders.
func (s *Service) Close() error {
	defer s.closeAll()
	return s.process.Close()
}
