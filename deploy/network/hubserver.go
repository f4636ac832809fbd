package network

import (
	"context"
	"errors"
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
		if err := h.provision(ctx, s, now); err != nil {
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

// follow takes up every new version of the roster until ctx ends.
func (h *hubServer) follow(ctx context.Context, s *server.Server, now *identity.Roster) {
	w := &hubWatch{
		log: h.log, roster: h.roster, now: now, made: holdingsOf(s),
		holdings:  func() holdings { return holdingsOf(s) },
		provision: func(r *identity.Roster) error { return h.provision(ctx, s, r) },
		admit:     func(r *identity.Roster) error { return h.admit(s, r) },
		clear:     func(r *identity.Roster) error { return h.clear(ctx, s, r) },
	}
	ticker := time.NewTicker(rosterLook)
	defer ticker.Stop()
	for {
		w.look() // at once: a version may have come while it was down, after which there is something to clear
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// clear throws away what lies there for or from who takes no part now.
func (h *hubServer) clear(ctx context.Context, s *server.Server, roster *identity.Roster) error {
	return h.keep(s, func(js jetstream.JetStream) error { return clearHub(ctx, js, roster) })
}

// admit lets in whom the roster names, and shuts out all others.
func (h *hubServer) admit(s *server.Server, roster *identity.Roster) error {
	options, err := h.options(roster)
	if err != nil {
		return err
	}
	return s.ReloadOptions(options)
}

// hubWatch brings a hub to what the roster says, a look at a time.
type hubWatch struct {
	log    *logging.Logger
	roster func() *identity.Roster
	// What is done to the hub.
	holdings                func() holdings
	provision, admit, clear func(*identity.Roster) error

	now     *identity.Roster // taken up
	made    holdings         // when they were last made
	cleared bool             // what lies there for or from who takes no part in now
}

// look takes up a new version of the roster, and makes streams and mailboxes anew that are gone: NATS answers a request to whatever subject its
// sender names, so that a member can have one deleted (subjects of its own account alone keep it from that). No letter is lost by it, since
// its sender keeps it until it has a receipt. What fails is tried again at the next look.
func (w *hubWatch) look() {
	gone := w.holdings() != w.made
	if gone {
		w.log.Error("streams or mailboxes of the hub are gone, which only a member that means harm can bring about: they are made anew")
	}
	// A new version comes first, and makes all anew by itself: made by the old one, a newcomer's mailboxes would be gone once more.
	if next := w.roster(); next.Version() != w.now.Version() {
		err := w.take(next)
		w.made = w.holdings() // also where it failed half-way: that was no member
		if err != nil {
			w.log.Error("the new version of the roster could not be taken up; it will be tried again", logging.Err(err))
			return
		}
		w.log.Info("a new version of the roster was taken up", logging.Count("version", next.Version()))
		w.now, w.cleared = next, false
	} else if gone {
		if err := w.provision(w.now); err != nil {
			w.log.Error("the streams of the hub cannot be made anew; it will be tried again", logging.Err(err))
			return
		}
		w.made, w.cleared = w.holdings(), false
	}
	if w.cleared {
		return
	}
	// Last, when nobody who is shut out can write any more. Nothing depends on it but room.
	err := w.clear(w.now)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // deleted before it was looked at what was made: it is made anew at the next look
		w.made = holdings{streams: -1}
		return
	}
	if err != nil {
		w.log.Error("what lies at the hub for and from who takes no part cannot be thrown away; it will be tried again", logging.Err(err))
		return
	}
	w.cleared = true
}

// take makes the mailboxes first, so that nobody who is let in finds none.
func (w *hubWatch) take(roster *identity.Roster) error {
	if err := w.provision(roster); err != nil {
		return fmt.Errorf("make the mailboxes: %w", err)
	}
	return w.admit(roster)
}
