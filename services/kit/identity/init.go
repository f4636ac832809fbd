package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nkeys"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/services/kit/durable"
)

// Options says which node to make.
type Options struct {
	// Root is the data folder; the node's files go to <Root>/<Node>.
	Root string
	// Node is its name, such as `punjab`: 2 to 31 lower case letters, digits and hyphens.
	Node string
	// DisplayName is what people call it.
	DisplayName string
	// Province is the ISO 3166-2 code it serves, such as PK-PB; empty for the federal node.
	Province string
	// Services to make keys for, such as `protection`, `referral`, `shelter`, `gateway`.
	Services []string
	// Hub makes a certificate for the hub too. Only the federal node's is trusted.
	Hub bool
	// Now is when certificates begin; the zero value means the present.
	Now time.Time
}

// InitNode makes a new node: its CA, the keys and certificates of its services, the operator's
// client certificate, and the request that enters it in the roster, which it writes to
// RequestPath and answers. It refuses, and changes nothing, where a part of the node exists
// already (the error wraps fs.ErrExist). The node works once a roster is installed.
func InitNode(o Options) (*identityv1.NodeRequest, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("init node %q: %w", o.Node, err)
	}
	request, err := o.make()
	if err != nil {
		return nil, fmt.Errorf("init node %s: %w", o.Node, err)
	}
	return request, nil
}

func (o *Options) check() error {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Hub && o.Province != "" {
		return errors.New("the hub belongs to the federal node, which has no province")
	}
	if err := checkProvince(o.Province, o.Now); err != nil {
		return err
	}
	if !nodePattern.MatchString(o.Node) {
		return errors.New("name it with 2 to 31 lower case letters, digits and hyphens, a letter first")
	}
	dirs := []string{nodeDir(o.Root, o.Node), OperatorDir(o.Root, o.Node)}
	for _, service := range append([]string{hubService}, o.Services...) {
		dirs = append(dirs, serviceDir(o.Root, o.Node, service))
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err == nil && len(entries) > 0 {
			return fmt.Errorf("%s is not empty and is never overwritten; move it away to begin anew: %w", dir, os.ErrExist)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (o *Options) make() (*identityv1.NodeRequest, error) {
	ca, err := newAuthority(o.Node, o.Now)
	if err != nil {
		return nil, err
	}
	rosterPublic, rosterKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the roster key: %w", err)
	}
	entry := &identityv1.RosterNode{
		Node: o.Node, DisplayName: o.DisplayName, Province: o.Province,
		State:         identityv1.RosterNode_STATE_ACTIVE,
		CaCertificate: ca.cert.Raw,
		RosterKey:     rosterPublic,
	}
	files := map[string][]byte{}
	provers := []prover{proveCA(ca)}
	services := slices.Sorted(slices.Values(o.Services))
	for _, service := range services {
		s, keys, err := o.makeService(ca, service, files)
		if err != nil {
			return nil, err
		}
		entry.Services, provers = append(entry.Services, s), append(provers, keys...)
	}
	if err := checkNode(entry); err != nil {
		return nil, err
	}
	if err := o.makeNode(ca, rosterKey, files); err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := durable.Create(path, files[path]); err != nil {
			return nil, err
		}
	}
	request, err := signRequest(entry, rosterKey, provers)
	if err != nil {
		return nil, err
	}
	data, err := EncodeRequest(request)
	if err != nil {
		return nil, err
	}
	// Last, so that its presence says that the node is complete.
	return request, durable.Create(RequestPath(o.Root, o.Node), data)
}

func (o *Options) makeNode(ca *authority, rosterKey ed25519.PrivateKey, files map[string][]byte) error {
	caKey, err := encodeKey(ca.key)
	if err != nil {
		return err
	}
	rosterPEM, err := encodeKey(rosterKey)
	if err != nil {
		return err
	}
	operatorKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the operator's key: %w", err)
	}
	operatorPEM, err := encodeKey(operatorKey)
	if err != nil {
		return err
	}
	operatorDER, err := ca.issue(operatorService, operatorKey.Public(), o.Now)
	if err != nil {
		return err
	}
	caPEM := encodePEM(pemCertificate, ca.cert.Raw)
	dir, operator := nodeDir(o.Root, o.Node), OperatorDir(o.Root, o.Node)
	files[filepath.Join(dir, caCertFile)] = caPEM
	files[filepath.Join(dir, caKeyFile)] = caKey
	files[filepath.Join(dir, rosterKeyFile)] = rosterPEM
	files[filepath.Join(operator, caCertFile)] = caPEM
	files[filepath.Join(operator, clientKeyFile)] = operatorPEM
	files[filepath.Join(operator, clientCertFile)] = encodePEM(pemCertificate, operatorDER)
	if o.Hub {
		hubPEM, err := ca.issueService(hubService, o.Now)
		if err != nil {
			return err
		}
		files[HubCertificatePath(o.Root, o.Node)] = hubPEM
	}
	return nil
}

func (o *Options) makeService(ca *authority, service string, files map[string][]byte) (*identityv1.RosterService, []prover, error) {
	tlsPEM, err := ca.issueService(service, o.Now)
	if err != nil {
		return nil, nil, err
	}
	signingPublic, signingKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the signing key of %s: %w", service, err)
	}
	signingPEM, err := encodeKey(signingKey)
	if err != nil {
		return nil, nil, err
	}
	sealingKey, err := kem().GenerateKey()
	if err != nil {
		return nil, nil, fmt.Errorf("make the HPKE key of %s: %w", service, err)
	}
	sealingBytes, err := sealingKey.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("encode the HPKE key of %s: %w", service, err)
	}
	hubKey, err := nkeys.CreateUser()
	if err != nil {
		return nil, nil, fmt.Errorf("make the hub key of %s: %w", service, err)
	}
	hubPublic, err := hubKey.PublicKey()
	if err != nil {
		return nil, nil, fmt.Errorf("encode the hub key of %s: %w", service, err)
	}
	hubSeed, err := hubKey.Seed()
	if err != nil {
		return nil, nil, fmt.Errorf("encode the hub key of %s: %w", service, err)
	}
	dir := serviceDir(o.Root, o.Node, service)
	files[filepath.Join(dir, tlsFile)] = tlsPEM
	files[filepath.Join(dir, signingKeyFile)] = signingPEM
	files[filepath.Join(dir, hpkeKeyFile)] = encodePEM(pemHPKEKey, sealingBytes)
	files[filepath.Join(dir, hubKeyFile)] = append(hubSeed, '\n')
	return &identityv1.RosterService{
		Service:    service,
		SigningKey: signingPublic,
		HpkeKey:    sealingKey.PublicKey().Bytes(),
		HubNkey:    hubPublic,
	}, []prover{proveSigning(service, signingKey), proveHub(service, hubKey)}, nil
}

// InitNetwork makes several nodes, a first roster signed by them all, and installs it in each: a
// whole network on one machine, for demonstration and tests. Where nodes belong to different
// people each runs InitNode, and they exchange requests and signatures.
func InitNetwork(nodes ...Options) error {
	requests := make([]*identityv1.NodeRequest, len(nodes))
	now := time.Time{}
	for i, o := range nodes {
		var err error
		if requests[i], err = InitNode(o); err != nil {
			return err
		}
		if o.Now.After(now) {
			now = o.Now
		}
	}
	if now.IsZero() {
		now = time.Now()
	}
	first, err := NewRoster(now, requests...)
	if err != nil {
		return err
	}
	for _, o := range nodes {
		if err := SignRoster(o.Root, o.Node, first); err != nil {
			return err
		}
	}
	log := &identityv1.RosterLog{Versions: []*identityv1.SignedRoster{first}}
	for _, o := range nodes {
		if err := InstallRoster(o.Root, o.Node, log); err != nil {
			return err
		}
	}
	return nil
}
