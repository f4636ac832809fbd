package network_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"amanat.example/deploy/network"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
)

// change drafts, signs and installs a version of the roster at every node of the network.
func change(t *testing.T, l *network.Layout, d identity.Draft) *identityv1.RosterFile {
	t.Helper()
	file, err := identity.Propose(l.Root, network.FederalNode, time.Now(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes[:3] {
		if _, err := identity.Sign(l.Root, n.Name, file, false); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range l.Nodes {
		if err := identity.InstallRoster(l.Root, n.Name, file.GetLog()); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// runHub is a new network whose hub runs until the test ends.
func runHub(t *testing.T) *network.Layout {
	t.Helper()
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.RunHub(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l
}

// The hub follows the roster: a newcomer that knocked too early is let in with its mailbox, one that is suspended is shut out
// and let in again, and who was there all along notices nothing.
func TestHubFollowsTheRoster(t *testing.T) {
	l := runHub(t)

	old := transport(t, l, l.Root, "punjab")
	connected(t, old)
	var lost atomic.Int32
	steady := connect(t, l, l.Root, "sindh", nats.DisconnectErrHandler(func(*nats.Conn, error) { lost.Add(1) }))

	away := t.TempDir()
	request, err := identity.InitNode(identity.Options{
		Root: away, Node: "khyber", Province: "PK-KP", Services: []string{network.Referral},
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := identity.Propose(l.Root, network.FederalNode, time.Now(), identity.Draft{Requests: []*identityv1.NodeRequest{request}})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"federal", "sindh", "punjab"} {
		if _, err := identity.Sign(l.Root, node, file, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := identity.JoinNetwork(away, "khyber", file.GetLog(), identity.NetworkFingerprint(file.GetLog())); err != nil {
		t.Fatal(err)
	}
	early := make(chan struct{}, 64)
	newcomer := connect(t, l, away, "khyber", nats.SetCustomDialer(knocks(early)))
	for range 4 { // refused again and again, and not discouraged
		next(t, early, "a knock at the hub")
	}
	if newcomer.IsConnected() {
		t.Error("let in before the hub knows of it")
	}
	khyber := transport(t, l, away, "khyber")
	if err := identity.InstallRoster(l.Root, network.FederalNode, file.GetLog()); err != nil {
		t.Fatal(err)
	}
	connected(t, khyber)
	mailbox(t, newcomer, "khyber")
	for _, n := range l.Nodes {
		if err := identity.InstallRoster(l.Root, n.Name, file.GetLog()); err != nil {
			t.Fatal(err)
		}
	}

	change(t, l, identity.Draft{Suspend: []string{"khyber"}})
	until(t, "the suspended node is shut out", func() bool { return !newcomer.IsConnected() })
	change(t, l, identity.Draft{Readmit: []string{"khyber"}})
	connected(t, khyber)
	until(t, "the node is let in again", newcomer.IsConnected)
	mailbox(t, newcomer, "khyber")
	if n := lost.Load(); n != 0 || !steady.IsConnected() {
		t.Errorf("who was there all along was cut off %d times", n)
	}
	mailbox(t, steady, "sindh")
}

// What a member asks of its own mailbox the hub answers to whatever subject the member names, its own administration among them. So a stream may be
// deleted by one that may not delete it; the hub makes it anew, and no letter is lost with it: its sender keeps it until it has a receipt.
func TestHubMakesItsStreamsAnew(t *testing.T) {
	l := runHub(t)
	connected(t, transport(t, l, l.Root, "punjab"))
	hostile := connect(t, l, l.Root, "sindh")
	until(t, "it is let in", hostile.IsConnected)
	reads := func() bool {
		info, err := hostile.Request("$JS.API.CONSUMER.INFO.POST.sindh_referral_bulk", nil, time.Second)
		return err == nil && !bytes.Contains(info.Data, []byte("error"))
	}
	until(t, "it has a mailbox", reads)
	err := hostile.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.POST.sindh_referral_bulk", "$JS.API.STREAM.DELETE.POST", []byte(`{"batch":1,"no_wait":true}`))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the stream is gone", func() bool { return !reads() })
	until(t, "it is there again", reads)
}

// A hub that is told to end while it still makes its mailboxes has ended, not failed.
func TestHubEndsWhileItStarts(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := l.RunHub(ctx); err != nil {
		t.Error(err)
	}
}

// connect is a connection to the hub as a node's referral service, which tries for ever.
func connect(t *testing.T, l *network.Layout, root, node string, more ...nats.Option) *nats.Conn {
	t.Helper()
	id, err := identity.Load(root, node, network.Referral)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := id.HubTLS()
	if err != nil {
		t.Fatal(err)
	}
	name, sign := id.HubNKey()
	conn, err := nats.Connect("tls://"+l.Address(network.FederalNode, network.Hub), append([]nats.Option{
		nats.Secure(tls), nats.Nkey(name, sign), nats.CustomInboxPrefix("_INBOX." + node + ".referral"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.IgnoreAuthErrorAbort(),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// transport is a node's referral service at the hub as production has it.
func transport(t *testing.T, l *network.Layout, root, node string) *post.NATS {
	t.Helper()
	id, err := identity.Load(root, node, network.Referral)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := id.HubTLS()
	if err != nil {
		t.Fatal(err)
	}
	name, sign := id.HubNKey()
	transport, err := post.NewNATS(hub.Config{
		Node: node, Service: network.Referral, URL: "tls://" + l.Address(network.FederalNode, network.Hub),
		TLS: tls, NKey: name, Sign: sign, Log: logging.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.Close)
	return transport
}

// connected waits for a transport to have the hub.
func connected(t *testing.T, transport *post.NATS) {
	t.Helper()
	next(t, transport.Reconnected(), "a connection to the hub")
}

func next(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("no %s within a minute", what)
	}
}

// until looks again and again until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

// mailbox opens a node's own mailbox, as its referral service.
func mailbox(t *testing.T, conn *nats.Conn, node string) {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the mailbox of "+node+" opens", func() bool {
		_, err := js.Consumer(t.Context(), "POST", node+"_referral_urgent")
		if err != nil && !errors.Is(err, nats.ErrDisconnected) {
			t.Log(err)
		}
		return err == nil
	})
}

// knocks is a dialer that tells of every connection it makes.
type knocks chan<- struct{}

func (k knocks) Dial(network, address string) (net.Conn, error) {
	select {
	case k <- struct{}{}:
	default:
	}
	return net.Dial(network, address)
}
