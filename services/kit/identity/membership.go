package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/durable"
)

func signRequest(node *identityv1.RosterNode, key ed25519.PrivateKey) (*identityv1.NodeRequest, error) {
	data, err := proto.Marshal(node)
	if err != nil {
		return nil, fmt.Errorf("marshal the node: %w", err)
	}
	return &identityv1.NodeRequest{Node: data, Signature: signDomain(key, requestDomain, data)}, nil
}

// OpenRequest verifies a node's request to be entered in the roster and answers what it would
// stand for. That the sender is who it says must be confirmed by people.
func OpenRequest(request *identityv1.NodeRequest) (*identityv1.RosterNode, error) {
	node := &identityv1.RosterNode{}
	if err := proto.Unmarshal(request.GetNode(), node); err != nil {
		return nil, errors.New("the node request cannot be read")
	}
	if err := checkNode(node); err != nil {
		return nil, fmt.Errorf("the request of node %q: %w", node.GetNode(), err)
	}
	if !verifyDomain(node.GetRosterKey(), requestDomain, request.GetNode(), request.GetSignature()) {
		return nil, fmt.Errorf("the request of node %s is not signed by its own roster key", node.GetNode())
	}
	return node, nil
}

// NewRoster makes the first version of a network's roster, still unsigned: every node in it signs
// it with SignRoster.
func NewRoster(now time.Time, requests ...*identityv1.NodeRequest) (*identityv1.SignedRoster, error) {
	return nextVersion(&identityv1.Roster{}, nil, now, requests, nil)
}

// NextRoster makes the version after the log's newest, still unsigned: a majority of the nodes
// active so far signs it. A request of a node already in the roster replaces its entry; nodes
// named in retire leave.
func NextRoster(log *identityv1.RosterLog, now time.Time, requests []*identityv1.NodeRequest, retire []string) (*identityv1.SignedRoster, error) {
	r, err := VerifyLog(log)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(log.GetVersions()[len(log.GetVersions())-1].GetRoster())
	return nextVersion(r.current, sum[:], now, requests, retire)
}

func nextVersion(previous *identityv1.Roster, hash []byte, now time.Time, requests []*identityv1.NodeRequest, retire []string) (*identityv1.SignedRoster, error) {
	nodes := map[string]*identityv1.RosterNode{}
	for _, n := range previous.GetNodes() {
		nodes[n.GetNode()] = proto.CloneOf(n)
	}
	asked := map[string]bool{}
	for _, request := range requests {
		n, err := OpenRequest(request)
		if err != nil {
			return nil, err
		}
		if asked[n.GetNode()] {
			return nil, fmt.Errorf("two requests are from node %s", n.GetNode())
		}
		asked[n.GetNode()] = true
		nodes[n.GetNode()] = n
	}
	for _, name := range retire {
		if nodes[name] == nil {
			return nil, fmt.Errorf("node %q is not in the roster and cannot leave it", name)
		}
		nodes[name].State = identityv1.RosterNode_STATE_RETIRED
	}
	next := &identityv1.Roster{
		Version:      previous.GetVersion() + 1,
		PreviousHash: hash,
		CreateTime:   timestamppb.New(now),
	}
	for _, n := range nodes {
		next.Nodes = append(next.Nodes, n)
	}
	slices.SortFunc(next.Nodes, func(a, b *identityv1.RosterNode) int { return strings.Compare(a.GetNode(), b.GetNode()) })
	if err := checkNodes(next.GetNodes()); err != nil {
		return nil, fmt.Errorf("make roster version %d: %w", next.GetVersion(), err)
	}
	data, err := proto.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("marshal roster version %d: %w", next.GetVersion(), err)
	}
	return &identityv1.SignedRoster{Roster: data}, nil
}

// SignRoster adds the node's signature, made with its roster.key, to a proposed version; a
// signature it gave before is replaced. A person decides that the version is right.
func SignRoster(root, node string, proposed *identityv1.SignedRoster) error {
	key, err := readSigningKey(filepath.Join(nodeDir(root, node), rosterKeyFile))
	if err != nil {
		return fmt.Errorf("sign the roster for %s: %w", node, err)
	}
	proposed.Signatures = slices.DeleteFunc(proposed.GetSignatures(), func(s *identityv1.RosterSignature) bool {
		return s.GetNode() == node
	})
	proposed.Signatures = append(proposed.GetSignatures(), &identityv1.RosterSignature{
		Node:      node,
		Signature: signDomain(key, rosterDomain, proposed.GetRoster()),
	})
	return nil
}

// LoadRoster reads and verifies the roster installed at a node.
func LoadRoster(root, node string) (*Roster, error) {
	data, err := os.ReadFile(filepath.Join(nodeDir(root, node), rosterFile))
	if err != nil {
		return nil, fmt.Errorf("read the roster of %s: %w", node, err)
	}
	return parseRoster(data)
}

func parseRoster(data []byte) (*Roster, error) {
	log := &identityv1.RosterLog{}
	if err := proto.Unmarshal(data, log); err != nil {
		return nil, fmt.Errorf("%w: it cannot be read", ErrBadRoster)
	}
	return VerifyLog(log)
}

// InstallRoster verifies a log and makes it the node's roster. It must name this node with this
// node's own CA, and must begin with every version installed before: a roster is only ever
// extended. Running services take it up by themselves.
func InstallRoster(root, node string, log *identityv1.RosterLog) error {
	next, err := VerifyLog(log)
	if err != nil {
		return err
	}
	own, err := readPEM(filepath.Join(nodeDir(root, node), caCertFile), pemCertificate)
	if err != nil {
		return fmt.Errorf("install the roster of %s: %w", node, err)
	}
	if entry, ok := next.Node(node); !ok || !bytes.Equal(entry.GetCaCertificate(), own) {
		return fmt.Errorf("install the roster of %s: %w: it does not name this node with its own CA", node, ErrBadRoster)
	}
	installed, err := LoadRoster(root, node)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if !extends(log, installed.Log()) {
			return fmt.Errorf("install the roster of %s: %w: it does not continue the %d versions installed here",
				node, ErrBadRoster, installed.Version())
		}
	}
	data, err := proto.Marshal(log)
	if err != nil {
		return fmt.Errorf("marshal the roster: %w", err)
	}
	return durable.Replace(filepath.Join(nodeDir(root, node), rosterFile), data)
}

func extends(log, installed *identityv1.RosterLog) bool {
	if len(log.GetVersions()) < len(installed.GetVersions()) {
		return false
	}
	for i, v := range installed.GetVersions() {
		if !bytes.Equal(v.GetRoster(), log.GetVersions()[i].GetRoster()) {
			return false
		}
	}
	return true
}
