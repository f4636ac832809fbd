package outbox_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

const (
	aHold  = "nodes/sindh/holds/0192f0a1-0000-7000-8000-000000000001"
	noHold = "nodes/sindh/holds/0192f0a1-0000-7000-8000-000000000002"
)

// shelter is a service with one hold.
type shelter struct {
	shelterv1.UnimplementedShelterServiceServer
	requests chan string
}

func (s *shelter) GetHold(ctx context.Context, request *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	s.requests <- rpc.RequestID(ctx)
	if request.GetName() != aHold {
		return nil, fault.NotFound("hold")
	}
	return &shelterv1.Hold{Name: aHold, Quantity: 2}, nil
}

func (s *shelter) run(t *testing.T, self *identity.Service, address string) {
	t.Helper()
	policy := rpc.Policy{}
	for _, m := range shelterv1.ShelterService_ServiceDesc.Methods {
		policy["/"+shelterv1.ShelterService_ServiceDesc.ServiceName+"/"+m.MethodName] = rpc.Row{Callers: []string{"referral"}}
	}
	for _, m := range shelterv1.ShelterService_ServiceDesc.Streams {
		policy["/"+shelterv1.ShelterService_ServiceDesc.ServiceName+"/"+m.StreamName] = rpc.Row{Callers: []string{"referral"}}
	}
	server, err := rpc.NewServer(rpc.Config{
		Identity: self, Policy: policy, Log: logging.Discard(),
		Audit: func(context.Context, rpc.Reading) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	shelterv1.RegisterShelterServiceServer(server, s)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("server: %v", err)
		}
	})
}

// TestOverTheWire queues while the service is away, and takes in what it answers once it is
// there, through mutual TLS and the real server.
func TestOverTheWire(t *testing.T) {
	root := t.TempDir()
	err := identity.InitNetwork(identity.Options{Root: root, Node: "sindh", Province: "PK-SD", Services: []string{"referral", "shelter"}})
	if err != nil {
		t.Fatal(err)
	}
	load := func(service string) *identity.Service {
		s, err := identity.Load(root, "sindh", service)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// An address where nobody listens yet.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(address, load("referral").ClientTLS("shelter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	db := openFile(t)
	results := make(chan outbox.Result, 2)
	o := newOutbox(t, db, nil, func(c *outbox.Config) {
		c.Connections = map[string]grpc.ClientConnInterface{"shelter": conn}
		c.Targets[getHold] = outbox.Target{Service: "shelter", Result: func(_ *store.Tx, r outbox.Result) error {
			results <- r
			return nil
		}}
	})
	const found, missing = "0192f0a1-0000-7000-8000-00000000000a", "0192f0a1-0000-7000-8000-00000000000b"
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		for id, name := range map[string]string{found: aHold, missing: noHold} {
			command := outbox.Command{
				ID: id, Method: getHold, Subject: name, OnBehalfOf: "nodes/sindh/workers/a",
				Request: &shelterv1.GetHoldRequest{Name: name},
			}
			if err := o.Queue(tx, command); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if worked, err := o.Step(t.Context()); !worked || err != nil {
		t.Fatal(worked, err)
	}
	run(t, o)
	s := &shelter{requests: make(chan string, 2)}
	s.run(t, load("shelter"), address)
	wait(t, o, found)
	wait(t, o, missing)
	for range 2 {
		r := <-results
		switch r.Command.ID {
		case found:
			if hold, ok := r.Reply.(*shelterv1.Hold); !ok || hold.GetQuantity() != 2 || r.Fault != nil || r.Command.OnBehalfOf != "nodes/sindh/workers/a" {
				t.Errorf("got %+v", r)
			}
		case missing:
			if r.Reply != nil || r.Fault.Reason() != fault.Missing || r.Fault.Metadata()["kind"] != "hold" {
				t.Errorf("got %+v", r)
			}
		}
		if id := <-s.requests; id != found && id != missing {
			t.Errorf("the call's request id is %s and not the command's", id)
		}
	}
}
