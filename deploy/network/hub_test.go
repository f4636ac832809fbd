package network_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"amanat.example/deploy/network"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
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
		if slices.Contains(d.Suspend, n.Name) {
			continue // who takes no part does not install that
		}
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

// What lies at the hub for and from a node that is suspended is thrown away: nobody would read it, or believe it.
func TestHubForgetsTheSuspended(t *testing.T) {
	l := runHub(t)
	from, to := connect(t, l, l.Root, "balochistan"), connect(t, l, l.Root, "sindh")
	until(t, "both are let in", func() bool { return from.IsConnected() && to.IsConnected() })
	waits := func(conn *nats.Conn, node string) int {
		answer, err := conn.Request("$JS.API.CONSUMER.INFO.POST."+node+"_referral_bulk", nil, time.Second)
		var info struct {
			Pending int `json:"num_pending"`
		}
		if err != nil || json.Unmarshal(answer.Data, &info) != nil {
			return -1
		}
		return info.Pending
	}
	leave := func(conn *nats.Conn, to, from string) {
		until(t, "the hub takes it", func() bool {
			answer, err := conn.Request("amanat.post."+to+".referral.bulk."+from+".referral", []byte("x"), time.Second)
			return err == nil && bytes.Contains(answer.Data, []byte(`"seq"`))
		})
	}
	leave(from, "sindh", "balochistan")
	leave(to, "balochistan", "sindh")
	until(t, "both lie there", func() bool { return waits(to, "sindh") > 0 && waits(from, "balochistan") > 0 })
	change(t, l, identity.Draft{Suspend: []string{"balochistan"}})
	until(t, "what it left is thrown away", func() bool { return waits(to, "sindh") == 0 })
	if _, err := to.Request("amanat.post.balochistan.referral.bulk.sindh.referral", []byte("x"), 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("mail to it is taken: %v", err)
	}
	change(t, l, identity.Draft{Readmit: []string{"balochistan"}})
	until(t, "it has a mailbox again", func() bool { return from.IsConnected() && waits(from, "balochistan") >= 0 })
	if n := waits(from, "balochistan"); n != 0 {
		t.Errorf("%d lie there that were for it when it was suspended", n)
	}
	leave(to, "balochistan", "sindh")
}

// Every node has keys for a gateway and a bus, and for services that it does not run. These write no letters and read none: they have no place at the
// hub, where what is sent to them would lie for ever.
func TestHubIsForWhoWritesLetters(t *testing.T) {
	l := runHub(t)
	conn := connect(t, l, l.Root, "sindh")
	mailbox(t, conn, "sindh")
	for to, taken := range map[string]bool{
		"punjab.protection": true, "punjab.referral": true, "punjab.shelter": true, "federal.federal": true,
		"punjab.gateway": false, "punjab.bus": false, "punjab.federal": false,
		"federal.gateway": false, "federal.bus": false, "federal.referral": false,
	} {
		_, err := conn.Request("amanat.post."+to+".bulk.sindh.referral", []byte("x"), 5*time.Second)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) || (err == nil) != taken {
			t.Errorf("mail to %s: %v, want it taken: %t", to, err, taken)
		}
	}
	for _, service := range []string{network.Gateway, network.Bus, network.Federal} {
		id, err := identity.Load(l.Root, "sindh", service)
		if err != nil {
			t.Fatal(err)
		}
		tls, err := id.HubTLS()
		if err != nil {
			t.Fatal(err)
		}
		name, sign := id.HubNKey()
		if _, err := nats.Connect("tls://"+l.Address(network.FederalNode, network.Hub), nats.Secure(tls), nats.Nkey(name, sign)); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("the %s of a province is let in: %v", service, err)
		}
	}
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

// What is delivered again has the number it had: so a service knows a parcel that it was given before from a copy.
func TestHubNumbersWhatItDelivers(t *testing.T) {
	l := runHub(t)
	from, to := connect(t, l, l.Root, "balochistan"), transport(t, l, l.Root, "sindh")
	connected(t, to)
	until(t, "it is let in", from.IsConnected)
	read := func() post.Message {
		select {
		case m := <-to.Mail(postv1.Lane_LANE_BULK):
			return m
		case <-time.After(20 * time.Second):
			t.Fatal("nothing comes")
		}
		return post.Message{}
	}
	var seen []uint64
	for range 2 {
		until(t, "the hub takes it", func() bool {
			answer, err := from.Request("amanat.post.sindh.referral.bulk.balochistan.referral", []byte("x"), time.Second)
			return err == nil && bytes.Contains(answer.Data, []byte(`"seq"`))
		})
		m := read()
		m.Nak(time.Millisecond)
		again := read()
		again.Ack()
		if m.ID == 0 || again.ID != m.ID || slices.Contains(seen, m.ID) {
			t.Errorf("delivered as %d, and again as %d, after %v", m.ID, again.ID, seen)
		}
		seen = append(seen, m.ID)
	}
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
