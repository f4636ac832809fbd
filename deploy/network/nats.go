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

	"amanat.example/services/kit/identity"
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
	return runNATS(ctx, options, wait)
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

// runNATS runs a server for as long as work goes on.
func runNATS(ctx context.Context, options *server.Options, work func(context.Context, *server.Server) error) error {
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
	if err := work(ctx, s); err != nil {
		return fmt.Errorf("%s: %w", options.ServerName, err)
	}
	return nil
}

func wait(ctx context.Context, _ *server.Server) error {
	<-ctx.Done()
	return nil
}
