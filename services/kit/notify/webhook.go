package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Headers of a webhook's call.
const (
	// SignatureHeader is `t=<unix seconds>,v1=<hex>`: HMAC-SHA-256 under the shared secret over
	// `<unix seconds>.<body>`. A receiver refuses one that is old.
	SignatureHeader = "Amanat-Signature"
	// KeyHeader is the message's id, the same when it is sent again.
	KeyHeader = "Idempotency-Key"
)

// Webhook posts messages as JSON.
type Webhook struct {
	url    string
	secret []byte
	client *http.Client
}

var _ Sender = (*Webhook)(nil)

// NewWebhook posts to an address. trust may be nil: the machine's roots.
func NewWebhook(address string, secret []byte, trust *tls.Config) *Webhook {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: sendTimeout, MaxIdleConnsPerHost: 1, IdleConnTimeout: sendTimeout,
	}
	return &Webhook{url: address, secret: secret, client: &http.Client{
		Transport: transport, Timeout: sendTimeout,
		// Where a signed message goes is the operator's word, not the receiver's.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Name implements Sender.
func (w *Webhook) Name() string { return "webhook" }

// Reaches implements Sender: the receiver knows its people.
func (w *Webhook) Reaches(Recipient) bool { return true }

// Close ends idle connections.
func (w *Webhook) Close() { w.client.CloseIdleConnections() }

// payload is the body of a call.
type payload struct {
	ID       string    `json:"id"`
	MadeTime time.Time `json:"made_time"`
	Worker   string    `json:"worker"`
	Email    string    `json:"email,omitempty"`
	Phone    string    `json:"phone,omitempty"`
	Language string    `json:"language"`
	Subject  string    `json:"subject"`
	Text     string    `json:"text"`
	Notices  []Notice  `json:"notices"`
}

// Send implements Sender. 2xx takes the message. 4xx and redirects refuse it for good, but for those that ask
// for patience (408, 425, 429).
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(payload{
		ID: m.ID, MadeTime: m.MadeTime.UTC(), Worker: m.To.Worker, Email: m.To.Email, Phone: m.To.Phone, Language: m.To.Language,
		Subject: m.Subject, Text: m.Text, Notices: m.Notices,
	})
	if err != nil {
		return fmt.Errorf("write the message: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("address the webhook: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(KeyHeader, m.ID)
	request.Header.Set(SignatureHeader, Sign(w.secret, time.Now(), body))
	response, err := w.client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the address, which may hold a token
		}
		return fmt.Errorf("reach the webhook: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // so that the connection can be used again
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500 || code < 200:
		return fmt.Errorf("the webhook answered %d", code)
	default:
		return fmt.Errorf("%w: the webhook answered %d", ErrRefused, code)
	}
}

// Sign is the signature of a body at a time.
func Sign(secret []byte, at time.Time, body []byte) string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
