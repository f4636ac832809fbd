package network

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"amanat.example/deploy/calendar"
	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/process"
)

// Names of the services.
const (
	Protection = "protection"
	Referral   = "referral"
	Shelter    = "shelter"
	Federal    = "federal"
	Gateway    = "gateway"
	// Bus is a node's own NATS, Hub the one between nodes.
	Bus = process.BusName
	Hub = "hub"
)

// FederalNode runs the hub.
const FederalNode = "federal"

// Node is one installation of the network.
type Node struct {
	// Name, such as `punjab`.
	Name string
	// DisplayName is what people call it.
	DisplayName string
	// Province is the ISO 3166-2 code; empty for the federal node.
	Province string
	// Number gives the ports: 0 federal, 1 Sindh, 2 Punjab, 3 Balochistan, from 4 on who joins.
	Number int
	// Services it runs, its bus not among them.
	Services []string
}

// Nodes are those of the demo.
func Nodes() []Node {
	return []Node{
		{FederalNode, "Ministry of Human Rights", "", 0, servicesOf("")},
		{"sindh", "Sindh Child Protection Authority", "PK-SD", 1, servicesOf("PK-SD")},
		{"punjab", "Punjab Child Protection & Welfare Bureau", "PK-PB", 2, servicesOf("PK-PB")},
		{"balochistan", "Balochistan Child Protection Units", "PK-BA", 3, servicesOf("PK-BA")},
	}
}

// servicesOf says what a node runs: the federal node counts, a province protects.
func servicesOf(province string) []string {
	if province == "" {
		return []string{Federal, Gateway}
	}
	return []string{Protection, Referral, Shelter, Gateway}
}

// Layout says where everything of a network is.
type Layout struct {
	// Root is the data folder.
	Root string
	// Nodes of the network.
	Nodes []Node
	// LogLevel is the least severe that parts log: debug, info, warn or error. Empty: info.
	LogLevel string

	address map[string]string
}

func key(node, part string) string { return node + "/" + part }

// Fixed is the demo's layout: all on loopback, ports as DESIGN 8a says.
func Fixed(root string) *Layout {
	l := &Layout{Root: root, Nodes: Nodes(), address: map[string]string{}}
	for _, n := range l.Nodes {
		maps.Copy(l.address, addresses(n.Name, n.Number))
	}
	l.address[key(FederalNode, Hub)] = loopback(hubPort)
	return l
}

const hubPort = 4230

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// addresses of a node's parts on loopback, by its number.
func addresses(node string, number int) map[string]string {
	a := map[string]string{
		key(node, Gateway): loopback(8080 + number), key(node, Gateway+"-admin"): loopback(9000 + 100*number + 15),
		key(node, Bus): loopback(4220 + number),
	}
	for i, service := range []string{Protection, Referral, Shelter, Federal} {
		a[key(node, service)] = loopback(9000 + 100*number + i + 1)
		a[key(node, service+"-admin")] = loopback(9000 + 100*number + i + 11)
	}
	return a
}

// Free is a layout on ports that are free now, for tests. They lie below the range from which the
// kernel takes ports for outgoing connections, so that none of those takes one meanwhile, and no port is given twice by one process: a
// network whose parts are down keeps its own.
func Free(root string) (*Layout, error) {
	l := Fixed(root)
	var held []net.Listener
	defer func() {
		for _, h := range held {
			_ = h.Close()
		}
	}()
	for k := range l.address {
		h, err := listenBelow()
		if err != nil {
			return nil, err
		}
		held = append(held, h)
		l.address[k] = h.Addr().String()
	}
	return l, nil
}

// given are the ports that this process has handed out.
var given sync.Map

func listenBelow() (h net.Listener, err error) {
	const lowest, count, tries = 10000, 20000, 100
	for range tries {
		port := lowest + rand.IntN(count)
		if _, before := given.LoadOrStore(port, true); before {
			continue
		}
		if h, err = net.Listen("tcp", loopback(port)); err == nil {
			return h, nil
		}
	}
	return nil, errors.Join(errors.New("no free port"), err)
}

// Node finds a node by name.
func (l *Layout) Node(name string) (Node, error) {
	i := slices.IndexFunc(l.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, fmt.Errorf("the network has no node %q", name)
	}
	return l.Nodes[i], nil
}

// Address of a part of a node: a service, `<service>-admin`, Bus or Hub.
func (l *Layout) Address(node, part string) string { return l.address[key(node, part)] }

// HubAt says where the services of this layout find the hub, instead of where the network's file says.
func (l *Layout) HubAt(address string) error {
	address, err := checkHub(address)
	if err == nil {
		l.address[key(FederalNode, Hub)] = address
	}
	return err
}

// CheckPorts refuses a layout of which an address is in use, most often by a network that still runs.
func (l *Layout) CheckPorts() error {
	for _, p := range l.Parts() {
		for _, name := range []string{p.Name, p.Name + "-admin"} {
			address := l.Address(p.Node, name)
			if address == "" {
				continue
			}
			listener, err := net.Listen("tcp", address)
			if err != nil {
				return fmt.Errorf("%s of %s needs %s: %w; end what listens there, such as another demo", name, p.Node, address, err)
			}
			if err := listener.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Config is what a service of a node is started with.
func (l *Layout) Config(node, service string) config.Service {
	return config.Service{
		Data: l.Root, Node: node, LogLevel: cmp.Or(l.LogLevel, "info"),
		Listen: l.Address(node, service), Admin: l.Address(node, service+"-admin"),
		ProtectionAddress: l.Address(node, Protection), ReferralAddress: l.Address(node, Referral),
		ShelterAddress: l.Address(node, Shelter), FederalAddress: l.Address(node, Federal),
		NATSURL: "tls://" + l.Address(node, Bus), HubURL: "tls://" + l.Address(FederalNode, Hub),
	}
}

// calendarFile is that of the calendar on which a network plays a year; most have none.
const calendarFile = "calendar"

// MakeCalendar has the parts of the network begin at a time in the past, from their next start on, unless the network has a calendar already.
func (l *Layout) MakeCalendar(begin time.Time) error {
	return calendar.Create(filepath.Join(l.Root, calendarFile), begin)
}

// Calendar is the network's calendar; nil when it has none, and its time is the machine's.
func (l *Layout) Calendar() (*calendar.Calendar, error) {
	c, err := calendar.Open(filepath.Join(l.Root, calendarFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w; begin anew with make clean-data, or name another folder with --data", err)
	}
	return c, nil
}

// mayPlay refuses a calendar to all but the demo, whose nodes lie under one root: a node at work has the machine's clock, whatever lies in its folder.
func (l *Layout) mayPlay() error {
	for _, n := range Nodes() {
		if _, err := l.Node(n.Name); err != nil {
			return fmt.Errorf("%s is there, and only the demo has a calendar, which has all its nodes in one folder: remove it", filepath.Join(l.Root, calendarFile))
		}
	}
	return nil
}

// HasRun says that a service of the network has run before.
func (l *Layout) HasRun() bool {
	for _, n := range l.Nodes {
		for _, service := range n.Services {
			if _, err := os.Stat(filepath.Join(l.Root, n.Name, service, service+".db")); err == nil {
				return true
			}
		}
	}
	return false
}

// Init makes every node's identity and the roster that all have signed, unless they are there.
func (l *Layout) Init() error {
	_, err := os.Stat(filepath.Join(l.Root, FederalNode, "identity"))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.Root, layoutFile)); err == nil {
		return fmt.Errorf("%s holds a node of another network: name another folder with --data", l.Root)
	}
	var nodes []identity.Options
	for _, n := range l.Nodes {
		nodes = append(nodes, identity.Options{
			Root: l.Root, Node: n.Name, DisplayName: n.DisplayName, Province: n.Province,
			Services: []string{Bus, Protection, Referral, Shelter, Federal, Gateway}, Hub: n.Name == FederalNode,
		})
	}
	if err := identity.InitNetwork(nodes...); err != nil {
		return err
	}
	for _, n := range l.Nodes {
		if err := backup.MakeRecipients(l.Root, n.Name); err != nil {
			return err
		}
	}
	return saveAddresses(l.Root, l.address)
}
