package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"amanat.example/deploy/network"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/post/posttest"
	"amanat.example/services/kit/soaktest"
)

// buildNATSServer builds the real nats-server at the version that deploy/go.mod names.
func buildNATSServer(t *testing.T) (path string) {
	t.Helper()
	return build(t, "nats-server", "github.com/nats-io/nats-server/v2")
}

// hubProcess is a nats-server of its own with the config that the operator's command writes.
type hubProcess struct {
	*hubServer
	binary, address, config, store string
	cmd                            *exec.Cmd
}

func startHubProcess(t testing.TB, binary, root string) *hubProcess {
	t.Helper()
	free, err := network.Free(t.TempDir())
	must(t, err)
	h := &hubProcess{binary: binary, address: free.Address(network.FederalNode, network.Hub), store: filepath.Join(root, network.FederalNode, network.Hub, "jetstream")}
	h.config, err = network.WriteHubConfig(root, h.address, hubBytes)
	must(t, err)
	// Beside the users of the roster one who sees and does everything, as who has taken over the machine could.
	intruder, err := nkeys.CreateUser()
	must(t, err)
	name, err := intruder.PublicKey()
	must(t, err)
	text, err := os.ReadFile(h.config)
	must(t, err)
	with := strings.Replace(string(text), "users: [", "users: [\n    {nkey: "+name+"}", 1)
	must(t, os.WriteFile(h.config, []byte(with), 0o600))
	roster, err := identity.LoadRoster(root, network.FederalNode)
	must(t, err)
	h.hubServer = &hubServer{tb: t, root: root, roster: roster, url: "tls://" + h.address}
	h.start()
	t.Cleanup(h.kill)
	h.connect(intruder)
	h.provision()
	return h
}

func (h *hubProcess) start() {
	h.tb.Helper()
	log, err := os.OpenFile(h.config+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(h.tb, err)
	h.cmd = exec.Command(h.binary, "-c", h.config)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	must(h.tb, h.cmd.Start())
	must(h.tb, log.Close())
}

// kill ends the process at once, at whatever point it is.
func (h *hubProcess) kill() {
	if h.cmd != nil {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait() // killed
		h.cmd = nil
	}
}

// provision is what the federal node's operator does; twice, since it may be done at any time.
func (h *hubProcess) provision() {
	h.tb.Helper()
	for range 2 {
		var err error
		posttest.Wait(h.tb, "the hub is provisioned", func() bool {
			err = network.ProvisionHub(context.Background(), h.root, h.address, hubBytes)
			return err == nil || !strings.Contains(err.Error(), "connect")
		})
		must(h.tb, err)
	}
}

// Wipe kills the server and removes its store.
func (h *hubProcess) Wipe(tb testing.TB) {
	tb.Helper()
	h.kill()
	must(tb, os.RemoveAll(h.store))
	h.start()
	h.provision()
}

// The suite of the post passes against a nats-server of its own, over TLS, with permissions made from the roster.
func TestPostOverNATSServer(t *testing.T) {
	t.Parallel()
	binary := buildNATSServer(t)
	posttest.Run(t, func(t *testing.T, root string) posttest.Hub { return startHubProcess(t, binary, root) })
}

func TestNATSServerRefuses(t *testing.T) {
	h := startHubProcess(t, buildNATSServer(t), posttest.Network(t))
	t.Run("a forged sender and a foreign mailbox", func(t *testing.T) { refusesForgeries(t, h.hubServer) })
	t.Run("mail to and from who provisions", func(t *testing.T) { refusesKeeper(t, h) })
	t.Run("strangers", func(t *testing.T) { refusesStrangers(t, h.hubServer) })
}

// refusesKeeper shows that the key that makes the streams speaks for nobody and listens to nobody.
func refusesKeeper(t *testing.T, h *hubProcess) {
	seed, err := os.ReadFile(filepath.Join(filepath.Dir(h.config), "keeper.nk"))
	must(t, err)
	key, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	must(t, err)
	name, err := key.PublicKey()
	must(t, err)
	id, err := identity.Load(h.root, "federal", "federal")
	must(t, err)
	trust, err := id.HubTLS()
	must(t, err)
	refused := make(chan error, 4)
	conn, err := nats.Connect(h.url, nats.Secure(trust), nats.Nkey(name, key.Sign),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	must(t, err)
	defer conn.Close()
	must(t, conn.Publish("amanat.post.punjab."+posttest.Service+".bulk.sindh."+posttest.Service, []byte("x")))
	mustBeRefused(t, refused, "publishing as a service")
	_, err = conn.SubscribeSync("amanat.post.>")
	must(t, err)
	mustBeRefused(t, refused, "listening to mail")
}

// Whatever becomes of the hub while letters go both ways, all arrive, once and in order.
func TestAccidentsOfNATSServer(t *testing.T) {
	t.Parallel()
	binary, each := buildNATSServer(t), soaktest.Count(t, 20, 60) // letters of each kind in a round
	old := func(h *hubProcess) string { return h.store + "-old" }
	for name, accident := range map[string]struct {
		before, happens func(t *testing.T, h *hubProcess)
	}{
		"killed": {nil, func(_ *testing.T, h *hubProcess) {
			h.kill()
			h.start()
		}},
		"wiped": {nil, func(t *testing.T, h *hubProcess) { h.Wipe(t) }},
		"rolled back to an older copy": {func(t *testing.T, h *hubProcess) {
			h.kill()
			must(t, os.CopyFS(old(h), os.DirFS(h.store)))
			h.start()
		}, func(t *testing.T, h *hubProcess) {
			h.kill()
			must(t, os.RemoveAll(h.store))
			must(t, os.CopyFS(h.store, os.DirFS(old(h))))
			h.start()
		}},
		"without its stream": {nil, func(t *testing.T, h *hubProcess) {
			must(t, h.js.DeleteStream(t.Context(), "POST"))
			h.provision()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := posttest.Network(t)
			h := startHubProcess(t, binary, root)
			sindh, punjab := posttest.NewOffice(t, h, root, "sindh"), posttest.NewOffice(t, h, root, "punjab")
			sindh.Start()
			punjab.Start()
			const rounds = 9
			var there, urgent, back []string
			for round := range rounds {
				for i := range each / 4 {
					said := func(what string) (all []string) {
						for j := range 4 {
							all = append(all, fmt.Sprintf("%s%04d", what, round*each+i*4+j))
						}
						return all
					}
					b, u, r := said("b"), said("u"), said("r")
					sindh.QueueAll(punjab, postv1.Lane_LANE_BULK, b)
					sindh.QueueAll(punjab, postv1.Lane_LANE_URGENT, u)
					punjab.QueueAll(sindh, postv1.Lane_LANE_BULK, r)
					there, urgent, back = append(there, b...), append(urgent, u...), append(back, r...)
				}
				switch {
				case round == 2 && accident.before != nil:
					accident.before(t, h)
				case round == 5:
					// What was acknowledged since the copy was made is what a rolled back hub forgets.
					posttest.Wait(t, "some arrived", func() bool { return len(punjab.Received()) > each })
					accident.happens(t, h)
				}
			}
			posttest.Wait(t, "all arrive", func() bool {
				return len(punjab.Received()) >= 2*rounds*each && len(sindh.Received()) >= rounds*each
			})
			posttest.Wait(t, "all are receipted", func() bool { return sindh.Unreceipted()+punjab.Unreceipted() == 0 })
			lane := func(prefix string) []string {
				return slices.DeleteFunc(punjab.Received(), func(s string) bool { return !strings.HasPrefix(s, prefix) })
			}
			if !slices.Equal(lane("b"), there) || !slices.Equal(lane("u"), urgent) || !slices.Equal(sindh.Received(), back) {
				t.Errorf("letters were lost, doubled or out of order: %d, %d and %d", len(lane("b")), len(lane("u")), len(sindh.Received()))
			}
			t.Logf("the hub was %s once, while %d letters went one way and %d the other", name, len(there)+len(urgent), len(back))
		})
	}
}

// A network whose hub is a nats-server of its own, readied with the operator's commands alone, hands children on, also when all streams of the
// hub are deleted meanwhile.
func TestHandoverOverNATSServer(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	binary := buildNATSServer(t)
	c := newCountry(t)
	amanat := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), c.amanat, append(args, "--data", c.layout.Root)...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := amanat("hub-provision"); err == nil || !strings.Contains(out, "amanat hub-config makes it") {
		t.Errorf("without a key: %v %s", err, out)
	}
	config, err := amanat("hub-config")
	must(t, err)
	if out, err := amanat("hub-provision"); err == nil || !strings.Contains(out, "connect to the hub at "+c.layout.Address(network.FederalNode, network.Hub)) {
		t.Errorf("without a hub: %v %s", err, out)
	}
	c.open(t, func(p network.Part) []string {
		if p.Name == network.Hub {
			return []string{binary, "-c", config}
		}
		return []string{c.amanat, "part", "--data", c.layout.Root, p.Node, p.Name}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	provision := func() {
		posttest.Wait(t, "the hub is provisioned", func() bool {
			_, err := amanat("hub-provision")
			return err == nil
		})
	}
	provision()
	provision()
	deleted := make(chan int, 1)
	names := c.play(ctx, t, 6, func(number int) {
		if number != 4 { // one has come home by then, and three are on their way
			return
		}
		n, err := deleteStreams(ctx, c.layout)
		if err != nil {
			t.Error(err)
		}
		provision()
		deleted <- n
	})
	n := <-deleted
	if n < 2 {
		t.Errorf("%d streams of the hub were deleted", n)
	}
	t.Logf("all %d streams of the hub were deleted once, with children under way", n)
	c.examine(ctx, t, names)
	c.stop()
	c.sound(t)
}

// deleteStreams deletes all streams of a hub that runs, as who has the key of who provisions, and says how many there were.
func deleteStreams(ctx context.Context, l *network.Layout) (n int, err error) {
	seed, err := os.ReadFile(filepath.Join(l.Root, network.FederalNode, network.Hub, "keeper.nk"))
	if err != nil {
		return 0, err
	}
	key, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		return 0, err
	}
	name, err := key.PublicKey()
	if err != nil {
		return 0, err
	}
	id, err := identity.Load(l.Root, network.FederalNode, network.Federal)
	if err != nil {
		return 0, err
	}
	trust, err := id.HubTLS()
	if err != nil {
		return 0, err
	}
	conn, err := nats.Connect("tls://"+l.Address(network.FederalNode, network.Hub), nats.Secure(trust), nats.Nkey(name, key.Sign), nats.CustomInboxPrefix("_INBOX.hub-keeper"))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	streams := js.StreamNames(ctx)
	for stream := range streams.Name() {
		if err := js.DeleteStream(ctx, stream); err != nil {
			return n, err
		}
		n++
	}
	return n, streams.Err()
}
