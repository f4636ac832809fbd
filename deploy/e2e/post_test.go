package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/disktest"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/post/posttest"
)

func TestMain(m *testing.M) {
	disktest.Serve()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(built.dir) // of a run that is over
		os.Exit(code)
	}))
}

func TestPostOverNATS(t *testing.T) {
	t.Parallel()
	posttest.Run(t, func(t *testing.T, root string) posttest.Hub { return startHub(t, root) })
}

// hubServer is a real server with JetStream, TLS and nkeys, in this process.
type hubServer struct {
	tb     testing.TB
	root   string
	roster *identity.Roster
	server *server.Server // nil where it is another process
	url    string
	admin  *nats.Conn
	js     jetstream.JetStream

	key nkeys.KeyPair // of admin

	mu   sync.Mutex
	seen []*nats.Msg
}

func startHub(tb testing.TB, root string) *hubServer {
	tb.Helper()
	roster, err := identity.LoadRoster(root, "federal")
	must(tb, err)
	h := &hubServer{tb: tb, root: root, roster: roster}
	adminKey, err := nkeys.CreateUser()
	must(tb, err)
	adminName, err := adminKey.PublicKey()
	must(tb, err)
	certificate, err := identity.HubServerTLS(root, "federal")
	must(tb, err)
	options := &server.Options{
		ServerName: "hub", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: tb.TempDir(), TLS: true, TLSConfig: certificate, MaxPayload: 1 << 20,
		Nkeys: append(users(roster), &server.NkeyUser{Nkey: adminName}),
	}
	h.server, err = server.NewServer(options)
	must(tb, err)
	h.server.Start()
	tb.Cleanup(func() {
		h.server.Shutdown()
		h.server.WaitForShutdown()
	})
	if !h.server.ReadyForConnections(10 * time.Second) {
		tb.Fatal("the hub did not start")
	}
	h.url = "tls://" + h.server.Addr().(*net.TCPAddr).String()
	h.connect(adminKey)
	must(tb, post.ProvisionHub(context.Background(), h.js, roster.Nodes(), hubBytes))
	return h
}

const hubBytes = 256 << 20

// connect connects as a user of the hub who may do everything.
func (h *hubServer) connect(key nkeys.KeyPair) {
	h.tb.Helper()
	h.key = key
	h.admin = h.another(h.tb)
	var err error
	h.js, err = jetstream.New(h.admin)
	must(h.tb, err)
}

// another is one more connection of that user.
func (h *hubServer) another(tb testing.TB) *nats.Conn {
	tb.Helper()
	name, err := h.key.PublicKey()
	must(tb, err)
	any, err := identity.Load(h.root, "sindh", posttest.Service)
	must(tb, err)
	trust, err := any.HubTLS()
	must(tb, err)
	conn, err := nats.Connect(h.url, nats.Secure(trust), nats.Nkey(name, h.key.Sign), nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	must(tb, err)
	tb.Cleanup(conn.Close)
	posttest.Wait(tb, "the hub answers", conn.IsConnected)
	return conn
}

// users turns the roster's permissions into the server's.
func users(roster *identity.Roster) (all []*server.NkeyUser) {
	for _, u := range hub.Users(roster.Nodes(), post.Permissions) {
		all = append(all, &server.NkeyUser{Nkey: u.NKey, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: u.Publish},
			Subscribe: &server.SubjectPermission{Allow: u.Subscribe},
		}})
	}
	return all
}

// watch keeps all that is published from now on, as someone could who has taken over the hub.
func (h *hubServer) watch() {
	_, err := h.admin.Subscribe("amanat.post.>", func(m *nats.Msg) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.seen = append(h.seen, m)
	})
	must(h.tb, err)
	must(h.tb, h.admin.Flush())
}

func (h *hubServer) Transport(tb testing.TB, node, service string) post.Transport {
	tb.Helper()
	h.mu.Lock()
	first := h.seen == nil
	if first {
		h.seen = []*nats.Msg{}
	}
	h.mu.Unlock()
	if first {
		h.watch()
	}
	id, err := identity.Load(h.root, node, service)
	must(tb, err)
	transport, err := post.NewNATS(h.config(tb, id))
	must(tb, err)
	return transport
}

func (h *hubServer) config(tb testing.TB, id *identity.Service) hub.Config {
	trust, err := id.HubTLS()
	must(tb, err)
	name, sign := id.HubNKey()
	return hub.Config{Node: id.Node(), Service: id.Name(), URL: h.url, TLS: trust, NKey: name, Sign: sign, Log: logging.Discard()}
}

func (h *hubServer) Wipe(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(tb, h.js.DeleteStream(ctx, "POST"))
	must(tb, post.ProvisionHub(ctx, h.js, h.roster.Nodes(), hubBytes))
}

func (h *hubServer) Inject(tb testing.TB, subject string, data []byte) {
	tb.Helper()
	must(tb, h.admin.Publish(subject, data))
	must(tb, h.admin.Flush())
}

func (h *hubServer) Seen(tb testing.TB, prefix string) (all [][]byte) {
	tb.Helper()
	must(tb, h.admin.Flush())
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.seen {
		if strings.HasPrefix(m.Subject, prefix) {
			all = append(all, m.Data)
		}
	}
	return all
}

func (h *hubServer) Holds(tb testing.TB, text []byte) bool {
	for _, data := range h.Seen(tb, "amanat.") {
		if bytes.Contains(data, text) {
			return true
		}
	}
	return false
}

// A service can neither speak as another nor read another's mailbox, whatever client it uses.
func TestHubRefusesForgedSenderAndForeignMailbox(t *testing.T) {
	refusesForgeries(t, startHub(t, posttest.Network(t)))
}

func refusesForgeries(t *testing.T, h *hubServer) {
	t.Helper()
	id, err := identity.Load(h.root, "sindh", posttest.Service)
	must(t, err)
	config := h.config(t, id)
	refused := make(chan error, 16)
	conn, err := nats.Connect(config.URL, nats.Secure(config.TLS), nats.Nkey(config.NKey, config.Sign),
		nats.CustomInboxPrefix("_INBOX.sindh."+posttest.Service),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	must(t, err)
	defer conn.Close()

	own := fmt.Sprintf("amanat.post.punjab.%s.bulk.sindh.%s", posttest.Service, posttest.Service)
	answer, err := conn.Request(own, []byte("x"), 5*time.Second)
	if err != nil || !bytes.Contains(answer.Data, []byte(`"stream":"POST"`)) {
		t.Fatalf("publishing as oneself: %v %s", err, answer.Data)
	}
	publish := []string{
		"amanat.post.punjab.referral.bulk.federal.federal",
		"amanat.post.punjab.referral.bulk.sindh.shelter",
		"$JS.API.CONSUMER.MSG.NEXT.POST.punjab_referral_bulk",
		"$JS.API.CONSUMER.CREATE.POST.mine",
		"$JS.API.CONSUMER.CREATE.POST.mine.amanat.post.punjab.referral.bulk.>",
		"$JS.API.CONSUMER.DELETE.POST.punjab_referral_bulk",
		"$JS.API.STREAM.MSG.GET.POST",
		"$JS.API.DIRECT.GET.POST",
		"$JS.API.STREAM.PURGE.POST",
		"$JS.API.STREAM.DELETE.POST",
		"$JS.ACK.POST.punjab_referral_bulk.1.1.1.1.1",
		"_INBOX.punjab.referral.x",
	}
	for _, subject := range publish {
		must(t, conn.Publish(subject, []byte("{}")))
		mustBeRefused(t, refused, "publish to "+subject)
	}
	for _, subject := range []string{"amanat.post.>", "amanat.post.punjab.referral.bulk.*.*", "_INBOX.punjab.referral.>", "_INBOX.>", ">", "$JS.>"} {
		_, err := conn.SubscribeSync(subject)
		must(t, err)
		mustBeRefused(t, refused, "subscribe to "+subject)
	}
}

func TestHubRefusesStrangers(t *testing.T) {
	refusesStrangers(t, startHub(t, posttest.Network(t)))
}

func refusesStrangers(t *testing.T, h *hubServer) {
	t.Helper()
	id, err := identity.Load(h.root, "sindh", posttest.Service)
	must(t, err)
	config := h.config(t, id)
	stranger, err := nkeys.CreateUser()
	must(t, err)
	name, err := stranger.PublicKey()
	must(t, err)
	_, err = nats.Connect(config.URL, nats.Secure(config.TLS), nats.Nkey(name, stranger.Sign))
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Fatalf("a key that is not in the roster got %v, want %v", err, nats.ErrAuthorization)
	}
}

func mustBeRefused(t *testing.T, refused <-chan error, what string) {
	t.Helper()
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Fatalf("%s: %v, want a permissions violation", what, err)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("%s was allowed", what)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// What was applied leaves the hub: acknowledgements are among what a service is allowed.
func TestHubKeepsNothingThatArrived(t *testing.T) {
	root := posttest.Network(t)
	h := startHub(t, root)
	sindh, punjab := posttest.NewOffice(t, h, root, "sindh"), posttest.NewOffice(t, h, root, "punjab")
	punjab.Start()
	sindh.Start()
	for range 5 {
		sindh.QueueAll(punjab, postv1.Lane_LANE_URGENT, []string{"a", "b", "c"})
	}
	posttest.Wait(t, "all arrive", func() bool { return len(punjab.Received()) == 15 && sindh.Unreceipted() == 0 })
	posttest.Wait(t, "the hub is empty", func() bool {
		stream, err := h.js.Stream(t.Context(), "POST")
		must(t, err)
		return stream.CachedInfo().State.Msgs == 0
	})
}

// Mail to nobody is not kept: what no mailbox takes in would lie at the hub for ever, until one sender had filled it for all.
func TestHubKeepsNoMailToNobody(t *testing.T) {
	h := startHub(t, posttest.Network(t))
	id, err := identity.Load(h.root, "sindh", posttest.Service)
	must(t, err)
	config := h.config(t, id)
	conn, err := nats.Connect(config.URL, nats.Secure(config.TLS), nats.Nkey(config.NKey, config.Sign), nats.CustomInboxPrefix("_INBOX.sindh."+posttest.Service))
	must(t, err)
	defer conn.Close()
	for _, mailbox := range []string{"nowhere." + posttest.Service + ".bulk", "punjab.nobody.bulk", "punjab." + posttest.Service + ".slow"} {
		answer, err := conn.Request("amanat.post."+mailbox+".sindh."+posttest.Service, []byte("x"), 5*time.Second)
		if !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("mail to %s was taken: %v %v", mailbox, answer, err)
		}
	}
}

// A full mailbox is noticed by the sender, and what did not fit is sent when there is room.
func TestFullMailboxIsNoticed(t *testing.T) {
	root := posttest.Network(t)
	h := startHub(t, root)
	sindh, punjab := posttest.NewOffice(t, h, root, "sindh"), posttest.NewOffice(t, h, root, "punjab")
	sindh.Start()
	const subject = "amanat.post.punjab." + posttest.Service + ".bulk.sindh." + posttest.Service
	for {
		answer, err := h.admin.Request(subject, []byte("filling"), 5*time.Second)
		must(t, err)
		if bytes.Contains(answer.Data, []byte(`"error"`)) {
			break
		}
	}
	sindh.QueueAll(punjab, postv1.Lane_LANE_BULK, []string{"patient"})
	posttest.Wait(t, "the refusal is noticed", func() bool { return sindh.Counted("parcel-out", "not-taken") > 0 })
	sindh.QueueAll(punjab, postv1.Lane_LANE_URGENT, []string{"urgent"}) // another subject has room
	punjab.Start()
	posttest.Wait(t, "both arrive", func() bool { return len(punjab.Received()) == 2 && sindh.Unreceipted() == 0 })
}

// What one sender can leave in a mailbox that nobody reads is bounded by bytes too, and takes no room from another.
func TestOneSenderFillsNoHub(t *testing.T) {
	h := startHub(t, posttest.Network(t))
	const mailbox, most = "amanat.post.punjab." + posttest.Service + ".bulk.", 34 << 20
	put := func(from string, size int) bool {
		answer, err := h.admin.Request(mailbox+from+"."+posttest.Service, make([]byte, size), 5*time.Second)
		must(t, err)
		return !bytes.Contains(answer.Data, []byte(`"error"`))
	}
	if put("sindh", post.MaxParcel+32<<10) {
		t.Error("a message was taken that is larger than any parcel")
	}
	left := 0
	for put("sindh", post.MaxParcel) {
		if left += post.MaxParcel; left > most {
			t.Fatalf("%d bytes were taken, want no more than %d", left, most)
		}
	}
	if left < 8*post.MaxParcel {
		t.Errorf("%d bytes were taken, which is less than may be under way", left)
	}
	if !put("federal", post.MaxParcel) {
		t.Error("another sender finds no room")
	}
}

// What lies at the hub for or from who is not active is thrown away, and nothing more is taken for it. When it is there again, all arrives: its
// senders have kept it.
func TestMailOfTheAbsentIsSentAgain(t *testing.T) {
	root := posttest.Network(t)
	h := startHub(t, root)
	sindh, punjab := posttest.NewOffice(t, h, root, "sindh"), posttest.NewOffice(t, h, root, "punjab")
	holds := func() uint64 {
		stream, err := h.js.Stream(t.Context(), "POST")
		must(t, err)
		return stream.CachedInfo().State.Msgs
	}
	provision := func(change func(*identityv1.RosterNode)) {
		var nodes []*identityv1.RosterNode
		for _, n := range h.roster.Nodes() {
			n = proto.CloneOf(n)
			change(n)
			nodes = append(nodes, n)
		}
		must(t, post.ProvisionHub(t.Context(), h.js, nodes, hubBytes))
		must(t, post.ClearHub(t.Context(), h.js, nodes))
	}
	gone := func(name string, how func(*identityv1.RosterNode)) func(*identityv1.RosterNode) {
		return func(n *identityv1.RosterNode) {
			if n.GetNode() == name {
				how(n)
			}
		}
	}
	suspended := func(n *identityv1.RosterNode) { n.State = identityv1.RosterNode_STATE_SUSPENDED }
	dropped := func(n *identityv1.RosterNode) { n.Services = nil }
	changes := []func(*identityv1.RosterNode){gone("punjab", suspended), gone("punjab", dropped), gone("sindh", suspended)}
	sindh.Start()
	var all []string
	for i, change := range changes {
		said := fmt.Sprint(i)
		all = append(all, said)
		sindh.QueueAll(punjab, postv1.Lane_LANE_BULK, []string{said})
		posttest.Wait(t, "the hub has it", func() bool { return holds() > 0 })
		sindh.Stop() // so that it sends nothing between
		provision(change)
		if n := holds(); n != 0 {
			t.Errorf("%d messages lie there for or from who is not active", n)
		}
		if _, err := h.js.Publish(t.Context(), "amanat.post.punjab."+posttest.Service+".bulk.federal.federal", []byte("x")); i < 2 && err == nil {
			t.Error("mail to who is not active is taken")
		}
		sindh.Start()
		provision(func(*identityv1.RosterNode) {})
	}
	punjab.Start()
	posttest.Wait(t, "all arrive", func() bool { return len(punjab.Received()) >= len(all) && sindh.Unreceipted() == 0 })
	if got := punjab.Received(); !slices.Equal(got, all) {
		t.Errorf("received %q, want %q", got, all)
	}
	posttest.Wait(t, "nothing is left", func() bool { return holds() == 0 })
}

// A service that dies again and again before it has told the hub of what it read is not kept waiting for that: its mailbox goes on.
func TestDyingServiceReadsOn(t *testing.T) {
	h := startHub(t, posttest.Network(t))
	for i := range 250 { // of five senders, none of whom may leave so many
		subject := fmt.Sprintf("amanat.post.punjab.%s.bulk.sindh.%d", posttest.Service, i%5)
		answer, err := h.admin.Request(subject, []byte("x"), 5*time.Second)
		must(t, err)
		if bytes.Contains(answer.Data, []byte(`"error"`)) {
			t.Fatalf("the mailbox is full: %s", answer.Data)
		}
	}
	for life := range 10 {
		transport := h.Transport(t, "punjab", posttest.Service)
		late := time.NewTimer(15 * time.Second)
		select {
		case <-transport.Mail(postv1.Lane_LANE_BULK): // and not a word to the hub
		case <-late.C:
			t.Fatalf("life %d reads nothing", life)
		}
		late.Stop()
		transport.(*post.NATS).Close()
	}
}
