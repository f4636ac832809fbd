package network_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"amanat.example/deploy/network"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// The whole network in one process: every part starts, answers over mutual TLS, and stops.
func TestInOneProcess(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatalf("a second Init is not a no-op: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	waiting, giveUp := context.WithTimeout(t.Context(), time.Minute)
	go func() {
		ended <- l.RunAll(ctx)
		giveUp() // what has not answered by then never will
	}()
	for _, node := range l.Nodes {
		for _, service := range node.Services {
			if service == network.Gateway {
				continue
			}
			conn := dial(t, l, node.Name, service)
			_, err := eventsv1.NewEventServiceClient(conn).ListEvents(waiting, &eventsv1.ListEventsRequest{}, grpc.WaitForReady(true))
			if err != nil {
				t.Errorf("%s of %s: %v", service, node.Name, err)
			}
		}
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := net.DialTimeout("tcp", l.Address(network.FederalNode, network.Hub), time.Second); err == nil {
		t.Error("the hub still listens")
	}
}

// dial connects as another service of the node that may read events.
func dial(t *testing.T, l *network.Layout, node, service string) *grpc.ClientConn {
	t.Helper()
	as := network.Shelter
	if node == network.FederalNode {
		as = network.Federal
	}
	id, err := identity.Load(l.Root, node, as)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(l.Address(node, service), id.ClientTLS(service))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A port that is taken is named before anything starts.
func TestCheckPorts(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.CheckPorts(); err != nil {
		t.Fatalf("all are free: %v", err)
	}
	for _, part := range []string{network.Gateway, network.Shelter + "-admin", network.Bus} {
		taken, err := net.Listen("tcp", l.Address("punjab", part))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.CheckPorts(); err == nil || !strings.Contains(err.Error(), part+" of punjab needs "+l.Address("punjab", part)) {
			t.Errorf("%s: %v", part, err)
		}
		if err := taken.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
