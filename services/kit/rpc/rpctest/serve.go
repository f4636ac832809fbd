package rpctest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

// Place is a service of a node whose files lie under a root.
type Place struct {
	Root, Node, Service string
}

// Load is the identity of another service of the same node.
func (p Place) Load(t testing.TB, service string) *identity.Service {
	t.Helper()
	s, err := identity.Load(p.Root, p.Node, service)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Serve runs the service's server until the test ends and says where it listens.
func (p Place) Serve(t testing.TB, policy rpc.Policy, audit rpc.AuditFunc, register func(grpc.ServiceRegistrar)) (address string) {
	t.Helper()
	server, err := rpc.NewServer(rpc.Config{Identity: p.Load(t, p.Service), Policy: policy, Log: logging.Discard(), Audit: audit})
	if err != nil {
		t.Fatal(err)
	}
	register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// Operator is as whom the operator connects.
const Operator = "operator"

// Dial connects to the service at an address as another service of its node, or as its Operator.
func (p Place) Dial(t testing.TB, address, as string) *grpc.ClientConn {
	t.Helper()
	var trust *tls.Config
	if as == Operator {
		var err error
		if trust, err = identity.OperatorTLS(p.Root, p.Node, p.Service); err != nil {
			t.Fatal(err)
		}
	} else {
		trust = p.Load(t, as).ClientTLS(p.Service)
	}
	conn, err := rpc.Dial(address, trust, grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Token is a person token of the node's gateway for the service; change may alter it, nil leaves it.
func (p Place) Token(t testing.TB, role string, change func(*identityv1.PersonToken)) []byte {
	t.Helper()
	return p.issue(t, "gateway", role, change)
}

func (p Place) issue(t testing.TB, issuer, role string, change func(*identityv1.PersonToken)) []byte {
	t.Helper()
	token := &identityv1.PersonToken{
		Person: "nodes/" + p.Node + "/workers/w", Unit: "nodes/" + p.Node + "/units/hub", Roles: []string{role},
		Purpose: "casework", Audience: []string{p.Service},
	}
	if change != nil {
		change(token)
	}
	raw, err := p.Load(t, issuer).IssueToken(token)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Writes is a digest of all that was committed to some stores since it was made: every row that
// was written or deleted, in order.
type Writes struct {
	mu    sync.Mutex
	count int
	sum   [sha256.Size]byte
	last  string
}

// Watch begins to note what is committed to the stores.
func Watch(dbs ...*store.DB) *Writes {
	w := &Writes{}
	for _, db := range dbs {
		db.Observe(w.note)
	}
	return w
}

func (w *Writes) note(set store.ChangeSet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range set.Changes {
		w.count++
		w.last = c.Table
		w.sum = sha256.Sum256(fmt.Appendf(w.sum[:], "%s %x %d %x", c.Table, []byte(c.Key), c.Version, c.New))
	}
}

// State is the digest so far, with the table written last for whoever has to find out why.
func (w *Writes) State() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%d rows written, the last in %q, %x", w.count, w.last, w.sum[:4])
}
