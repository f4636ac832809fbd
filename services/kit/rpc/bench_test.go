package rpc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/rpc"
)

// BenchmarkUnary compares a bare gRPC server over mutual TLS with one of ours, which judges,
// validates, counts and logs each call: what all that costs.
func BenchmarkUnary(b *testing.B) {
	root := filepath.Join(b.TempDir(), "data")
	if err := identity.InitNetwork(identity.Options{Root: root, Node: "sindh", Services: []string{"shelter", "gateway"}}); err != nil {
		b.Fatal(err)
	}
	self, err := identity.Load(root, "sindh", "shelter")
	if err != nil {
		b.Fatal(err)
	}
	caller, err := identity.Load(root, "sindh", "gateway")
	if err != nil {
		b.Fatal(err)
	}
	impl := &shelter{getHold: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		return &shelterv1.Hold{}, nil
	}}
	logger, err := logging.New(logging.Options{Node: "sindh", Service: "shelter", Output: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("bare/%d", callers), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := grpc.NewServer(grpc.Creds(credentials.NewTLS(self.ServerTLS())))
			shelterv1.RegisterShelterServiceServer(s, impl)
			go func() { _ = s.Serve(l) }()
			defer s.Stop()
			measure(b, l.Addr().String(), caller, callers)
		})
		b.Run(fmt.Sprintf("ours/%d", callers), func(b *testing.B) {
			s, err := rpc.NewServer(rpc.Config{
				Identity: self, Log: logger, Audit: noAudit, Policy: rows(shelterv1.ShelterService_ServiceDesc, rpc.Row{Callers: []string{"gateway"}}),
			})
			if err != nil {
				b.Fatal(err)
			}
			shelterv1.RegisterShelterServiceServer(s, impl)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx, l, nil) }()
			measure(b, l.Addr().String(), caller, callers)
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

func measure(b *testing.B, address string, caller *identity.Service, callers int) {
	b.Helper()
	conn, err := rpc.Dial(address, caller.ClientTLS("shelter"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := shelterv1.NewShelterServiceClient(conn)
	if _, err := client.GetHold(b.Context(), aRequest()); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := client.GetHold(b.Context(), aRequest()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "calls/s")
}
