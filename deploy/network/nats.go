package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post"
)

const (
	natsReady  = 10 * time.Second
	maxPayload = 1 << 20
)

// RunBus runs a node's own NATS until ctx ends. Only services with a certificate of this node's
// CA connect.
func (l *Layout) RunBus(ctx context.Context, node string) error {
	id, err := identity.Load(l.Root, node, Bus)
	if err != nil {
		return err
	}
	options, err := l.natsOptions(node, Bus)
	if err != nil {
		return err
	}
	options.TLS, options.TLSVerify, options.TLSConfig = true, true, id.ServerTLS()
	return runNATS(ctx, options, nil)
}

// RunHub runs the NATS between nodes until ctx ends, with the permissions that the roster gives
// each service, and its streams and mailboxes made.
func (l *Layout) RunHub(ctx context.Context) error {
	roster, err := identity.LoadRoster(l.Root, FederalNode)
	if err != nil {
		return err
	}
	options, err := l.natsOptions(FederalNode, Hub)
	if err != nil {
		return err
	}
	if options.TLSConfig, err = identity.HubServerTLS(l.Root, FederalNode); err != nil {
		return err
	}
	options.TLS = true
	// The streams' keeper is this process alone: its key is made anew each time and kept nowhere.
	admin, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	name, err := admin.PublicKey()
	if err != nil {
		return err
	}
	options.Nkeys = []*server.NkeyUser{{Nkey: name}}
	for _, u := range hub.Users(roster.Nodes(), post.Permissions, advert.Permissions) {
		options.Nkeys = append(options.Nkeys, &server.NkeyUser{Nkey: u.NKey, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: u.Publish},
			Subscribe: &server.SubjectPermission{Allow: u.Subscribe},
		}})
	}
	return runNATS(ctx, options, func(s *server.Server) error {
		conn, err := nats.Connect("", nats.InProcessServer(s), nats.Nkey(name, admin.Sign))
		if err != nil {
			return err
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			return err
		}
		return errors.Join(post.ProvisionHub(ctx, js, roster.Nodes(), 0), advert.ProvisionHub(ctx, js, roster.Nodes(), 0))
	})
}

func (l *Layout) natsOptions(node, part string) (*server.Options, error) {
	host, text, err := net.SplitHostPort(l.Address(node, part))
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	return &server.Options{
		ServerName: node + "-" + part, Host: host, Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(l.Root, node, part, "jetstream"), MaxPayload: maxPayload,
	}, nil
}

func runNATS(ctx context.Context, options *server.Options, ready func(*server.Server) error) error {
	s, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("%s: %w", options.ServerName, err)
	}
	s.Start()
	defer func() {
		s.Shutdown()
		s.WaitForShutdown()
	}()
	if !s.ReadyForConnections(natsReady) {
		return errors.New(options.ServerName + " does not take connections: is its port in use?")
	}
	if ready != nil {
		if err := ready(s); err != nil {
			return fmt.Errorf("%s: %w", options.ServerName, err)
		}
	}
	<-ctx.Done()
	return nil
}
