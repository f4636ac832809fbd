package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

// ErrCannotOpen says that a sealed message was not sealed to this service, for this purpose and
// with this associated data, or was changed.
var ErrCannotOpen = errors.New("the sealed message does not open: it is for another service or purpose, or was changed")

// Service is the identity of one service of one node: what a process needs to speak as itself.
// It is safe for concurrent use.
type Service struct {
	root, node, name string

	signing ed25519.PrivateKey
	sealing hpke.PrivateKey
	hub     nkeys.KeyPair
	hubName string

	certificate *watched[*tls.Certificate]
	public      *watched[*tls.Certificate] // nil unless a public certificate was put there
	roster      *watched[*Roster]
	authorities *x509.CertPool // the node's own CA, as the roster names it
	tokens      knownTokens
}

// Load reads the keys, the certificate and the roster of a service. It fails where they do not
// belong together: the roster must name this service with exactly these keys, and the
// certificate must come from the CA that the roster names for the node. A certificate out of
// date is not an error here, since it can be renewed while the process runs.
func Load(root, node, service string) (*Service, error) {
	s := &Service{root: root, node: node, name: service}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("load the identity of %s at %s: %w", service, node, err)
	}
	return s, nil
}

func (s *Service) load() (err error) {
	dir := serviceDir(s.root, s.node, s.name)
	if s.signing, err = readSigningKey(filepath.Join(dir, signingKeyFile)); err != nil {
		return err
	}
	sealing, err := readPEM(filepath.Join(dir, hpkeKeyFile), pemHPKEKey)
	if err != nil {
		return err
	}
	if s.sealing, err = kem().NewPrivateKey(sealing); err != nil {
		return fmt.Errorf("%s: %w", hpkeKeyFile, err)
	}
	seed, err := os.ReadFile(filepath.Join(dir, hubKeyFile))
	if err != nil {
		return err
	}
	if s.hub, err = nkeys.FromSeed(bytes.TrimSpace(seed)); err != nil {
		return fmt.Errorf("%s: %w", hubKeyFile, err)
	}
	if s.hubName, err = s.hub.PublicKey(); err != nil {
		return fmt.Errorf("%s: %w", hubKeyFile, err)
	}
	if s.roster, err = watch(filepath.Join(nodeDir(s.root, s.node), rosterFile), parseRoster); err != nil {
		return err
	}
	if err := s.checkRoster(); err != nil {
		return err
	}
	if s.certificate, err = watch(filepath.Join(dir, tlsFile), s.parseOwn); err != nil {
		return err
	}
	path := filepath.Join(dir, publicTLSFile)
	if s.public, err = watch(path, parseKeyPair); errors.Is(err, os.ErrNotExist) {
		s.public, err = nil, nil
	}
	return err
}

func (s *Service) checkRoster() error {
	entry, ok := s.Roster().Node(s.node)
	if !ok || entry.GetState() != identityv1.RosterNode_STATE_ACTIVE {
		return fmt.Errorf("the roster names no active node %s: %w", s.node, ErrUnknownService)
	}
	ca, err := x509.ParseCertificate(entry.GetCaCertificate())
	if err != nil {
		return fmt.Errorf("the CA in the roster: %w", err)
	}
	s.authorities = x509.NewCertPool()
	s.authorities.AddCert(ca)
	for _, named := range entry.GetServices() {
		if named.GetService() != s.name {
			continue
		}
		if !bytes.Equal(named.GetSigningKey(), s.signing.Public().(ed25519.PublicKey)) ||
			!bytes.Equal(named.GetHpkeKey(), s.sealing.PublicKey().Bytes()) || named.GetHubNkey() != s.hubName {
			return errors.New("its key files are not those the roster names; restore them, or enter the new ones in the roster")
		}
		return nil
	}
	return ErrUnknownService
}

func parseKeyPair(data []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// parseOwn reads the service's certificate and refuses one that is not its own.
func (s *Service) parseOwn(data []byte) (*tls.Certificate, error) {
	pair, err := parseKeyPair(data)
	if err != nil {
		return nil, err
	}
	node, service, err := certificateName(pair.Leaf)
	if err != nil {
		return nil, err
	}
	if node != s.node || service != s.name {
		return nil, fmt.Errorf("the certificate is for %s at %s", service, node)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		Roots:       s.authorities,
		CurrentTime: pair.Leaf.NotAfter, // whether it is in date is for the handshake to say
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("the certificate is not from the CA that the roster names for this node: %w", err)
	}
	return pair, nil
}

// Node is the node's name, such as `punjab`.
func (s *Service) Node() string { return s.node }

// Name is the service's name, such as `referral`.
func (s *Service) Name() string { return s.name }

// Roster is the newest roster installed at the node. It costs one stat of the file; the log is
// verified again only when the file was replaced. One that does not verify is not taken up; call
// Refresh to learn why.
func (s *Service) Roster() *Roster { return s.roster.get() }

// Refresh reads certificate and roster again if they were replaced and says what is wrong with
// them. Nothing depends on it being called: it is for health checks.
func (s *Service) Refresh() error {
	return errors.Join(s.certificate.refresh(), s.roster.refresh())
}

// Sign signs a message with the service's Ed25519 key for a domain, such as `amanat.custody.v1`:
// the signature verifies for that domain alone. 64 bytes; Roster.Verify checks it.
func (s *Service) Sign(domain string, message []byte) []byte {
	return signDomain(s.signing, domain, message)
}

// Open opens what Roster.Seal sealed to this service with the same info and aad. ErrCannotOpen
// if it does not.
func (s *Service) Open(info string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < SealOverhead {
		return nil, ErrCannotOpen
	}
	recipient, err := hpke.NewRecipient(sealed[:encapsulatedSize], s.sealing,
		hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(s.node, s.name, info))
	if err != nil {
		return nil, ErrCannotOpen
	}
	plaintext, err := recipient.Open(aad, sealed[encapsulatedSize:])
	if err != nil {
		return nil, ErrCannotOpen
	}
	return plaintext, nil
}

// HubNKey is the service's user at the hub: its public nkey and the answer to the hub's
// challenge, to be given to nats.Nkey.
func (s *Service) HubNKey() (public string, sign func(nonce []byte) ([]byte, error)) {
	return s.hubName, s.hub.Sign
}
