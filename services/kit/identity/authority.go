package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"amanat.example/services/kit/durable"
)

const (
	// CertificateLife is how long a service's or operator's certificate is valid.
	CertificateLife = 90 * 24 * time.Hour
	// AuthorityLife is how long a node's CA is valid.
	AuthorityLife = 20 * 365 * 24 * time.Hour
	// clockSlack lets a certificate made just now be used by a machine whose clock is behind.
	clockSlack = time.Hour
	// renewalCheck is how often KeepRenewed looks.
	renewalCheck = time.Hour
)

// ErrNoAuthorityKey says that ca.key is not in the node's identity folder, where renewal needs it.
var ErrNoAuthorityKey = errors.New("the node's ca.key is not in its identity folder: put it there while certificates are renewed")

// authority is the node's CA with its private key.
type authority struct {
	node string
	cert *x509.Certificate
	key  crypto.Signer
}

func spiffeID(node, service string) *url.URL {
	id := &url.URL{Scheme: "spiffe", Host: node + ".amanat"}
	if service != "" {
		id.Path = "/" + service
	}
	return id
}

func serverName(node, service string) string { return service + "." + node + ".amanat" }

func loopback() []net.IP { return []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback} }

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// newAuthority makes a CA that can name this node and loopback, and nothing else: a browser or
// client that trusts it has not trusted it for the rest of the world.
func newAuthority(node string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the CA key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:                serial,
		Subject:                     pkix.Name{CommonName: "Amanat " + node},
		NotBefore:                   now.Add(-clockSlack),
		NotAfter:                    now.Add(AuthorityLife),
		KeyUsage:                    x509.KeyUsageCertSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		URIs:                        []*url.URL{spiffeID(node, "")},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{node + ".amanat", "localhost"},
		PermittedURIDomains:         []string{node + ".amanat"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 1).To4(), Mask: net.CIDRMask(32, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the CA certificate back: %w", err)
	}
	return &authority{node: node, cert: cert, key: key}, nil
}

func loadAuthority(root, node string) (*authority, error) {
	dir := nodeDir(root, node)
	certDER, err := readPEM(filepath.Join(dir, caCertFile), pemCertificate)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("read the CA certificate: %w", err)
	}
	keyDER, err := readPEM(filepath.Join(dir, caKeyFile), pemPrivateKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoAuthorityKey
	}
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("read the CA key: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("the CA key cannot sign")
	}
	return &authority{node: node, cert: cert, key: key}, nil
}

// issue certifies a public key for a service of the authority's node; answers DER.
func (a *authority) issue(service string, public crypto.PublicKey, now time.Time) ([]byte, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: serverName(a.node, service)},
		NotBefore:    now.Add(-clockSlack),
		NotAfter:     now.Add(CertificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:         []*url.URL{spiffeID(a.node, service)},
	}
	if service != operatorService {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.DNSNames = []string{serverName(a.node, service), "localhost"}
		template.IPAddresses = loopback()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("certify %s: %w", service, err)
	}
	return der, nil
}

// issueService makes a fresh key with its certificate, both PEM in one file.
func (a *authority) issueService(service string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a TLS key: %w", err)
	}
	der, err := a.issue(service, key.Public(), now)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return append(encodePEM(pemCertificate, der), keyPEM...), nil
}

// RotateCertificates re-issues every certificate of the node (services, hub, operator) of which
// less than a third of its life is left, and answers the names of those it renewed. Services get
// a fresh key; the operator keeps the key and gets a new certificate, so that the pair in its two
// files always fits. Running services pick the new one up by themselves. It needs ca.key
// (ErrNoAuthorityKey), but only when something is due.
func RotateCertificates(root, node string, now time.Time) (renewed []string, err error) {
	paths, err := filepath.Glob(filepath.Join(root, node, "*", "identity", tlsFile))
	if err != nil {
		return nil, fmt.Errorf("look for certificates of %s: %w", node, err)
	}
	paths = append(paths, filepath.Join(OperatorDir(root, node), clientCertFile))
	var ca *authority
	renew := func(path string) error {
		der, err := readPEM(path, pemCertificate)
		if err != nil {
			return err
		}
		old, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if old.NotAfter.Sub(now) >= old.NotAfter.Sub(old.NotBefore)/3 {
			return nil
		}
		if ca == nil {
			if ca, err = loadAuthority(root, node); err != nil {
				return err
			}
		}
		name, err := ca.renew(path, old, now)
		if err == nil {
			renewed = append(renewed, name)
		}
		return err
	}
	for _, path := range paths {
		switch wrong := renew(path); {
		case errors.Is(wrong, ErrNoAuthorityKey):
			return renewed, wrong
		default: // One file that cannot be read must not let the others run out.
			err = errors.Join(err, wrong)
		}
	}
	return renewed, err
}

func (a *authority) renew(path string, old *x509.Certificate, now time.Time) (string, error) {
	_, service, err := certificateName(old)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	var content []byte
	if service == operatorService {
		der, err := a.issue(service, old.PublicKey, now)
		if err != nil {
			return "", err
		}
		content = encodePEM(pemCertificate, der)
	} else if content, err = a.issueService(service, now); err != nil {
		return "", err
	}
	return service, durable.Replace(path, content)
}

// KeepRenewed runs RotateCertificates at once and then hourly until ctx ends, for the process
// that supervises a node. It reports each renewal and each failure.
func KeepRenewed(ctx context.Context, root, node string, report func(renewed []string, err error)) {
	ticker := time.NewTicker(renewalCheck)
	defer ticker.Stop()
	for {
		if renewed, err := RotateCertificates(root, node, time.Now()); err != nil || len(renewed) > 0 {
			report(renewed, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// certificateName reads node and service from a certificate's only URI name,
// `spiffe://<node>.amanat/<service>`.
func certificateName(cert *x509.Certificate) (node, service string, err error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" {
		return "", "", errors.New("the certificate carries no single spiffe name")
	}
	node, isOurs := strings.CutSuffix(cert.URIs[0].Host, ".amanat")
	service = strings.TrimPrefix(cert.URIs[0].Path, "/")
	if !isOurs || !nodePattern.MatchString(node) || !servicePattern.MatchString(service) ||
		*cert.URIs[0] != *spiffeID(node, service) {
		return "", "", errors.New("the certificate's name is not of the form spiffe://<node>.amanat/<service>")
	}
	return node, service, nil
}
