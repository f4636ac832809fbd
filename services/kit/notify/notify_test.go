package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/notify/notifytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const address = "shazia@cpu.example"

func message() notify.Message {
	return notify.Message{
		ID: "0192f0a1-0000-7000-8000-000000000001", Subject: "امانت: ایک مقررہ وقت گزر گیا", Text: strings.Repeat("ایک سطر\n.\n", 40),
		To:       notify.Recipient{Worker: "nodes/balochistan/workers/shazia", Email: address, Phone: "+923001234567", Language: "ur"},
		MadeTime: time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC),
		Notices:  []notify.Notice{{Name: "nodes/balochistan/notices/1", Step: "ANSWER", Reference: "BA-26-04173-K", HighRisk: true, Path: "/v1/x"}},
	}
}

func mailer(m *notifytest.Mail, security string) *notify.SMTP {
	return &notify.SMTP{Address: m.Address, From: "amanat@node.example", Security: security, TLS: notifytest.Trust(m.Cert)}
}

// A mail arrives whole over TLS, in the language it was written in, under an id that a repetition has too.
func TestMail(t *testing.T) {
	for name, c := range map[string]struct {
		behave   notifytest.Behaviour
		security string
	}{
		"STARTTLS":     {notifytest.Behaviour{Password: "secret of the node"}, notify.StartTLS},
		"implicit TLS": {notifytest.Behaviour{Implicit: true, Password: "secret of the node"}, notify.ImplicitTLS},
	} {
		t.Run(name, func(t *testing.T) {
			server := notifytest.NewMail(t, c.behave)
			s := mailer(server, c.security)
			s.Username, s.Password = "amanat", "secret of the node"
			for range 2 {
				if err := s.Send(t.Context(), message()); err != nil {
					t.Fatal(err)
				}
			}
			got := server.Letters()
			if len(got) != 2 || got[0].Raw != got[1].Raw {
				t.Fatalf("%d letters; a repetition is the same: %v", len(got), got)
			}
			l := got[0]
			subject, err := (&mime.WordDecoder{}).DecodeHeader(l.Header.Get("Subject"))
			if err != nil || subject != message().Subject || l.Text != message().Text || l.From != s.From || l.To != address || !l.Secured || l.User != "amanat" {
				t.Errorf("taken: %+v", l)
			}
			if id := l.Header.Get("Message-ID"); id != "<"+message().ID+"@node.example>" {
				t.Errorf("Message-ID %s", id)
			}
			if _, err := l.Header.Date(); err != nil || l.Header.Get("Auto-Submitted") == "" {
				t.Errorf("header %v: %v", l.Header, err)
			}
			for line := range strings.SplitSeq(l.Raw, "\r\n") {
				if len(line) > 998 {
					t.Errorf("a line of %d bytes", len(line))
				}
			}
		})
	}
}

// What a mail server does wrong is an error that says so, for good or not, and never repeats the address.
func TestMailFails(t *testing.T) {
	always := func(answer string) func(int) string { return func(int) string { return answer } }
	for name, c := range map[string]struct {
		behave   notifytest.Behaviour
		security string
		change   func(s *notify.SMTP)
		refused  bool
		letters  int
	}{
		"no STARTTLS":            {notifytest.Behaviour{Plain: true}, notify.StartTLS, nil, false, 0},
		"a stranger's TLS":       {notifytest.Behaviour{}, notify.StartTLS, func(s *notify.SMTP) { s.TLS = nil }, false, 0},
		"a stranger's first TLS": {notifytest.Behaviour{Implicit: true}, notify.ImplicitTLS, func(s *notify.SMTP) { s.TLS = nil }, false, 0},
		"a wrong password":       {notifytest.Behaviour{Password: "right"}, notify.StartTLS, func(s *notify.SMTP) { s.Username, s.Password = "amanat", "wrong" }, false, 0},
		"no password":            {notifytest.Behaviour{Password: "right"}, notify.StartTLS, nil, false, 0},
		"no sign-in":             {notifytest.Behaviour{}, notify.StartTLS, func(s *notify.SMTP) { s.Username = "amanat" }, false, 0},
		"an unknown mailbox":     {notifytest.Behaviour{Rcpt: always("550 5.1.1 " + address + " is not known")}, notify.StartTLS, nil, true, 0},
		"a full mailbox":         {notifytest.Behaviour{Rcpt: always("452 4.2.2 " + address + " is full")}, notify.StartTLS, nil, false, 0},
		"a refused text":         {notifytest.Behaviour{Data: always("554 5.6.0 no")}, notify.StartTLS, nil, true, 0},
		"a text for later":       {notifytest.Behaviour{Data: always("451 4.3.0 later")}, notify.StartTLS, nil, false, 0},
		"broken off after it":    {notifytest.Behaviour{Drop: func(int) bool { return true }}, notify.StartTLS, nil, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			server := notifytest.NewMail(t, c.behave)
			s := mailer(server, c.security)
			if c.change != nil {
				c.change(s)
			}
			err := s.Send(t.Context(), message())
			if err == nil || errors.Is(err, notify.ErrRefused) != c.refused {
				t.Errorf("got %v, for good: %v", err, c.refused)
			}
			if err != nil && strings.Contains(err.Error(), "shazia") {
				t.Errorf("the error repeats the address: %v", err)
			}
			if n := len(server.Letters()); n != c.letters {
				t.Errorf("%d letters were taken", n)
			}
		})
	}
}

// A server that talks on and on is left, long before it fills the memory.
func TestMailServerThatTalksOn(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan int, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			said <- 0
			return
		}
		defer func() { _ = conn.Close() }()
		total := 0
		for line := []byte("220-" + strings.Repeat("and so on ", 1000) + "\r\n"); total < 64<<20; {
			n, err := conn.Write(line)
			if total += n; err != nil {
				break
			}
		}
		said <- total
	}()
	s := &notify.SMTP{Address: listener.Addr().String(), From: "amanat@node.example", Security: notify.NoTLS}
	err = s.Send(t.Context(), message())
	_ = listener.Close()
	if total := <-said; err == nil || !strings.Contains(err.Error(), "more than 1 MiB") || total == 64<<20 {
		t.Errorf("after %d bytes: %v", total, err)
	}
}

// A server that is not there, or takes a connection and says nothing, holds nobody longer than the caller
// waits.
func TestMailSilence(t *testing.T) {
	server := notifytest.NewMail(t, notifytest.Behaviour{Silent: true})
	for _, security := range []string{notify.StartTLS, notify.ImplicitTLS} {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- mailer(server, security).Send(ctx, message()) }()
		<-server.Met
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", security, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	half := notifytest.NewMail(t, notifytest.Behaviour{Rcpt: func(int) string { stop(); <-ended; return "250 at last" }})
	err := mailer(half, notify.StartTLS).Send(ctx, message())
	if close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("silent in the middle: %v", err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	if err := (&notify.SMTP{Address: gone.Addr().String(), Security: notify.StartTLS}).Send(t.Context(), message()); err == nil || errors.Is(err, notify.ErrRefused) {
		t.Errorf("nobody listens: %v", err)
	}
}

var secret = []byte("a secret of both sides")

func hook(t *testing.T, h *notifytest.Webhook) *notify.Webhook {
	t.Helper()
	w := notify.NewWebhook(h.URL, secret, notifytest.Trust(h.Cert))
	t.Cleanup(w.Close)
	return w
}

// A call is JSON under a signature that the receiver can check, and a repetition has the same key.
func TestWebhook(t *testing.T) {
	h := notifytest.NewWebhook(t, nil)
	w := hook(t, h)
	for range 2 {
		if err := w.Send(t.Context(), message()); err != nil {
			t.Fatal(err)
		}
	}
	calls := h.Calls()
	if len(calls) != 2 || string(calls[0].Body) != string(calls[1].Body) {
		t.Fatalf("calls: %v", calls)
	}
	for _, c := range calls {
		signature := c.Header.Get(notify.SignatureHeader)
		stamp, _, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",")
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil || notify.Sign(secret, time.Unix(seconds, 0), c.Body) != signature || notify.Sign([]byte("another secret"), time.Unix(seconds, 0), c.Body) == signature {
			t.Errorf("signature %q: %v", signature, err)
		}
		if c.Header.Get(notify.KeyHeader) != message().ID || c.Header.Get("Content-Type") != "application/json" {
			t.Errorf("header: %v", c.Header)
		}
		var got map[string]any
		if err := json.Unmarshal(c.Body, &got); err != nil || got["worker"] != message().To.Worker || got["text"] != message().Text || got["email"] != address {
			t.Errorf("body %s: %v", c.Body, err)
		}
	}
}

// RFC 2104's construction over the documented text, by a value computed elsewhere.
func TestSignature(t *testing.T) {
	// printf '1700000000.{}' | openssl dgst -sha256 -hmac 'a secret of both sides'
	const want = "t=1700000000,v1=87a07cdd0dc1ee042f207c74baaefb53874e3365a0538ac9e2fab14b39adda3a"
	if got := notify.Sign(secret, time.Unix(1700000000, 0), []byte("{}")); got != want {
		t.Errorf("got %s", got)
	}
}

func TestWebhookFails(t *testing.T) {
	for code, refused := range map[int]bool{
		400: true, 401: true, 404: true, 410: true, 422: true, 301: true, 302: true, 307: true,
		408: false, 425: false, 429: false, 500: false, 502: false, 503: false,
	} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			h := notifytest.NewWebhook(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(code)
			})
			err := hook(t, h).Send(t.Context(), message())
			if err == nil || errors.Is(err, notify.ErrRefused) != refused || !strings.Contains(err.Error(), strconv.Itoa(code)) {
				t.Errorf("got %v, for good: %v", err, refused)
			}
			if n := len(h.Calls()); n != 1 {
				t.Errorf("called %d times", n)
			}
		})
	}
	t.Run("half-open", func(t *testing.T) {
		server := notifytest.NewMail(t, notifytest.Behaviour{Silent: true}) // accepts and says nothing
		w := notify.NewWebhook("https://"+server.Address+"/?token=of-the-receiver", secret, notifytest.Trust(server.Cert))
		defer w.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Send(ctx, message()) }()
		<-server.Met
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "of-the-receiver") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a stranger", func(t *testing.T) {
		h := notifytest.NewWebhook(t, nil)
		w := notify.NewWebhook(h.URL, secret, nil)
		defer w.Close()
		if err := w.Send(t.Context(), message()); err == nil || errors.Is(err, notify.ErrRefused) || len(h.Calls()) != 0 || strings.Contains(err.Error(), "of-the-receiver") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("broken off", func(t *testing.T) {
		h := notifytest.NewWebhook(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			panic(http.ErrAbortHandler)
		})
		if err := hook(t, h).Send(t.Context(), message()); err == nil || errors.Is(err, notify.ErrRefused) {
			t.Errorf("got %v", err)
		}
	})
}
