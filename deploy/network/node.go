package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/identity"
)

// layoutFile holds the addresses of the nodes under a root, and of the hub. An operator may change them: the next start takes
// them up.
const layoutFile = "network.json"

// Numbers that a node which joins may have: those below are the demo's, and those above would take the hub's port.
const (
	FirstNumber = 4
	LastNumber  = 9
)

func loadAddresses(root string) (map[string]string, error) {
	return readAddresses(filepath.Join(root, layoutFile))
}

func readAddresses(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var a map[string]string
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if a == nil {
		return nil, fmt.Errorf("%s holds no addresses", path)
	}
	return a, nil
}

func saveAddresses(root string, a map[string]string) error {
	raw, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(root, layoutFile), append(raw, '\n'))
}

// Load is the layout of the nodes under a root that are in a network: those of the demo, or one that joined. Their addresses are in
// the file that Init or AddNode wrote, their names and provinces in the roster.
func Load(root string) (*Layout, error) {
	l := &Layout{Root: root}
	var err error
	if l.address, err = loadAddresses(root); err != nil {
		return nil, fmt.Errorf("no network under %s; make one with amanat init, or a node with amanat node init: %w", root, err)
	}
	names, err := NodesIn(root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		roster, err := identity.LoadRoster(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has not joined yet
		}
		if err != nil {
			return nil, err
		}
		entry, named := roster.Node(name)
		if !named {
			return nil, fmt.Errorf("the roster of %s does not name it", name)
		}
		l.Nodes = append(l.Nodes, Node{
			Name: name, DisplayName: entry.GetDisplayName(), Province: entry.GetProvince(), Services: servicesOf(entry.GetProvince()),
		})
	}
	if len(l.Nodes) == 0 {
		return nil, fmt.Errorf("no node under %s has joined a network yet: amanat join", root)
	}
	return l, nil
}

// Only narrows a layout to the nodes named.
func (l *Layout) Only(names ...string) (*Layout, error) {
	narrow := *l
	narrow.Nodes = nil
	for _, name := range names {
		n, err := l.Node(name)
		if err != nil {
			return nil, err
		}
		narrow.Nodes = append(narrow.Nodes, n)
	}
	return &narrow, nil
}

// AddNode makes the identity of one node of a province that is to join a network, with its request (identity.RequestPath), and
// enters its addresses, all on loopback by its number, under the root. hub is where the network's hub is, host:port.
func AddNode(root string, n Node, hub string) error {
	hub, err := checkHub(hub)
	if err != nil {
		return err
	}
	switch {
	case n.Number < FirstNumber || n.Number > LastNumber:
		return fmt.Errorf("number %d: use %d to %d, one for each node on this machine; other ports are entered in %s afterwards",
			n.Number, FirstNumber, LastNumber, layoutFile)
	case n.Province == "":
		return errors.New("province: give its ISO 3166-2 code, such as PK-KP; the federal node alone has none, and does not join")
	}
	all, err := loadAddresses(root)
	if errors.Is(err, fs.ErrNotExist) {
		all, err = map[string]string{}, nil
	}
	if err != nil {
		return err
	}
	if known := all[key(FederalNode, Hub)]; known != "" && known != hub {
		return fmt.Errorf("hub: the nodes under %s use %s; name that one, or another folder with --data", root, known)
	}
	all[key(FederalNode, Hub)] = hub
	taken := map[string]string{}
	for at, address := range all {
		taken[address] = at
	}
	own := addresses(n.Name, n.Number)
	for _, address := range slices.Sorted(maps.Values(own)) {
		if at, twice := taken[address]; twice {
			return fmt.Errorf("number %d: %s is the address of %s; use another number", n.Number, address, at)
		}
	}
	maps.Copy(all, own)
	_, err = identity.InitNode(identity.Options{
		Root: root, Node: n.Name, DisplayName: n.DisplayName, Province: n.Province, Services: append([]string{Bus}, servicesOf(n.Province)...),
	})
	if err != nil {
		return err
	}
	if err := backup.MakeRecipients(root, n.Name); err != nil {
		return err
	}
	return saveAddresses(root, all)
}

// checkHub takes host:port, with tls:// before it or not.
func checkHub(hub string) (string, error) {
	address := strings.TrimPrefix(hub, "tls://")
	host, port, err := net.SplitHostPort(address)
	if u, parsed := url.Parse("tls://" + address); err != nil || host == "" || port == "" || parsed != nil || u.Host != address {
		return "", errors.New("hub: give its address as host:port, such as hub.example:4230; the federal node's operator knows it")
	}
	return address, nil
}
