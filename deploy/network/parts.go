package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"amanat.example/gateway"
	"amanat.example/services/federal"
	"amanat.example/services/kit/config"
	"amanat.example/services/protection"
	"amanat.example/services/referral"
	"amanat.example/services/shelter"
)

// Part is one process of a network: a service of a node, its bus, or the hub.
type Part struct{ Node, Name string }

// String is how a part is called in logs and by operators, such as `punjab/shelter`.
func (p Part) String() string { return p.Node + "/" + p.Name }

// Parts are all processes of the network, in the order in which they are best started. Any order
// works: each waits for what it needs.
func (l *Layout) Parts() []Part {
	var parts []Part
	if _, err := l.Node(FederalNode); err == nil { // elsewhere the hub is an address
		parts = append(parts, Part{FederalNode, Hub})
	}
	for _, n := range l.Nodes {
		parts = append(parts, Part{n.Name, Bus})
		for _, s := range n.Services {
			parts = append(parts, Part{n.Name, s})
		}
	}
	return parts
}

// running is a service that New has opened.
type running interface {
	Run(ctx context.Context) error
	Close() error
}

var services = map[string]func(context.Context, config.Service) (running, error){
	Federal: func(ctx context.Context, c config.Service) (running, error) {
		return federal.New(ctx, federal.Config{Service: c})
	},
	Protection: func(ctx context.Context, c config.Service) (running, error) {
		return protection.New(ctx, protection.Config{Service: c, FederalNode: FederalNode})
	},
	Referral: func(ctx context.Context, c config.Service) (running, error) {
		return referral.New(ctx, referral.Config{Service: c, FederalNode: FederalNode})
	},
	Shelter: func(ctx context.Context, c config.Service) (running, error) {
		return shelter.New(ctx, shelter.Config{Service: c, FederalNode: FederalNode})
	},
}

// Run runs one part until ctx ends.
func (l *Layout) Run(ctx context.Context, p Part) error {
	switch p.Name {
	case Hub:
		return l.RunHub(ctx)
	case Bus:
		return l.RunBus(ctx, p.Node)
	}
	if p.Name == Gateway {
		return l.runGateway(ctx, p.Node)
	}
	open, ok := services[p.Name]
	if !ok {
		return fmt.Errorf("there is no service %q", p.Name)
	}
	settings := l.Config(p.Node, p.Name)
	day, err := l.Calendar()
	if err != nil {
		return err
	}
	if day != nil {
		if err := l.mayPlay(); err != nil {
			return err
		}
		settings.Clock = day
	}
	s, err := open(ctx, settings)
	if err != nil {
		return err
	}
	return errors.Join(s.Run(ctx), s.Close())
}

// RunAll runs every part in this process until ctx ends or one of them fails.
func (l *Layout) RunAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if err := l.keepRenewed(ctx); err != nil {
		return err
	}
	for _, p := range l.Parts() {
		group.Go(func() error {
			if err := l.Run(ctx, p); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// runGateway runs a node's gateway, before the services the node has.
func (l *Layout) runGateway(ctx context.Context, node string) error {
	n, err := l.Node(node)
	if err != nil {
		return err
	}
	address := func(service string) string {
		if slices.Contains(n.Services, service) {
			return l.Address(node, service)
		}
		return ""
	}
	g, err := gateway.New(ctx, gateway.Config{
		Data: l.Root, Node: node, LogLevel: cmp.Or(l.LogLevel, "info"),
		HTTPListen: l.Address(node, Gateway), Admin: l.Address(node, Gateway+"-admin"),
		ProtectionAddress: address(Protection), ReferralAddress: address(Referral),
		ShelterAddress: address(Shelter), FederalAddress: address(Federal),
	})
	if err != nil {
		return err
	}
	return errors.Join(g.Run(ctx), g.Close())
}
