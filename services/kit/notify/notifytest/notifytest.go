// Package notifytest has the other sides of senders for tests: a mail server by RFC 5321 and a webhook over
// HTTPS, both on loopback sockets, which can be told to refuse, to fail, and to say nothing.
package notifytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Call is what a webhook was sent.
type Call struct {
	Header http.Header
	Body   []byte
}

// Webhook is a receiver that answers with a status.
type Webhook struct {
	URL  string
	Cert *x509.Certificate

	server *httptest.Server
	mu     sync.Mutex
	calls  []Call
	answer func(nth int, w http.ResponseWriter, r *http.Request) // nil: 204
}

// NewWebhook listens until the test ends. answer answers the nth call, from 1; nil takes all.
func NewWebhook(t testing.TB, answer func(nth int, w http.ResponseWriter, r *http.Request)) *Webhook {
	t.Helper()
	h := &Webhook{answer: answer}
	h.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		h.calls = append(h.calls, Call{r.Header.Clone(), body})
		nth := len(h.calls)
		h.mu.Unlock()
		if h.answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.answer(nth, w, r)
	}))
	h.URL, h.Cert = h.server.URL+"/notices?token=of-the-receiver", h.server.Certificate()
	t.Cleanup(h.server.Close)
	return h
}

// Calls are those so far.
func (h *Webhook) Calls() []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Call(nil), h.calls...)
}

// Trust is what trusts a listener's certificate.
func Trust(cert *x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{RootCAs: pool}
}

// TrustFile is a PEM file with certificates, for a setting.
func TrustFile(t testing.TB, certs ...*x509.Certificate) string {
	t.Helper()
	var all []byte
	for _, c := range certs {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return File(t, "trust.pem", all)
}

// File is a file of a test.
func File(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate is one that loopback listeners may show, and its key.
func certificate() (tls.Certificate, *x509.Certificate) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.TLS.Certificates[0], s.Certificate()
}

func ended(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}
