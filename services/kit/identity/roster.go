package identity

import (
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"

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
	holders map[string]place                   // of every key that any version named
}

// VerifyLog verifies a whole roster log: the hash chain, the signatures of every version (the
// first by all its nodes, each later one by a majority of the active nodes of the version
// before) and the form of every entry. The first version is believed because those who install
// it have compared it; nothing stands behind it.
func VerifyLog(log *identityv1.RosterLog) (*Roster, error) {
	if len(log.GetVersions()) == 0 {
		return nil, fmt.Errorf("%w: it has no version", ErrBadRoster)
	}
	r := &Roster{log: log, signing: map[serviceKey][]ed25519.PublicKey{}, holders: map[string]place{}}
	for i := range log.GetVersions() {
		next, signatures, err := r.open(i)
		if err == nil && !signatures.enough() {
			err = errors.New(signatures.String())
		}
		if err == nil {
			err = r.remember(next)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: version %d: %w", ErrBadRoster, i+1, err)
		}
		r.current = next
	}
	return r, r.indexCurrent()
}

// open reads the version at index i of the log, which follows the current one, and judges it, but not whether enough have signed.
func (r *Roster) open(i int) (*identityv1.Roster, tally, error) {
	signed := r.log.GetVersions()[i]
	next := &identityv1.Roster{}
	if err := proto.Unmarshal(signed.GetRoster(), next); err != nil {
		return nil, tally{}, errors.New("it cannot be read")
	}
	var previousHash []byte
	if i > 0 {
		sum := sha256.Sum256(r.log.GetVersions()[i-1].GetRoster())
		previousHash = sum[:]
	}
	if err := r.checkForm(next, previousHash); err != nil {
		return nil, tally{}, err
	}
	signatures, err := r.count(next, signed.GetRoster(), signed.GetSignatures())
	return next, signatures, err
}

func (r *Roster) remember(version *identityv1.Roster) error {
	for _, n := range version.GetNodes() {
		keys, err := keysOf(n)
		if err != nil {
			return err
		}
		for at, key := range keys {
			r.holders[key] = at
		}
		for _, s := range n.GetServices() {
			at := serviceKey{n.GetNode(), s.GetService()}
			key := ed25519.PublicKey(s.GetSigningKey())
			known := slices.DeleteFunc(r.signing[at], func(k ed25519.PublicKey) bool { return k.Equal(key) })
			r.signing[at] = slices.Insert(known, 0, key)
		}
	}
	return nil
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

// Fingerprint is NetworkFingerprint of the log.
func (r *Roster) Fingerprint() string { return NetworkFingerprint(r.log) }

// Node answers a node of the newest version, suspended and retired ones included. The caller must not change it.
func (r *Roster) Node(name string) (*identityv1.RosterNode, bool) {
	n, ok := r.nodes[name]
	return n, ok
}

// Nodes are all nodes of the newest version by name, suspended and retired ones included. The caller must not
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
