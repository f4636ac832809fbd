package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"amanat.example/services/kit/durable"
)

// handshake connects client to server over a real socket and answers both ends' errors and the
// state the server saw. One byte each way is exchanged, since in TLS 1.3 a client learns only
// then that it was refused.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		err = conn.(*tls.Conn).Handshake()
		state = conn.(*tls.Conn).ConnectionState()
		if err == nil {
			_, err = conn.Write([]byte{1})
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, client)
	if clientErr = conn.Handshake(); clientErr == nil {
		_, clientErr = conn.Read(make([]byte, 1))
	}
	raw.Close()
	return state, <-done, clientErr
}

func refused(t *testing.T, what, why string, server, client *tls.Config) {
	t.Helper()
	_, serverErr, clientErr := handshake(t, server, client)
	if clientErr == nil {
		t.Errorf("%s: the client was let in", what)
		return
	}
	if all := clientErr.Error() + " / " + errText(serverErr); !strings.Contains(all, why) {
		t.Errorf("%s: refused with %q, want %q", what, all, why)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func operatorTLS(t *testing.T, root, node, service string) *tls.Config {
	t.Helper()
	dir := OperatorDir(root, node)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, clientCertFile), filepath.Join(dir, clientKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, caCertFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, ServerName: "localhost"}
}

func TestServicesOfOneNodeKnowEachOther(t *testing.T) {
	root := network(t)
	server, client := load(t, root, "sindh", "referral"), load(t, root, "sindh", "protection")
	for name, c := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"service":             {client.ClientTLS("referral"), "protection"},
		"operator, stock TLS": {operatorTLS(t, root, "sindh", "referral"), "operator"},
	} {
		state, serverErr, clientErr := handshake(t, server.ServerTLS(), c.config)
		if serverErr != nil || clientErr != nil {
			t.Fatalf("%s: %v, %v", name, serverErr, clientErr)
		}
		node, service, err := Peer(state)
		if err != nil || node != "sindh" || service != c.want {
			t.Errorf("%s: the server saw %s at %s, %v", name, service, node, err)
		}
		if state.Version != tls.VersionTLS13 {
			t.Errorf("%s: TLS version %x", name, state.Version)
		}
	}
	if _, _, err := Peer(tls.ConnectionState{}); err == nil {
		t.Error("a connection without certificate has a peer")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	root := network(t)
	server, client := load(t, root, "sindh", "referral"), load(t, root, "sindh", "protection")
	punjab := load(t, root, "punjab", "protection")

	refused(t, "a service of another node", "unknown certificate authority",
		server.ServerTLS(), func() *tls.Config {
			c := client.ClientTLS("referral") // trusts the server, so that the server must judge
			c.GetClientCertificate = punjab.base().GetClientCertificate
			return c
		}())
	refused(t, "a server of another node", "not referral.sindh.amanat", load(t, root, "punjab", "referral").ServerTLS(), client.ClientTLS("referral"))
	refused(t, "another service than the one called", "shelter.sindh.amanat", server.ServerTLS(), client.ClientTLS("shelter"))
	refused(t, "no client certificate", "certificate required", server.ServerTLS(), func() *tls.Config {
		c := client.ClientTLS("referral")
		c.GetClientCertificate = nil
		return c
	}())
	refused(t, "TLS 1.2", "protocol version", server.ServerTLS(), func() *tls.Config {
		c := client.ClientTLS("referral")
		c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		return c
	}())
	refused(t, "the operator's certificate as a server", "not whom this connection is for", func() *tls.Config {
		c := server.ServerTLS()
		pair := operatorTLS(t, root, "sindh", "").Certificates[0]
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
		return c
	}(), func() *tls.Config {
		c := client.ClientTLS("referral")
		c.InsecureSkipVerify = true // leaves the name check alone to stand
		verify := c.VerifyConnection
		c.VerifyConnection = func(state tls.ConnectionState) error {
			state.VerifiedChains = [][]*x509.Certificate{state.PeerCertificates}
			return verify(state)
		}
		return c
	}())
}

// TestCACannotNameAnotherNode has Sindh's CA certify Punjab's referral service, and shows that
// Punjab refuses it, as client and as server, that it is refused even by one who trusts Sindh's
// CA, and that such a file is not loaded.
func TestCACannotNameAnotherNode(t *testing.T) {
	root := network(t)
	ca, err := loadAuthority(root, "sindh")
	if err != nil {
		t.Fatal(err)
	}
	ca.node = "punjab"
	forged, err := ca.issueService("protection", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := parseKeyPair(forged)
	if err != nil {
		t.Fatal(err)
	}
	server, client := load(t, root, "punjab", "referral"), load(t, root, "punjab", "shelter")
	asClient := client.ClientTLS("referral")
	asClient.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	refused(t, "as client", "unknown certificate authority", server.ServerTLS(), asClient)
	asServer := server.ServerTLS()
	asServer.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil }
	refused(t, "as server", "unknown authority", asServer, client.ClientTLS("protection"))

	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("by itself the CA may name another node: %v", err)
	}

	path := filepath.Join(serviceDir(root, "punjab", "protection"), tlsFile)
	if err := durable.Replace(path, forged); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(root, "punjab", "protection"); err == nil || !strings.Contains(err.Error(), "not from the CA") {
		t.Errorf("the forged certificate was loaded: %v", err)
	}
}

func TestExpiredIsRefusedAndRenewedWithoutRestart(t *testing.T) {
	root, past := t.TempDir(), time.Now().Add(-CertificateLife-time.Hour)
	if err := InitNetwork(Options{Root: root, Node: "federal", Services: allServices, Hub: true, Now: past}); err != nil {
		t.Fatal(err)
	}
	server, client := load(t, root, "federal", "referral"), load(t, root, "federal", "protection")
	serverTLS, clientTLS := server.ServerTLS(), client.ClientTLS("referral")
	refused(t, "expired server", "expired", serverTLS, clientTLS)

	// The server's alone is renewed: now it is the client's that is refused.
	ca, err := loadAuthority(root, "federal")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := ca.issueService("referral", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.Replace(filepath.Join(serviceDir(root, "federal", "referral"), tlsFile), fresh); err != nil {
		t.Fatal(err)
	}
	refused(t, "expired client", "expired", serverTLS, clientTLS)

	renewed, err := RotateCertificates(root, "federal", time.Now())
	if err != nil || len(renewed) != len(allServices)-1+2 { // hub and operator too, referral not again
		t.Fatalf("renewed %v, %v", renewed, err)
	}
	for _, config := range []*tls.Config{clientTLS, operatorTLS(t, root, "federal", "referral")} {
		if _, serverErr, clientErr := handshake(t, serverTLS, config); serverErr != nil || clientErr != nil {
			t.Fatalf("after renewal: %v, %v", serverErr, clientErr)
		}
	}
	if renewed, err := RotateCertificates(root, "federal", time.Now()); err != nil || len(renewed) != 0 {
		t.Errorf("renewed again %v, %v", renewed, err)
	}
}

// A file that cannot be read is reported, and does not let the others run out.
func TestRenewalGoesOnAfterABrokenFile(t *testing.T) {
	root := network(t)
	broken := filepath.Join(serviceDir(root, "sindh", allServices[0]), tlsFile)
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	renewed, err := RotateCertificates(root, "sindh", time.Now().Add(CertificateLife*3/4))
	if err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("the broken file is not named: %v", err)
	}
	if len(renewed) != len(allServices)-1+1 { // the operator's too
		t.Errorf("renewed %v", renewed)
	}
}

func TestRenewalWithoutAuthorityKey(t *testing.T) {
	root := network(t)
	if err := os.Remove(filepath.Join(nodeDir(root, "sindh"), caKeyFile)); err != nil {
		t.Fatal(err)
	}
	if renewed, err := RotateCertificates(root, "sindh", time.Now()); err != nil || renewed != nil {
		t.Errorf("with nothing due the key is needed: %v, %v", renewed, err)
	}
	if _, err := RotateCertificates(root, "sindh", time.Now().Add(CertificateLife*3/4)); err != ErrNoAuthorityKey {
		t.Errorf("answered %v", err)
	}
	load(t, root, "sindh", "referral")
}

func TestKeepRenewed(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		if err := InitNetwork(Options{Root: root, Node: "federal", Services: []string{"federal"}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var reports int
		done := make(chan struct{})
		start := time.Now()
		var at time.Duration
		go func() {
			defer close(done)
			KeepRenewed(ctx, root, "federal", func(renewed []string, err error) {
				if err != nil || len(renewed) != 2 {
					t.Errorf("renewed %v, %v", renewed, err)
				}
				at, reports = time.Since(start), reports+1
				cancel()
			})
		}()
		<-done
		if reports != 1 || at < CertificateLife*2/3-2*time.Hour || at > CertificateLife*2/3+2*time.Hour {
			t.Errorf("%d renewals, the first after %s", reports, at)
		}
	})
}

func TestPublicDoor(t *testing.T) {
	root := network(t)
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(CACertificatePath(root, "sindh"))
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(ca)
	browser := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	door := load(t, root, "sindh", "gateway").PublicTLS()
	if _, serverErr, clientErr := handshake(t, door, browser); serverErr != nil || clientErr != nil {
		t.Errorf("a browser: %v, %v", serverErr, clientErr)
	}
	browser.MaxVersion = tls.VersionTLS12
	refused(t, "TLS 1.2 at the public door", "protocol version", door, browser)

	// A certificate from elsewhere (here another node's CA) takes its place.
	other, err := os.ReadFile(filepath.Join(serviceDir(root, "punjab", "gateway"), tlsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(filepath.Join(serviceDir(root, "sindh", "gateway"), publicTLSFile), other); err != nil {
		t.Fatal(err)
	}
	door = load(t, root, "sindh", "gateway").PublicTLS()
	refused(t, "the node's CA, with a public certificate in place", "unknown authority", door, &tls.Config{RootCAs: pool, ServerName: "localhost"})
}

func TestHubIsTrustedByRoster(t *testing.T) {
	root := network(t)
	client, err := load(t, root, "punjab", "referral").HubTLS()
	if err != nil {
		t.Fatal(err)
	}
	hub, err := HubServerTLS(root, "federal")
	if err != nil {
		t.Fatal(err)
	}
	if _, serverErr, clientErr := handshake(t, hub, client); serverErr != nil || clientErr != nil {
		t.Errorf("the hub: %v, %v", serverErr, clientErr)
	}
	refused(t, "another service of the federal node as hub", "hub.federal.amanat", load(t, root, "federal", "gateway").PublicTLS(), client)
	ca, err := loadAuthority(root, "punjab")
	if err != nil {
		t.Fatal(err)
	}
	own, err := ca.issueService("hub", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := parseKeyPair(own)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a province's own hub", "not hub.federal.amanat", &tls.Config{Certificates: []tls.Certificate{*pair}}, client)
}
