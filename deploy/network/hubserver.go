package network

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
)

// rosterLook is how often the hub looks whether a new version of the roster was installed.
const rosterLook = time.Second

// hubServer is the NATS between nodes, with the users and mailboxes that the roster names.
type hubServer struct {
	layout *Layout
	roster func() *identity.Roster
	log    *logging.Logger
	// The streams' keeper is this process alone: its key is made anew each time and kept nowhere.
	keeper nkeys.KeyPair
	name   string
}

// RunHub runs the NATS between nodes until ctx ends, with the permissions that the roster gives each
// service, and its streams and mailboxes made. It follows the roster of the federal node: who joins is let
// in, and who is suspended is shut out, without a restart and without disturbing the others.
func (l *Layout) RunHub(ctx context.Context) error {
	roster, err := identity.WatchRoster(l.Root, FederalNode)
	if err != nil {
		return err
	}
	h := &hubServer{layout: l, roster: roster}
	if h.log, err = logging.New(logging.Options{Node: FederalNode, Service: Hub}); err != nil {
		return err
	}
	if h.keeper, err = nkeys.CreateUser(); err != nil {
		return err
	}
	if h.name, err = h.keeper.PublicKey(); err != nil {
		return err
	}
	now := roster()
	options, err := h.options(now)
	if err != nil {
		return err
	}
	return runNATS(ctx, options, func(ctx context.Context, s *server.Server) error {
		err := h.provision(ctx, s, now)
		if err == nil { // a version may have come while it was down
			err = h.clear(ctx, s, now)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil // it was told to end meanwhile
			}
			return err
		}
		h.follow(ctx, s, now)
		return nil
	})
}

// options of the server, with a user for each service of the roster.
func (h *hubServer) options(roster *identity.Roster) (*server.Options, error) {
	options, err := h.layout.natsOptions(FederalNode, Hub)
	if err != nil {
		return nil, err
	}
	if options.TLSConfig, err = identity.HubServerTLS(h.layout.Root, FederalNode); err != nil {
		return nil, err
	}
	options.TLS = true
	options.Nkeys = []*server.NkeyUser{{Nkey: h.name}}
	for _, u := range hubUsers(roster) {
		options.Nkeys = append(options.Nkeys, &server.NkeyUser{Nkey: u.NKey, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: u.Publish},
			Subscribe: &server.SubjectPermission{Allow: u.Subscribe},
		}})
	}
	return options, nil
}

// provision makes the streams and the mailboxes.
func (h *hubServer) provision(ctx context.Context, s *server.Server, roster *identity.Roster) error {
	return h.keep(s, func(js jetstream.JetStream) error { return provisionHub(ctx, js, roster, DefaultHubBytes) })
}

// keep does something to the streams.
func (h *hubServer) keep(s *server.Server, work func(jetstream.JetStream) error) error {
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.Nkey(h.name, h.keeper.Sign))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	return work(js)
}

// holdings are how many streams and mailboxes a hub has.
type holdings struct{ streams, mailboxes int }

func holdingsOf(s *server.Server) holdings {
	info, err := s.Jsz(nil)
	if err != nil {
		return holdings{}
	}
	return holdings{info.Streams, info.Consumers}
}

// follow takes up every new version of the roster until ctx ends, and makes streams and mailboxes anew that are gone: NATS answers a request to
// whatever subject its sender names, so that a member can have one deleted (subjects of its own account alone keep it from that). No letter
// is lost by it, since its sender keeps it until it has a receipt. What fails is tried again.
func (h *hubServer) follow(ctx context.Context, s *server.Server, now *identity.Roster) {
	ticker := time.NewTicker(rosterLook)
	defer ticker.Stop()
	made := holdingsOf(s)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if holdingsOf(s) != made {
			h.log.Error("streams or mailboxes of the hub are gone, which only a member that means harm can bring about: they are made anew")
			if err := h.provision(ctx, s, now); err != nil {
				h.log.Error("the streams of the hub cannot be made anew; it will be tried again", logging.Err(err))
				continue
			}
			made = holdingsOf(s)
		}
		next := h.roster()
		if next.Version() == now.Version() {
			continue
		}
		if err := h.take(ctx, s, next); err != nil {
			h.log.Error("the new version of the roster could not be taken up; it will be tried again", logging.Err(err))
			continue
		}
		h.log.Info("a new version of the roster was taken up", logging.Count("version", next.Version()))
		now, made = next, holdingsOf(s)
	}
}

// clear throws away what lies there for or from who takes no part now.
func (h *hubServer) clear(ctx context.Context, s *server.Server, roster *identity.Roster) error {
	return h.keep(s, func(js jetstream.JetStream) error { return clearHub(ctx, js, roster) })
}

// take makes the mailboxes first, so that nobody who is let in finds none, and clears up last, when nobody who is shut out can write any more.
func (h *hubServer) take(ctx context.Context, s *server.Server, roster *identity.Roster) error {
	if err := h.provision(ctx, s, roster); err != nil {
		return fmt.Errorf("make the mailboxes: %w", err)
	}
	options, err := h.options(roster)
	if err != nil {
		return err
	}
	if err := s.ReloadOptions(options); err != nil {
		return err
	}
	return h.clear(ctx, s, roster)
}
