package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/nats-io/nkeys"
	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

var (
	nodePattern     = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}$`)
	servicePattern  = regexp.MustCompile(`^[a-z]{3,20}$`)
	provincePattern = regexp.MustCompile(`^(PK-[A-Z]{2})?$`)
)

var (
	// ErrBadSignature says that no key the roster ever held for that service made the signature.
	ErrBadSignature = errors.New("the signature was made by no key that the roster names for this service")
	// ErrUnknownService says that the newest roster names no such active node or service.
	ErrUnknownService = errors.New("the roster names no such node and service")
	// ErrBadRoster wraps every reason for which a roster log is not believed.
	ErrBadRoster = errors.New("the roster does not verify")
)

const rosterDomain = "amanat.roster.v1"

// serviceKey names one service of one node.
type serviceKey struct{ node, service string }

// Roster is a verified history of the network's membership. It does not change; a new version is
// a new Roster.
type Roster struct {
	log     *identityv1.RosterLog
	current *identityv1.Roster
	nodes   map[string]*identityv1.RosterNode
	signing map[serviceKey][]ed25519.PublicKey // newest first
	sealing map[serviceKey]hpke.PublicKey      // of the newest version, active nodes
}

// VerifyLog verifies a whole roster log: the hash chain, the signatures of every version (the
// first by all its nodes, each later one by a majority of the active nodes of the version
// before) and the form of every entry. The first version is believed because those who install
// it have compared it; nothing stands behind it.
func VerifyLog(log *identityv1.RosterLog) (*Roster, error) {
	if len(log.GetVersions()) == 0 {
		return nil, fmt.Errorf("%w: it has no version", ErrBadRoster)
	}
	r := &Roster{log: log, signing: map[serviceKey][]ed25519.PublicKey{}}
	for i, signed := range log.GetVersions() {
		next := &identityv1.Roster{}
		if err := proto.Unmarshal(signed.GetRoster(), next); err != nil {
			return nil, fmt.Errorf("%w: version %d cannot be read", ErrBadRoster, i+1)
		}
		var previousHash []byte
		if i > 0 {
			sum := sha256.Sum256(log.GetVersions()[i-1].GetRoster())
			previousHash = sum[:]
		}
		if err := checkVersion(r.current, next, previousHash, signed.GetSignatures(), signed.GetRoster()); err != nil {
			return nil, fmt.Errorf("%w: version %d: %w", ErrBadRoster, i+1, err)
		}
		r.current = next
		r.rememberKeys(next)
	}
	return r, r.indexCurrent()
}

func checkVersion(previous, next *identityv1.Roster, previousHash []byte, signatures []*identityv1.RosterSignature, signed []byte) error {
	if next.GetVersion() != previous.GetVersion()+1 {
		return fmt.Errorf("it calls itself version %d", next.GetVersion())
	}
	if !bytes.Equal(next.GetPreviousHash(), previousHash) {
		return errors.New("its previous hash is not that of the version before")
	}
	if err := checkNodes(next.GetNodes()); err != nil {
		return err
	}
	for _, old := range previous.GetNodes() {
		i := slices.IndexFunc(next.GetNodes(), func(n *identityv1.RosterNode) bool { return n.GetNode() == old.GetNode() })
		if i < 0 {
			return fmt.Errorf("node %s is gone; a node that leaves stays as retired", old.GetNode())
		}
	}
	voters, needed := previous.GetNodes(), 0
	if previous == nil {
		voters = next.GetNodes()
	}
	signers := map[string]bool{}
	for _, voter := range voters {
		if voter.GetState() != identityv1.RosterNode_STATE_ACTIVE {
			continue
		}
		needed++
		for _, s := range signatures {
			if s.GetNode() == voter.GetNode() && verifyDomain(voter.GetRosterKey(), rosterDomain, signed, s.GetSignature()) {
				signers[voter.GetNode()] = true
			}
		}
	}
	if previous != nil {
		needed = needed/2 + 1
	}
	if len(signers) < needed {
		return fmt.Errorf("%d of the nodes entitled to sign have signed, %d are needed", len(signers), needed)
	}
	return nil
}

func checkNodes(nodes []*identityv1.RosterNode) error {
	if len(nodes) == 0 {
		return errors.New("it names no node")
	}
	hubKeys := map[string]bool{}
	for i, n := range nodes {
		if i > 0 && nodes[i-1].GetNode() >= n.GetNode() {
			return errors.New("its nodes are not ordered by name, each once")
		}
		if err := checkNode(n); err != nil {
			return fmt.Errorf("node %q: %w", n.GetNode(), err)
		}
		for _, s := range n.GetServices() {
			if hubKeys[s.GetHubNkey()] {
				return fmt.Errorf("node %q: the hub key of %s is used twice", n.GetNode(), s.GetService())
			}
			hubKeys[s.GetHubNkey()] = true
		}
	}
	return nil
}

func checkNode(n *identityv1.RosterNode) error {
	switch {
	case !nodePattern.MatchString(n.GetNode()):
		return errors.New("field node: use 2 to 31 lower case letters, digits and hyphens, a letter first")
	case !provincePattern.MatchString(n.GetProvince()):
		return errors.New("field province: use an ISO 3166-2 code such as PK-PB, or nothing for the federal node")
	case n.GetState() != identityv1.RosterNode_STATE_ACTIVE && n.GetState() != identityv1.RosterNode_STATE_RETIRED:
		return errors.New("field state: use active or retired")
	case len(n.GetRosterKey()) != ed25519.PublicKeySize:
		return errors.New("field roster_key: 32 bytes are needed")
	}
	ca, err := x509.ParseCertificate(n.GetCaCertificate())
	if err != nil || !ca.IsCA || len(ca.URIs) != 1 || *ca.URIs[0] != *spiffeID(n.GetNode(), "") || ca.CheckSignatureFrom(ca) != nil {
		return errors.New("field ca_certificate: a self-signed CA for exactly this node is needed")
	}
	seen := map[string]bool{}
	for _, s := range n.GetServices() {
		name := s.GetService()
		if !servicePattern.MatchString(name) || seen[name] || reserved(name) {
			return fmt.Errorf("service %q: use 3 to 20 lower case letters, each name once, not operator or hub", name)
		}
		seen[name] = true
		if len(s.GetSigningKey()) != ed25519.PublicKeySize {
			return fmt.Errorf("service %s: field signing_key: 32 bytes are needed", name)
		}
		if _, err := kem().NewPublicKey(s.GetHpkeKey()); err != nil {
			return fmt.Errorf("service %s: field hpke_key: no ML-KEM-768 + X25519 key", name)
		}
		if !nkeys.IsValidPublicUserKey(s.GetHubNkey()) {
			return fmt.Errorf("service %s: field hub_nkey: no public NATS user key", name)
		}
	}
	return nil
}

func reserved(service string) bool { return service == operatorService || service == hubService }

func (r *Roster) rememberKeys(version *identityv1.Roster) {
	for _, n := range version.GetNodes() {
		for _, s := range n.GetServices() {
			at := serviceKey{n.GetNode(), s.GetService()}
			key := ed25519.PublicKey(s.GetSigningKey())
			known := slices.DeleteFunc(r.signing[at], func(k ed25519.PublicKey) bool { return k.Equal(key) })
			r.signing[at] = slices.Insert(known, 0, key)
		}
	}
}

func (r *Roster) indexCurrent() error {
	r.nodes = map[string]*identityv1.RosterNode{}
	r.sealing = map[serviceKey]hpke.PublicKey{}
	for _, n := range r.current.GetNodes() {
		r.nodes[n.GetNode()] = n
		if n.GetState() != identityv1.RosterNode_STATE_ACTIVE {
			continue
		}
		for _, s := range n.GetServices() {
			key, err := kem().NewPublicKey(s.GetHpkeKey())
			if err != nil {
				return fmt.Errorf("%w: HPKE key of %s at %s", ErrBadRoster, s.GetService(), n.GetNode())
			}
			r.sealing[serviceKey{n.GetNode(), s.GetService()}] = key
		}
	}
	return nil
}

// Version is the number of the newest version.
func (r *Roster) Version() uint64 { return r.current.GetVersion() }

// Log is the whole history, to hand to another node. The caller must not change it.
func (r *Roster) Log() *identityv1.RosterLog { return r.log }

// Node answers a node of the newest version, retired ones included. The caller must not change it.
func (r *Roster) Node(name string) (*identityv1.RosterNode, bool) {
	n, ok := r.nodes[name]
	return n, ok
}

// Nodes are all nodes of the newest version by name, retired ones included. The caller must not
// change them.
func (r *Roster) Nodes() []*identityv1.RosterNode { return r.current.GetNodes() }

// Verify checks a signature that Service.Sign made, against every key that any version of the
// roster named for that service: what was once rightly signed stays so. ErrBadSignature if none fits.
func (r *Roster) Verify(node, service, domain string, message, signature []byte) error {
	for _, key := range r.signing[serviceKey{node, service}] {
		if verifyDomain(key, domain, message, signature) {
			return nil
		}
	}
	return ErrBadSignature
}

// VerifyCurrent is Verify against the newest version's key of an active node alone: for what is signed anew whenever it is
// sent, so that a key that was replaced, because it was lost or stolen, says nothing any more.
func (r *Roster) VerifyCurrent(node, service, domain string, message, signature []byte) error {
	n := r.nodes[node]
	if n.GetState() != identityv1.RosterNode_STATE_ACTIVE {
		return ErrBadSignature
	}
	for _, s := range n.GetServices() {
		if s.GetService() == service && verifyDomain(s.GetSigningKey(), domain, message, signature) {
			return nil
		}
	}
	return ErrBadSignature
}

// Seal encrypts to a service (HPKE: ML-KEM-768 + X25519, HKDF-SHA256, AES-256-GCM). info says
// what is sealed and aad what it belongs to; Service.Open must be given the same. The answer is
// SealOverhead bytes longer than the plaintext. ErrUnknownService if the newest roster has no
// such active node and service.
func (r *Roster) Seal(node, service, info string, aad, plaintext []byte) ([]byte, error) {
	key, ok := r.sealing[serviceKey{node, service}]
	if !ok {
		return nil, fmt.Errorf("seal to %s at %s: %w", service, node, ErrUnknownService)
	}
	enc, sender, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(node, service, info))
	if err != nil {
		return nil, fmt.Errorf("seal to %s at %s: %w", service, node, err)
	}
	sealed, err := sender.Seal(aad, plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal to %s at %s: %w", service, node, err)
	}
	return append(enc, sealed...), nil
}

const (
	encapsulatedSize = 1088 + 32 // ML-KEM-768 ciphertext and X25519 share
	// SealOverhead is how many bytes Seal adds: the encapsulated key and the AEAD's tag.
	SealOverhead = encapsulatedSize + 16
)

func kem() hpke.KEM { return hpke.MLKEM768X25519() }

// sealInfo binds a sealed message to its receiver and purpose; lengths keep the parts apart.
func sealInfo(node, service, info string) []byte {
	b := []byte("amanat.seal.v1")
	for _, part := range []string{node, service, info} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// domainBytes is what is signed for a message: a fixed label, the domain with its length, the
// message. Any Ed25519 implementation can verify it.
func domainBytes(domain string, message []byte) []byte {
	b := make([]byte, 0, len(domain)+len(message)+32)
	b = append(b, "amanat.signature.v1"...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(domain)))
	b = append(b, domain...)
	return append(b, message...)
}

func signDomain(key ed25519.PrivateKey, domain string, message []byte) []byte {
	return ed25519.Sign(key, domainBytes(domain, message))
}

func verifyDomain(key ed25519.PublicKey, domain string, message, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, domainBytes(domain, message), signature)
}
