package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"amanat.example/deploy/network"
	"amanat.example/services/kit/soaktest"
)

// pair is a cable between this machine and a namespace: two interfaces, each with the other as its only neighbour.
type pair struct {
	t            *testing.T
	inside       *netlink.Handle
	here, there  netlink.Link
	hereIP, inIP net.IP
}

// nowhere is the address of no interface: what is sent to it over a cable is dropped at the other end, and who sends it is not told.
var nowhere = net.HardwareAddr{2, 0, 0, 0, 0, 9}

// namespace is a network of its own, with one cable for people and one for the line to the hub.
type namespace struct {
	handle       netns.NsHandle
	people, line *pair
}

// newNamespace makes one. Who may not is told which test stands for it.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	runtime.LockOSThread() // the thread is in the new one for a moment
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	must(t, err)
	defer func() { must(t, own.Close()) }()
	n := &namespace{}
	if n.handle, err = netns.New(); err != nil {
		t.Skipf("this user may make no network namespace (%v): links in user space are cut by TestDemoUnderFaults", err)
	}
	must(t, netns.Set(own))
	t.Cleanup(func() { must(t, n.handle.Close()) }) // and all cables in it
	inside, err := netlink.NewHandleAt(n.handle)
	must(t, err)
	t.Cleanup(inside.Close)
	loopback, err := inside.LinkByName("lo")
	must(t, err)
	must(t, inside.LinkSetUp(loopback))
	n.people, n.line = n.cable(t, inside), n.cable(t, inside)
	return n
}

// cable joins this machine to the namespace, in a range of addresses that is for tests of networks (RFC 2544).
func (n *namespace) cable(t *testing.T, inside *netlink.Handle) *pair {
	t.Helper()
	number := rand.IntN(1 << 15)
	name := fmt.Sprintf("amanat%05d", number)
	p := &pair{t: t, inside: inside}
	p.hereIP = net.IPv4(198, byte(18+number>>14), byte(number>>6), byte(number<<2)+1)
	p.inIP = net.IPv4(198, byte(18+number>>14), byte(number>>6), byte(number<<2)+2)
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(n.handle)})
	must(t, err)
	p.here, err = netlink.LinkByName(name)
	must(t, err)
	t.Cleanup(func() { must(t, netlink.LinkDel(p.here)) })
	p.there, err = inside.LinkByName(name)
	must(t, err)
	mask := net.CIDRMask(30, 32)
	must(t, netlink.AddrAdd(p.here, &netlink.Addr{IPNet: &net.IPNet{IP: p.hereIP, Mask: mask}}))
	must(t, inside.AddrAdd(p.there, &netlink.Addr{IPNet: &net.IPNet{IP: p.inIP, Mask: mask}}))
	must(t, netlink.LinkSetUp(p.here))
	must(t, inside.LinkSetUp(p.there))
	return p
}

// send has what is sent one way arrive, or not.
func (p *pair) send(w network.Way, arrives bool) {
	p.t.Helper()
	neighbour := func(ip net.IP, own, other netlink.Link) *netlink.Neigh {
		n := &netlink.Neigh{LinkIndex: own.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: ip, HardwareAddr: other.Attrs().HardwareAddr}
		if !arrives {
			n.HardwareAddr = nowhere
		}
		return n
	}
	if w == network.Out {
		must(p.t, p.inside.NeighSet(neighbour(p.hereIP, p.there, p.here)))
	} else {
		must(p.t, netlink.NeighSet(neighbour(p.inIP, p.here, p.there)))
	}
}

// inNamespace has a node that does not run yet run in a namespace, and the hub listen where its line ends.
func (c *country) inNamespace(t *testing.T, node string, n *namespace) {
	t.Helper()
	path := filepath.Join(c.layout.Root, "network.json")
	raw, err := os.ReadFile(path)
	must(t, err)
	var addresses map[string]string
	must(t, json.Unmarshal(raw, &addresses))
	for at, address := range addresses {
		_, port, err := net.SplitHostPort(address)
		must(t, err)
		switch {
		case strings.HasSuffix(at, "-admin"): // for the node's own machine alone
		case strings.HasPrefix(at, node+"/"):
			addresses[at] = net.JoinHostPort(n.people.inIP.String(), port)
		case at == network.FederalNode+"/"+network.Hub:
			addresses[at] = net.JoinHostPort(n.line.hereIP.String(), port)
		}
	}
	raw, err = json.Marshal(addresses)
	must(t, err)
	must(t, os.WriteFile(path, raw, 0o600))
	c.layout, err = network.Load(c.layout.Root)
	must(t, err)
}

// Punjab is behind a line of the kernel's, with nothing of ours in it: what is sent one way, the other, or both is dropped on it, and the
// line goes and comes. Nobody passes meanwhile, and afterwards all do, without a restart.
func TestLineOfANamespace(t *testing.T) {
	if testing.Short() {
		t.Skip("needs real processes for some time; run without -short")
	}
	t.Parallel()
	n := newNamespace(t)
	c := newCountry(t)
	c.inNamespace(t, there, n)
	entered := fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), int(n.handle))
	c.open(t, func(p network.Part) []string {
		part := []string{c.amanat, "part", "--data", c.layout.Root, p.Node, p.Name}
		if p.Node == there {
			part = append([]string{"nsenter", entered, "--"}, part...)
		}
		return part
	})
	lasts := time.Duration(soaktest.Count(t, 3, 60)) * time.Second // the connection to the hub is given up after 40 s
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+10*lasts)
	defer cancel()
	cut := func(ways ...network.Way) func(bool) {
		return func(mended bool) {
			for _, w := range ways {
				n.line.send(w, mended)
			}
		}
	}
	faults := []struct {
		name string
		set  func(mended bool)
	}{
		{"nothing goes out", cut(network.Out)},
		{"nothing comes in", cut(network.In)},
		{"nothing goes either way", cut(network.Out, network.In)},
		{"it is pulled out", func(mended bool) {
			if mended {
				must(t, n.line.inside.LinkSetUp(n.line.there))
			} else {
				must(t, n.line.inside.LinkSetDown(n.line.there))
			}
		}},
	}
	must(t, c.stage.Furnish(ctx, int32(len(faults)+1)))
	type way struct {
		name string
		err  error
	}
	var names []string
	begin := func(number int) chan way {
		done := make(chan way, 1)
		go func() {
			name, err := c.stage.Handover(ctx, number)
			done <- way{name, err}
		}()
		return done
	}
	arrived := func(w way) {
		t.Helper()
		must(t, w.err)
		names = append(names, w.name)
	}
	arrived(<-begin(0))
	for i, fault := range faults {
		fault.set(false)
		done := begin(i + 1)
		select {
		case w := <-done:
			t.Errorf("%s, and a child is handed on: %v", fault.name, w.err)
		case <-time.After(lasts):
		}
		fault.set(true)
		arrived(<-done)
	}
	c.examine(ctx, t, names)
	for _, p := range c.layout.Parts() {
		if r := c.supervisor.Restarts(p); r != 0 {
			t.Errorf("%s was started again %d times", p, r)
		}
	}
	t.Logf("a line was cut in %d ways for %v each, %d referrals", len(faults), lasts, len(names))
	c.stop()
	c.sound(t)
}
