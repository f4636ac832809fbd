package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

// Peer answers who is at the other end of a verified connection. The operator's certificate
// answers service "operator". It fails where no certificate was verified.
func Peer(state tls.ConnectionState) (node, service string, err error) {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return "", "", errors.New("the peer showed no certificate that was verified")
	}
	return certificateName(state.VerifiedChains[0][0])
}

// base is what all our TLS has in common. Sessions are not resumed, so a connection rests on
// certificates that were valid when it was made; a server ends each after an hour (kit/rpc).
func (s *Service) base() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.certificate.get(), nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.certificate.get(), nil
		},
	}
}

// expect refuses a peer that is not that service of that node; an empty service is any of them.
func expect(node, service string) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		gotNode, gotService, err := Peer(state)
		if err != nil {
			return err
		}
		if gotNode != node || (service != "" && gotService != service) {
			return fmt.Errorf("the peer is %s at %s, which is not whom this connection is for", gotService, gotNode)
		}
		return nil
	}
}

// ServerTLS serves the node's other services and its operator: mutual TLS 1.3, client
// certificates from this node's CA alone. Which service may call what is for the policy to say;
// Peer tells who calls.
func (s *Service) ServerTLS() *tls.Config {
	c := s.base()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs = s.authorities
	c.VerifyConnection = expect(s.node, "")
	return c
}

// ClientTLS calls one service of the same node, at whatever address: mutual TLS 1.3, and the
// server must show that service's certificate from this node's CA.
func (s *Service) ClientTLS(service string) *tls.Config {
	c := s.base()
	c.RootCAs = s.authorities
	c.ServerName = serverName(s.node, service)
	c.VerifyConnection = expect(s.node, service)
	return c
}

// OperatorTLS calls one service of a node as its operator, with the certificate that lies in OperatorDir:
// mutual TLS 1.3, and the server must show that service's certificate from the node's CA.
func OperatorTLS(root, node, service string) (*tls.Config, error) {
	dir := OperatorDir(root, node)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, clientCertFile), filepath.Join(dir, clientKeyFile))
	if err != nil {
		return nil, fmt.Errorf("load the operator's certificate of %s: %w", node, err)
	}
	der, err := readPEM(filepath.Join(dir, caCertFile), pemCertificate)
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the CA of node %s: %w", node, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, RootCAs: pool, Certificates: []tls.Certificate{pair},
		ServerName: serverName(node, service), VerifyConnection: expect(node, service),
	}, nil
}

// PublicTLS is the gateway's door for people: TLS 1.3 by the server alone. It shows the
// certificate and key in the service's identity folder as public.pem (from an authority that
// browsers know) if the operator put one there before the start, else the node's own.
func (s *Service) PublicTLS() *tls.Config {
	c := s.base()
	c.GetClientCertificate = nil
	if s.public != nil {
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.public.get(), nil }
	}
	return c
}

// HubTLS calls the hub: the server must show the hub's certificate from the CA of the federal
// node (the active one without a province) as the roster names it. The service shows no
// certificate; its nkey says who it is (HubNKey).
func (s *Service) HubTLS() (*tls.Config, error) {
	for _, n := range s.Roster().Nodes() {
		if n.GetProvince() != "" || n.GetState() != identityv1.RosterNode_STATE_ACTIVE {
			continue
		}
		ca, err := x509.ParseCertificate(n.GetCaCertificate())
		if err != nil {
			return nil, fmt.Errorf("the CA of node %s in the roster: %w", n.GetNode(), err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca)
		return &tls.Config{
			MinVersion:       tls.VersionTLS13,
			RootCAs:          pool,
			ServerName:       serverName(n.GetNode(), hubService),
			VerifyConnection: expect(n.GetNode(), hubService),
		}, nil
	}
	return nil, fmt.Errorf("the roster names no federal node, so no hub can be trusted: %w", ErrUnknownService)
}

// HubServerTLS is for a hub embedded in a process of the federal node: TLS 1.3 with the hub's
// certificate, taken up anew when renewed. Clients prove themselves by nkey.
func HubServerTLS(root, node string) (*tls.Config, error) {
	certificate, err := watch(HubCertificatePath(root, node), parseKeyPair)
	if err != nil {
		return nil, fmt.Errorf("load the hub's certificate of %s: %w", node, err)
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate.get(), nil
		},
	}, nil
}
