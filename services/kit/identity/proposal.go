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
	"time"

	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/durable"
)

// Draft says what the next version of the roster is to change.
type Draft struct {
	// Requests of nodes that join, or that come back with new keys.
	Requests []*identityv1.NodeRequest
	// Replace allows a request to replace the keys of a node that is in the roster, after it lost them.
	Replace bool
	// Suspend, Readmit and Retire name nodes. Who retires comes back with new keys alone.
	Suspend, Readmit, Retire []string
}

// Propose drafts the version after the one installed at a node. It carries no signature yet.
func Propose(root, node string, now time.Time, d Draft) (*identityv1.RosterFile, error) {
	r, err := LoadRoster(root, node)
	if err != nil {
		return nil, err
	}
	for _, request := range d.Requests {
		if err := r.mayEnter(request, d.Replace); err != nil {
			return nil, err
		}
	}
	states, err := r.states(d)
	if err != nil {
		return nil, err
	}
	if len(d.Requests)+len(states) == 0 {
		return nil, errors.New("nothing would change: name a request or a node")
	}
	next, err := NextRoster(r.log, now, d.Requests, states)
	if err != nil {
		return nil, err
	}
	log := proto.CloneOf(r.log)
	log.Versions = append(log.Versions, next)
	return &identityv1.RosterFile{Log: log, Requests: d.Requests}, nil
}

// mayEnter refuses a request that does not come from a new node, unless its keys are to be replaced.
func (r *Roster) mayEnter(request *identityv1.NodeRequest, replace bool) error {
	asks, err := OpenRequest(request)
	if err != nil {
		return err
	}
	entry, known := r.Node(asks.GetNode())
	switch {
	case !known:
		return nil
	case bytes.Equal(entry.GetCaCertificate(), asks.GetCaCertificate()):
		return fmt.Errorf("field node: %s is in the roster with this very request; there is nothing to add", asks.GetNode())
	case !replace:
		return fmt.Errorf("field node: a node %s is in the roster with other keys: a new node takes another name; "+
			"if it is the same one that lost its keys, say so with --replace", asks.GetNode())
	}
	return nil
}

func (r *Roster) states(d Draft) (map[string]identityv1.RosterNode_State, error) {
	states := map[string]identityv1.RosterNode_State{}
	for _, change := range []struct {
		names []string
		to    identityv1.RosterNode_State
		from  []identityv1.RosterNode_State
	}{
		{d.Suspend, identityv1.RosterNode_STATE_SUSPENDED, []identityv1.RosterNode_State{identityv1.RosterNode_STATE_ACTIVE}},
		{d.Readmit, identityv1.RosterNode_STATE_ACTIVE, []identityv1.RosterNode_State{identityv1.RosterNode_STATE_SUSPENDED}},
		{d.Retire, identityv1.RosterNode_STATE_RETIRED, []identityv1.RosterNode_State{identityv1.RosterNode_STATE_ACTIVE, identityv1.RosterNode_STATE_SUSPENDED}},
	} {
		for _, name := range change.names {
			entry, known := r.Node(name)
			if !known {
				return nil, fmt.Errorf("node %q is not in the roster: name one that is", name)
			}
			if !slices.Contains(change.from, entry.GetState()) {
				return nil, fmt.Errorf("node %s is %s and cannot become %s; one that retired comes back with a request", name, stateName(entry.GetState()), stateName(change.to))
			}
			states[name] = change.to
		}
	}
	return states, nil
}

func stateName(s identityv1.RosterNode_State) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}

// Review is what a person looks at before signing or installing the newest version of a file.
type Review struct {
	// Network is NetworkFingerprint, Fingerprint is VersionFingerprint of the newest version.
	Network, Fingerprint string
	// Version is the newest version's number.
	Version uint64
	// Changes from the version before, one a line.
	Changes []string
	// Signed and Missing are the nodes entitled to sign; Needed is how many must.
	Signed, Missing []string
	Needed          int
}

// Complete says that enough have signed.
func (r *Review) Complete() bool { return len(r.Signed) >= r.Needed }

// Examine verifies all of a file but whether enough have signed its newest version, and says what that version changes. Where new
// keys come in, the file must carry the request that proves them, unless enough have signed already.
func Examine(file *identityv1.RosterFile) (*Review, error) {
	review, err := examine(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRoster, err)
	}
	return review, nil
}

func examine(file *identityv1.RosterFile) (*Review, error) {
	versions := file.GetLog().GetVersions()
	if len(versions) == 0 {
		return nil, errors.New("field log: it has no version; ask for the file again")
	}
	last := len(versions) - 1
	before := &Roster{log: file.GetLog()}
	if last > 0 {
		var err error
		if before, err = VerifyLog(&identityv1.RosterLog{Versions: versions[:last]}); err != nil {
			return nil, err
		}
		before.log = file.GetLog()
	}
	next, signatures, err := before.open(last)
	if err != nil {
		return nil, fmt.Errorf("version %d: %w", last+1, err)
	}
	changes, err := before.changes(next, file.GetRequests(), signatures.enough())
	if err != nil {
		return nil, fmt.Errorf("version %d: %w", last+1, err)
	}
	return &Review{
		Network: NetworkFingerprint(file.GetLog()), Fingerprint: VersionFingerprint(versions[last]), Version: next.GetVersion(),
		Changes: changes, Signed: signatures.signed, Missing: signatures.missing, Needed: signatures.needed,
	}, nil
}

// changes says what a version changes, and verifies the requests behind it.
func (r *Roster) changes(next *identityv1.Roster, requests []*identityv1.NodeRequest, settled bool) ([]string, error) {
	asked := map[string]*identityv1.NodeRequest{}
	for _, request := range requests {
		n, err := OpenRequest(request)
		if err != nil {
			return nil, fmt.Errorf("field requests: %w", err)
		}
		if !proto.Equal(n, find(next.GetNodes(), n.GetNode())) {
			return nil, fmt.Errorf("field requests: the entry of node %s is not what it asked for; have the version drafted anew", n.GetNode())
		}
		asked[n.GetNode()] = request
	}
	var lines []string
	for _, n := range next.GetNodes() {
		old := find(r.current.GetNodes(), n.GetNode())
		if proto.Equal(old, n) {
			continue
		}
		request := asked[n.GetNode()]
		if request == nil && !settled && r.current != nil && !sameKeys(old, n) {
			return nil, fmt.Errorf("field requests: the request behind the new keys of node %s is missing; have the version drafted anew from it", n.GetNode())
		}
		lines = append(lines, describe(old, n, request)...)
	}
	return lines, nil
}

func sameKeys(old, now *identityv1.RosterNode) bool {
	if old == nil {
		return false
	}
	a, b := proto.CloneOf(old), proto.CloneOf(now)
	for _, n := range []*identityv1.RosterNode{a, b} {
		n.DisplayName, n.State = "", 0
	}
	return proto.Equal(a, b)
}

func describe(old, now *identityv1.RosterNode, request *identityv1.NodeRequest) (lines []string) {
	name := now.GetNode()
	say := func(format string, values ...any) { lines = append(lines, name+" "+fmt.Sprintf(format, values...)) }
	proved := ""
	if request != nil {
		proved = "; fingerprint of its request: " + RequestFingerprint(request)
	}
	var services []string
	for _, s := range now.GetServices() {
		services = append(services, s.GetService())
	}
	switch {
	case old == nil:
		province := now.GetProvince()
		if province == "" {
			province = "no province: the federal node"
		}
		say("joins: %q, %s, services %s%s", now.GetDisplayName(), province, strings.Join(services, ", "), proved)
		return lines
	case !sameKeys(old, now):
		say("gets new keys, services %s; its old keys count for what they signed before%s", strings.Join(services, ", "), proved)
	}
	if old.GetDisplayName() != now.GetDisplayName() {
		say("is called %q, before %q", now.GetDisplayName(), old.GetDisplayName())
	}
	if old.GetState() != now.GetState() {
		say("becomes %s, before %s", stateName(now.GetState()), stateName(old.GetState()))
	}
	return lines
}

// ErrSignedAnother says that a node has signed another version of the same number.
var ErrSignedAnother = errors.New("this node has signed another version of this number: two would split the network")

// Sign adds a node's signature to the newest version of a file, which must be the one after those installed at the node. The node
// keeps in mind what it signed: another version of the same number is refused (ErrSignedAnother), unless instead says that the
// earlier one was given up everywhere.
func Sign(root, node string, file *identityv1.RosterFile, instead bool) (*Review, error) {
	review, err := Examine(file)
	if err != nil {
		return nil, err
	}
	installed, err := LoadRoster(root, node)
	if err != nil {
		return nil, err
	}
	if err := continues(file.GetLog(), installed.Log()); err != nil {
		return nil, err
	}
	switch {
	case review.Version == installed.Version():
		return nil, fmt.Errorf("version %d is installed here: there is nothing to sign", review.Version)
	case review.Version > installed.Version()+1:
		return nil, fmt.Errorf("the file's newest version is %d, here is %d: install version %d first", review.Version, installed.Version(), review.Version-1)
	}
	proposed := file.GetLog().GetVersions()[review.Version-1]
	err = alone(root, node, func() error { return rememberSigned(root, node, review.Version, proposed, instead) })
	if err != nil {
		return nil, err
	}
	if err := SignRoster(root, node, proposed); err != nil {
		return nil, err
	}
	return Examine(file)
}

// rememberSigned writes down what is about to be signed, in one line: number and hash.
func rememberSigned(root, node string, version uint64, proposed *identityv1.SignedRoster, instead bool) error {
	path := filepath.Join(nodeDir(root, node), signedFile)
	line := fmt.Sprintf("%d %x\n", version, sha256.Sum256(proposed.GetRoster()))
	earlier, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	number, _, _ := strings.Cut(string(earlier), " ")
	if number == fmt.Sprint(version) && string(earlier) != line && !instead {
		return fmt.Errorf("version %d: %w; if that one was given up everywhere, say so with --instead", version, ErrSignedAnother)
	}
	return durable.Replace(path, []byte(line))
}

// Merge puts the signatures of several copies of one file together.
func Merge(files ...*identityv1.RosterFile) (*identityv1.RosterFile, error) {
	merged := proto.CloneOf(files[0])
	versions := merged.GetLog().GetVersions()
	for _, file := range files[1:] {
		others := file.GetLog().GetVersions()
		if len(versions) == 0 || len(others) != len(versions) ||
			!slices.EqualFunc(versions, others, func(a, b *identityv1.SignedRoster) bool { return bytes.Equal(a.GetRoster(), b.GetRoster()) }) {
			return nil, errors.New("the files are not copies of one roster: name copies of the same draft alone")
		}
		last := versions[len(versions)-1]
		for _, s := range others[len(others)-1].GetSignatures() {
			known := slices.ContainsFunc(last.GetSignatures(), func(k *identityv1.RosterSignature) bool { return proto.Equal(k, s) })
			if !known {
				last.Signatures = append(last.Signatures, s)
			}
		}
	}
	return merged, nil
}
