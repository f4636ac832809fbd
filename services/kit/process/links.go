package process

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc"
)

// OpenPost makes the service's post over the hub; Run runs it. handlers take in letters by kind; reconnected, which may be nil, is called
// when the hub is there again.
func (p *Process) OpenPost(tables *post.Tables, handlers map[string]post.Handler, reconnected func()) (*post.Post, error) {
	if p.Config.HubURL == "" {
		return nil, errors.New("setting hub-url is needed: this service writes letters to other nodes")
	}
	config, err := p.hub()
	if err != nil {
		return nil, err
	}
	transport, err := post.NewNATS(config)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, transport.Close)
	opened, err := post.New(post.Config{
		Node: p.Config.Node, Service: p.Identity.Name(), DB: p.DB, Tables: tables,
		Keys: p.Identity.Keys(), Transport: transport, Handlers: handlers, Log: p.Log,
		OnReconnected: reconnected,
		OnRolledBack:  p.learns,
	})
	if err != nil {
		return nil, err
	}
	// Letters are carried by hand by a person who stands at the node.
	byHand := rpc.Row{Callers: []string{"operator"}, Deadline: post.CarryingTime}
	p.policy[postv1.PostService_ExportParcels_FullMethodName] = byHand
	p.policy[postv1.PostService_ImportParcels_FullMethodName] = byHand
	postv1.RegisterPostServiceServer(p.Server, post.NewServer(opened))
	p.tasks = append(p.tasks, opened.Run)
	p.status.links, p.status.reached = opened.Status, transport.Connected
	return opened, p.Metrics.Register(opened)
}

// OpenAdverts connects to the hub for what is free in other nodes; Close ends the connection. nil without a hub: the
// service then does without.
func (p *Process) OpenAdverts() (*advert.NATS, error) {
	if p.Config.HubURL == "" {
		p.Log.Info("setting hub-url is empty: no adverts of what is free go to other nodes, and none come from them")
		return nil, nil
	}
	config, err := p.hub()
	if err != nil {
		return nil, err
	}
	transport, err := advert.NewNATS(config)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, transport.Close)
	p.status.reached = transport.Connected
	return transport, nil
}

// hub says how the service reaches the hub.
func (p *Process) hub() (hub.Config, error) {
	trust, err := p.Identity.HubTLS()
	if err != nil {
		return hub.Config{}, err
	}
	name, sign := p.Identity.HubNKey()
	return hub.Config{
		Node: p.Config.Node, Service: p.Identity.Name(), URL: p.Config.HubURL, TLS: trust, NKey: name, Sign: sign, Log: p.Log,
	}, nil
}

// OpenOutbox makes the service's outbox of commands; Run runs it. addresses are those of the
// services that the targets name.
func (p *Process) OpenOutbox(table *outbox.Table, targets map[string]outbox.Target, sealer outbox.Sealer, addresses map[string]string) (*outbox.Outbox, error) {
	connections := map[string]grpc.ClientConnInterface{}
	for service, address := range addresses {
		conn, err := p.Dial(service, address)
		if err != nil {
			return nil, err
		}
		connections[service] = conn
	}
	opened, err := outbox.New(outbox.Config{
		DB: p.DB, Table: table, Targets: targets, Connections: connections, Sealer: sealer, Logger: p.Log,
	})
	if err != nil {
		return nil, err
	}
	p.tasks = append(p.tasks, opened.Run)
	return opened, p.Metrics.Register(opened)
}

// Dial connects to another service of this node; Close ends the connection.
func (p *Process) Dial(service, address string) (*grpc.ClientConn, error) {
	if address == "" {
		return nil, fmt.Errorf("setting %s-address is needed: this service calls %s", service, service)
	}
	conn, err := rpc.Dial(address, p.Identity.ClientTLS(service), p.tracing.Dial()...)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, func() { _ = conn.Close() })
	return conn, nil
}

// Follow has Run follow another service's events.
func (p *Process) Follow(f *events.Follower) error {
	p.tasks = append(p.tasks, func(ctx context.Context) error { f.Run(ctx); return nil })
	return p.Metrics.Register(f)
}
