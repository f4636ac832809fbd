package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nkeys"
	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/codes"
)

const (
	requestDomain = "amanat.node-request.v1"
	// proofDomain is followed by the name of the key, so that one key's proof is never another's.
	proofDomain = "amanat.key-proof.v1/"
	caProof     = "ca"
)

func signingProof(service string) string { return service + "/signing" }

func hubProof(service string) string { return service + "/hub" }

// prover is a private key that a request must prove to be held.
type prover struct {
	key  string
	sign func(message []byte) ([]byte, error)
}

func proveCA(ca *authority) prover {
	return prover{caProof, func(message []byte) ([]byte, error) {
		sum := sha256.Sum256(message)
		return ca.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	}}
}

func proveSigning(service string, key ed25519.PrivateKey) prover {
	return prover{signingProof(service), func(message []byte) ([]byte, error) { return ed25519.Sign(key, message), nil }}
}

func proveHub(service string, key nkeys.KeyPair) prover { return prover{hubProof(service), key.Sign} }

func signRequest(node *identityv1.RosterNode, key ed25519.PrivateKey, provers []prover) (*identityv1.NodeRequest, error) {
	data, err := proto.Marshal(node)
	if err != nil {
		return nil, fmt.Errorf("marshal the node: %w", err)
	}
	request := &identityv1.NodeRequest{Node: data, Signature: signDomain(key, requestDomain, data)}
	for _, p := range provers {
		signature, err := p.sign(domainBytes(proofDomain+p.key, data))
		if err != nil {
			return nil, fmt.Errorf("prove the key %s: %w", p.key, err)
		}
		request.Proofs = append(request.Proofs, &identityv1.KeyProof{Key: p.key, Signature: signature})
	}
	return request, nil
}

// OpenRequest verifies a node's request to be entered in the roster, with the proof of every key that can give one, and answers
// what it would stand for. That the sender is who it says must be confirmed by people (RequestFingerprint).
func OpenRequest(request *identityv1.NodeRequest) (*identityv1.RosterNode, error) {
	node := &identityv1.RosterNode{}
	if err := proto.Unmarshal(request.GetNode(), node); err != nil {
		return nil, errors.New("field node: it cannot be read; ask for the request again")
	}
	if err := checkNode(node); err != nil {
		return nil, fmt.Errorf("the request of node %q: %w", node.GetNode(), err)
	}
	if !verifyDomain(node.GetRosterKey(), requestDomain, request.GetNode(), request.GetSignature()) {
		return nil, fmt.Errorf("the request of node %s: field signature: it is not signed by its own roster key, or was changed; ask for it again", node.GetNode())
	}
	if err := checkProofs(node, request); err != nil {
		return nil, fmt.Errorf("the request of node %s: field proofs: %w", node.GetNode(), err)
	}
	return node, nil
}

func checkProofs(node *identityv1.RosterNode, request *identityv1.NodeRequest) error {
	given := map[string][]byte{}
	for _, p := range request.GetProofs() {
		if given[p.GetKey()] != nil {
			return fmt.Errorf("%q is proved twice; ask for the request again", p.GetKey())
		}
		given[p.GetKey()] = p.GetSignature()
	}
	verifiers, err := verifiersOf(node)
	if err != nil {
		return err
	}
	for key, verified := range verifiers {
		if !verified(domainBytes(proofDomain+key, request.GetNode()), given[key]) {
			return fmt.Errorf("it is not shown that the sender holds the key %s; have the request made anew by amanat node init", key)
		}
		delete(given, key)
	}
	if len(given) > 0 {
		return fmt.Errorf("%d are of keys that the request does not name; ask for the request again", len(given))
	}
	return nil
}

func verifiersOf(node *identityv1.RosterNode) (map[string]func(message, signature []byte) bool, error) {
	ca, err := x509.ParseCertificate(node.GetCaCertificate())
	if err != nil {
		return nil, err
	}
	all := map[string]func(message, signature []byte) bool{
		caProof: func(message, signature []byte) bool {
			return ca.CheckSignature(x509.ECDSAWithSHA256, message, signature) == nil
		},
	}
	for _, s := range node.GetServices() {
		hub, err := nkeys.FromPublicKey(s.GetHubNkey())
		if err != nil {
			return nil, err
		}
		all[hubProof(s.GetService())] = func(message, signature []byte) bool { return hub.Verify(message, signature) == nil }
		all[signingProof(s.GetService())] = func(message, signature []byte) bool {
			return ed25519.Verify(s.GetSigningKey(), message, signature)
		}
	}
	return all, nil
}

// checkProvince refuses a code that stands for no province today. Empty is the federal node's.
func checkProvince(code string, now time.Time) error {
	if code == "" {
		return nil
	}
	if err := codes.CheckOn(codes.Province, code, now); err != nil {
		return fmt.Errorf("field province: %w", err)
	}
	return nil
}
