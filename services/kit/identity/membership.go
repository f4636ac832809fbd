package identity

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/durable"
)

// NewRoster makes the first version of a network's roster, still unsigned: every node in it signs
// it with SignRoster.
func NewRoster(now time.Time, requests ...*identityv1.NodeRequest) (*identityv1.SignedRoster, error) {
	return nextVersion(&Roster{}, now, requests, nil)
}

// NextRoster makes the version after the log's newest, still unsigned: a majority of the nodes
// active so far signs it. A request of a node already in the roster replaces its entry; states
// gives nodes another state. For people, Draft refuses more.
func NextRoster(log *identityv1.RosterLog, now time.Time, requests []*identityv1.NodeRequest, states map[string]identityv1.RosterNode_State) (*identityv1.SignedRoster, error) {
	r, err := VerifyLog(log)
	if err != nil {
		return nil, err
	}
	return nextVersion(r, now, requests, states)
}

func nextVersion(r *Roster, now time.Time, requests []*identityv1.NodeRequest, states map[string]identityv1.RosterNode_State) (*identityv1.SignedRoster, error) {
	nodes := map[string]*identityv1.RosterNode{}
	for _, n := range r.current.GetNodes() {
		nodes[n.GetNode()] = proto.CloneOf(n)
	}
	asked := map[string]bool{}
	for _, request := range requests {
		n, err := OpenRequest(request)
		if err != nil {
			return nil, err
		}
		if err := checkProvince(n.GetProvince(), now); err != nil {
			return nil, fmt.Errorf("the request of node %s: %w", n.GetNode(), err)
		}
		if asked[n.GetNode()] {
			return nil, fmt.Errorf("two requests are from node %s: name one of them", n.GetNode())
		}
		asked[n.GetNode()] = true
		nodes[n.GetNode()] = n
	}
	for name, state := range states {
		if nodes[name] == nil {
			return nil, fmt.Errorf("node %q is not in the roster: name one that is", name)
		}
		nodes[name].State = state
	}
	next := &identityv1.Roster{Version: r.current.GetVersion() + 1, CreateTime: timestamppb.New(now)}
	if versions := r.log.GetVersions(); len(versions) > 0 {
		sum := sha256.Sum256(versions[len(versions)-1].GetRoster())
		next.PreviousHash = sum[:]
	}
	for _, n := range nodes {
		next.Nodes = append(next.Nodes, n)
	}
	slices.SortFunc(next.Nodes, func(a, b *identityv1.RosterNode) int { return strings.Compare(a.GetNode(), b.GetNode()) })
	if err := r.checkForm(next, next.GetPreviousHash()); err != nil {
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

// InstallRoster verifies a log and makes it the node's roster. It must name this node, as active and
// with this node's own CA, and must continue every version installed before: a roster is only ever
// extended. Running services take it up by themselves. A node is not made to install a version that
// suspends or retires it: for itself, and while nobody else hears it, it works on with the version before.
func InstallRoster(root, node string, log *identityv1.RosterLog) error {
	if err := alone(root, node, func() error { return installRoster(root, node, log) }); err != nil {
		return fmt.Errorf("install the roster of %s: %w", node, err)
	}
	return nil
}

// alone does what reads and then writes files of a node's identity while no other process does.
func alone(root, node string, work func() error) (err error) {
	dir, err := os.Open(nodeDir(root, node))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }() // and unlocks
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	return work()
}

func installRoster(root, node string, log *identityv1.RosterLog) error {
	next, err := VerifyLog(log)
	if err != nil {
		return err
	}
	own, err := readPEM(CACertificatePath(root, node), pemCertificate)
	if err != nil {
		return err
	}
	installed, err := LoadRoster(root, node)
	if err == nil {
		err = continues(log, installed.Log())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entry, named := next.Node(node)
	switch {
	case !named || !bytes.Equal(entry.GetCaCertificate(), own):
		return fmt.Errorf("%w: it does not name this node with its own CA; ask the members to enter the request of this node", ErrBadRoster)
	case !active(entry):
		return fmt.Errorf("%w: %w: keep the version installed here", ErrBadRoster, errNotActive)
	}
	data, err := proto.Marshal(log)
	if err != nil {
		return fmt.Errorf("marshal the roster: %w", err)
	}
	return durable.Replace(filepath.Join(nodeDir(root, node), rosterFile), data)
}

var errNotActive = errors.New("this node takes no part in the newest version")

// JoinNetwork is InstallRoster at a node that has no roster yet. The fingerprint of the network (NetworkFingerprint), which its
// operator has from a member by another way than the file, is what the first version is believed by.
func JoinNetwork(root, node string, log *identityv1.RosterLog, network string) error {
	if _, err := LoadRoster(root, node); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return err
		}
		return fmt.Errorf("node %s is in a network already; install newer versions with amanat roster publish", node)
	}
	if !SameFingerprint(network, NetworkFingerprint(log)) { // which one it is, is for a member to say, not for us
		return errors.New("the fingerprint given is not that of the network in the file: compare again with a member by telephone, " +
			"and do not join if it differs")
	}
	return InstallRoster(root, node, log)
}

// continues says why a log does not continue the one installed.
func continues(log, installed *identityv1.RosterLog) error {
	have, came := installed.GetVersions(), log.GetVersions()
	for i := range min(len(have), len(came)) {
		if bytes.Equal(have[i].GetRoster(), came[i].GetRoster()) {
			continue
		}
		if i == 0 {
			return fmt.Errorf("%w: it is of another network (%s) than this node (%s); ask a member of this network for the file",
				ErrBadRoster, NetworkFingerprint(log), NetworkFingerprint(installed))
		}
		return fmt.Errorf("%w: its version %d is another than the one installed here: one number was given twice; tell the other members, and agree on one",
			ErrBadRoster, i+1)
	}
	if len(came) < len(have) {
		return fmt.Errorf("%w: it ends at version %d, version %d is installed here; ask for the newest", ErrBadRoster, len(came), len(have))
	}
	return nil
}

// WatchRoster answers a function that gives the newest roster installed at a node, for a process that is no service of
// it, such as the hub. Each call costs one stat of the file; one that does not verify is not taken up.
func WatchRoster(root, node string) (func() *Roster, error) {
	watched, err := watch(filepath.Join(nodeDir(root, node), rosterFile), parseRoster)
	if err != nil {
		return nil, fmt.Errorf("read the roster of %s: %w", node, err)
	}
	return watched.get, nil
}
