package identity

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const (
	caCertFile      = "ca.crt"
	caKeyFile       = "ca.key"
	rosterKeyFile   = "roster.key"
	rosterFile      = "roster.binpb"
	requestFile     = "join-request.pem"
	signedFile      = "signed"
	tlsFile         = "tls.pem"
	signingKeyFile  = "signing.key"
	hpkeKeyFile     = "hpke.key"
	hubKeyFile      = "hub.nk"
	clientCertFile  = "client.crt"
	clientKeyFile   = "client.key"
	publicTLSFile   = "public.pem"
	pemCertificate  = "CERTIFICATE"
	pemPrivateKey   = "PRIVATE KEY"
	pemHPKEKey      = "AMANAT HPKE PRIVATE KEY"
	operatorService = "operator"
	hubService      = "hub"
)

func nodeDir(root, node string) string { return filepath.Join(root, node, "identity") }

func serviceDir(root, node, service string) string {
	return filepath.Join(root, node, service, "identity")
}

// OperatorDir is where the operator's client certificate lies: client.crt, client.key and the
// node's ca.crt, as PEM.
func OperatorDir(root, node string) string { return filepath.Join(root, node, operatorService) }

// RequestPath is the file InitNode writes for the other nodes (DecodeRequest).
func RequestPath(root, node string) string { return filepath.Join(nodeDir(root, node), requestFile) }

// CACertificatePath is the node's CA certificate as PEM, for browsers and stock clients.
func CACertificatePath(root, node string) string {
	return filepath.Join(nodeDir(root, node), caCertFile)
}

// HubCertificatePath is the hub's certificate and key in one PEM file; a NATS server that runs
// as a process of its own takes it as cert_file and as key_file.
func HubCertificatePath(root, node string) string {
	return filepath.Join(serviceDir(root, node, hubService), tlsFile)
}

func readPEM(path, kind string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			return block.Bytes, nil
		}
	}
	return nil, fmt.Errorf("%s holds no PEM block %q", path, kind)
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return encodePEM(pemPrivateKey, der), nil
}

func readSigningKey(path string) (ed25519.PrivateKey, error) {
	der, err := readPEM(path, pemPrivateKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key", path)
	}
	return key, nil
}

// watched is a value parsed from a file and parsed anew when the file is replaced. It looks at
// the file (one stat) whenever it is asked, so nothing needs a timer or a signal.
type watched[T any] struct {
	path  string
	parse func(data []byte) (T, error)

	mu    sync.Mutex
	info  fs.FileInfo
	value T
}

func watch[T any](path string, parse func([]byte) (T, error)) (*watched[T], error) {
	w := &watched[T]{path: path, parse: parse}
	if err := w.refresh(); err != nil {
		return nil, err
	}
	return w, nil
}

// get answers the newest value that could be read. A file that is gone or cannot be parsed
// leaves the last good value in use.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.load()
	return w.value
}

func (w *watched[T]) refresh() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.load()
}

func (w *watched[T]) load() error {
	info, err := os.Stat(w.path)
	if err != nil {
		return err
	}
	if w.info != nil && os.SameFile(info, w.info) && info.ModTime().Equal(w.info.ModTime()) {
		return nil
	}
	data, err := os.ReadFile(w.path)
	if err != nil {
		return err
	}
	value, err := w.parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	w.info, w.value = info, value
	return nil
}
