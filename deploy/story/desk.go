package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// desk is a node as its people reach it.
type desk struct {
	gateway    *identity.Service
	node       string
	protection protectionv1.ProtectionServiceClient
	referral   referralv1.ReferralServiceClient
	shelter    shelterv1.ShelterServiceClient
	federal    federalv1.FederalServiceClient
	conns      []*grpc.ClientConn
}

// openDesk connects to the services of a node.
func openDesk(l *network.Layout, node string) (*desk, error) {
	n, err := l.Node(node)
	if err != nil {
		return nil, err
	}
	id, err := identity.Load(l.Root, node, network.Gateway)
	if err != nil {
		return nil, err
	}
	d := &desk{gateway: id, node: node}
	for _, service := range n.Services {
		if service == network.Gateway {
			continue
		}
		conn, err := rpc.Dial(l.Address(node, service), id.ClientTLS(service))
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		d.conns = append(d.conns, conn)
		switch service {
		case network.Protection:
			d.protection = protectionv1.NewProtectionServiceClient(conn)
		case network.Referral:
			d.referral = referralv1.NewReferralServiceClient(conn)
		case network.Shelter:
			d.shelter = shelterv1.NewShelterServiceClient(conn)
		case network.Federal:
			d.federal = federalv1.NewFederalServiceClient(conn)
		}
	}
	return d, nil
}

func (d *desk) close() (err error) {
	for _, c := range d.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// as is a context in which a person of this node acts.
func (d *desk) as(ctx context.Context, role, unit string) (context.Context, error) {
	raw, err := d.gateway.IssueToken(&identityv1.PersonToken{
		Person: "nodes/" + d.node + "/workers/demo-" + role, Roles: []string{role}, Unit: unit, Purpose: "casework",
		Audience: []string{network.Protection, network.Referral, network.Shelter, network.Federal},
	})
	if err != nil {
		return nil, err
	}
	return rpc.WithPersonToken(ctx, raw), nil
}

// pause is how long a person waits before looking again, or trying again what did not go through.
const pause = 50 * time.Millisecond

func wait(ctx context.Context) error { return pauseFor(ctx, pause) }

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ask calls as a person, and again while a service is away: every call that changes something
// carries a key or an etag, so that asking twice is asking once.
func ask[Q, A any](ctx context.Context, d *desk, role, unit string, call func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) (A, error) {
	for {
		acting, err := d.as(ctx, role, unit)
		if err != nil {
			var none A
			return none, err
		}
		answer, err := call(acting, request)
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.ResourceExhausted:
			if wait(ctx) == nil {
				continue
			}
		case codes.FailedPrecondition: // a node that was restored asks the others what it lost; its people try again
			if rpc.Fault(err).Reason() == fault.Recovering && wait(ctx) == nil {
				continue
			}
		}
		return answer, err
	}
}

// until looks again and again until it sees what it waits for.
func until[A any](ctx context.Context, what string, look func() (A, bool, error)) (A, error) {
	return untilEvery(ctx, pause, what, look)
}

func untilEvery[A any](ctx context.Context, every time.Duration, what string, look func() (A, bool, error)) (A, error) {
	for {
		seen, there, err := look()
		if err != nil || there {
			return seen, err
		}
		if err := pauseFor(ctx, every); err != nil {
			return seen, fmt.Errorf("waited for %s: %w", what, err)
		}
	}
}

const (
	worker     = "case-worker"
	supervisor = "supervisor"
	manager    = "shelter-manager"
	analyst    = "federal-analyst"
)

// exists says that a unit or a shelter was made before, by an earlier run or an earlier try: its id is taken.
func exists(err error) bool {
	taken := func(v fault.Violation) bool { return v.Field == "unit_id" || v.Field == "shelter_id" }
	return status.Code(err) == codes.AlreadyExists || slices.ContainsFunc(rpc.Fault(err).Fields(), taken)
}
