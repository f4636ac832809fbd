package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/identity"
)

// wire stands between the NATS servers of a network and all who speak to them, and keeps every
// byte: subjects, headers, payloads, and what the servers answer. It needs no right at any server.
type wire struct {
	root string // as the NATS servers see it: the same files, and addresses behind the wire
	mu   sync.Mutex
	kept map[string][]*recording // by server
}

// recording is one direction of one connection.
type recording struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes.Write(p)
}

// each gives every recording of every server.
func (w *wire) each(visit func(server string, content []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for server, all := range w.kept {
		for _, r := range all {
			r.mu.Lock()
			visit(server, bytes.Clone(r.bytes.Bytes()))
			r.mu.Unlock()
		}
	}
}

// tap puts a wire before every NATS server of a network that does not run yet. The servers are to
// be started on wire.root.
func tap(t *testing.T, l *network.Layout) *wire {
	t.Helper()
	w := &wire{root: t.TempDir(), kept: map[string][]*recording{}}
	behind, err := network.Free(w.root)
	must(t, err)
	address := map[string]string{}
	for _, n := range l.Nodes {
		must(t, os.Symlink(filepath.Join(l.Root, n.Name), filepath.Join(w.root, n.Name)))
		gateway, err := identity.Load(l.Root, n.Name, network.Gateway)
		must(t, err)
		bus, err := identity.Load(l.Root, n.Name, network.Bus)
		must(t, err)
		to := behind.Address(n.Name, network.Bus)
		address[n.Name+"/"+network.Bus] = to
		w.relay(t, n.Name+"/"+network.Bus, l.Address(n.Name, network.Bus), bus.ServerTLS(), to, gateway.ClientTLS(network.Bus))
		if n.Name != network.FederalNode {
			continue
		}
		server, err := identity.HubServerTLS(l.Root, n.Name)
		must(t, err)
		client, err := gateway.HubTLS()
		must(t, err)
		to = behind.Address(n.Name, network.Hub)
		address[n.Name+"/"+network.Hub] = to
		w.relay(t, n.Name+"/"+network.Hub, l.Address(n.Name, network.Hub), server, to, client)
	}
	raw, err := json.Marshal(address)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(w.root, "network.json"), raw, 0o600))
	return w
}

func (w *wire) relay(t *testing.T, name, from string, server *tls.Config, to string, client *tls.Config) {
	t.Helper()
	listener, err := net.Listen("tcp", from)
	must(t, err)
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			open.Go(func() { w.carry(name, conn, server, to, client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		open.Wait()
	})
}

// carry joins a client to the server behind the wire. NATS says one line before TLS begins.
func (w *wire) carry(name string, front net.Conn, server *tls.Config, to string, client *tls.Config) {
	defer func() { _ = front.Close() }()
	back, err := net.Dial("tcp", to)
	if err != nil {
		return // the server is not up; the client comes again
	}
	defer func() { _ = back.Close() }()
	said, heard := &recording{}, &recording{}
	w.mu.Lock()
	w.kept[name] = append(w.kept[name], said, heard)
	w.mu.Unlock()
	for letter := make([]byte, 1); letter[0] != '\n'; {
		if _, err := io.ReadFull(io.TeeReader(back, io.MultiWriter(heard, front)), letter); err != nil {
			return
		}
	}
	upper, lower := tls.Server(front, server), tls.Client(back, client)
	ended := make(chan struct{}, 2)
	// Kept first: who has an answer finds here what was asked.
	go func() { _, _ = io.Copy(io.MultiWriter(said, lower), upper); ended <- struct{}{} }()
	go func() { _, _ = io.Copy(io.MultiWriter(heard, upper), lower); ended <- struct{}{} }()
	<-ended
	_, _ = front.Close(), back.Close()
	<-ended
}

// leaks searches what went to and from the NATS servers.
func (w *wire) leaks(t *testing.T, l *network.Layout, s *searcher) {
	t.Helper()
	carried, recordings := map[string]int{}, map[string]int{}
	w.each(func(server string, content []byte) {
		carried[server] += len(content)
		recordings[server]++
		s.none(t, "the wire of "+server, content)
	})
	// Every service speaks to its node's bus, and the control has spoken too. To the hub speak three services of
	// each of three provinces, two with letters and one with adverts; of the federal cell one.
	expected := map[string]int{network.FederalNode + "/" + network.Hub: 3*3 + 1 + 1}
	for _, n := range l.Nodes {
		expected[n.Name+"/"+network.Bus] = len(n.Services) // the gateway does not, the control does
	}
	for server, want := range expected {
		if got := recordings[server] / 2; got < want {
			t.Errorf("%d connections went over the wire of %s, expected at least %d", got, server, want)
		}
	}
	t.Logf("bytes over the wires of the NATS servers: %v", carried)
}

// provesItself shows that subject, header and payload of what anyone publishes are seen.
func (w *wire) provesItself(t *testing.T, l *network.Layout) {
	t.Helper()
	other := newFlock()
	for _, part := range l.Parts() {
		id, err := identity.Load(l.Root, part.Node, network.Gateway)
		must(t, err)
		options := []nats.Option{
			nats.Secure(id.ClientTLS(network.Bus)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		}
		switch part.Name {
		case network.Bus:
		case network.Hub: // where a gateway has no business
			id, err := identity.Load(l.Root, part.Node, network.Federal)
			must(t, err)
			trust, err := id.HubTLS()
			must(t, err)
			name, sign := id.HubNKey()
			options[0] = nats.Secure(trust)
			options = append(options, nats.Nkey(name, sign))
		default:
			continue
		}
		var conn *nats.Conn
		eventually(t, part.String()+" takes connections", func() bool {
			conn, err = nats.Connect("tls://"+l.Address(part.Node, part.Name), options...)
			return err == nil
		})
		must(t, conn.PublishMsg(&nats.Msg{
			Subject: "control." + other.stem + "1", Header: nats.Header{"Control": {other.stem + "2"}}, Data: []byte(other.stem + "3"),
		}))
		must(t, conn.Flush())
		conn.Close()
		var all string
		w.each(func(server string, content []byte) {
			if server == part.String() && len(other.searcher.find(content)) > 0 {
				all += string(content)
			}
		})
		for _, place := range []string{"1", "2", "3"} {
			if !strings.Contains(all, other.stem+place) {
				t.Errorf("%s: what was published is not seen on the wire (%s)", part, place)
			}
		}
	}
}
