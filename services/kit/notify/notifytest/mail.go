package notifytest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
)

// Letter is a mail that was taken, with its text decoded.
type Letter struct {
	From, To string // of the envelope
	Header   mail.Header
	Text     string
	Raw      string
	// Secured says that it came over TLS, User who signed in.
	Secured bool
	User    string
}

// Behaviour is how a mail server behaves; the zero one takes every mail over STARTTLS.
type Behaviour struct {
	Implicit bool // TLS from the first byte
	Plain    bool // offers no STARTTLS
	Silent   bool // accepts connections and says nothing
	// Password of the user `amanat`; empty: nobody signs in.
	Password string
	// Rcpt and Data answer these commands in the place of 250; nil: 250. nth counts from 1.
	Rcpt, Data func(nth int) string
	// Drop says that the connection breaks after a mail was taken and before that is said.
	Drop func(nth int) bool
}

// Mail is a mail server.
type Mail struct {
	Address string
	Cert    *x509.Certificate
	// Met is told of each connection that was accepted.
	Met chan struct{}

	behave   Behaviour
	tls      *tls.Config
	listener net.Listener
	running  sync.WaitGroup

	mu          sync.Mutex
	conns       []net.Conn
	letters     []Letter
	rcpts, data int
}

// NewMail listens until the test ends.
func NewMail(t testing.TB, b Behaviour) *Mail {
	t.Helper()
	cert, leaf := certificate()
	m := &Mail{Cert: leaf, behave: b, tls: &tls.Config{Certificates: []tls.Certificate{cert}}, Met: make(chan struct{}, 1000)}
	var err error
	if m.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m.Address = m.listener.Addr().String()
	m.running.Go(func() { m.accept(t) })
	t.Cleanup(func() {
		_ = m.listener.Close()
		m.mu.Lock()
		for _, c := range m.conns {
			_ = c.Close()
		}
		m.mu.Unlock()
		m.running.Wait()
	})
	return m
}

// Letters are those taken so far.
func (m *Mail) Letters() []Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Letter(nil), m.letters...)
}

func (m *Mail) accept(t testing.TB) {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.conns = append(m.conns, conn)
		m.mu.Unlock()
		m.Met <- struct{}{}
		if m.behave.Silent {
			continue
		}
		m.running.Go(func() {
			defer func() { _ = conn.Close() }()
			s := &dialogue{server: m}
			if m.behave.Implicit {
				conn, s.secured = tls.Server(conn, m.tls), true
			}
			s.over(conn)
			if err := s.run(); !ended(err) && testing.Verbose() {
				t.Logf("mail server: %v", err)
			}
		})
	}
}

// dialogue is one connection.
type dialogue struct {
	server   *Mail
	conn     net.Conn
	in       *bufio.Reader
	secured  bool
	user     string
	from, to string
}

func (d *dialogue) over(conn net.Conn) { d.conn, d.in = conn, bufio.NewReader(conn) }

func (d *dialogue) say(lines ...string) error {
	_, err := io.WriteString(d.conn, strings.Join(lines, "\r\n")+"\r\n")
	return err
}

func (d *dialogue) line() (string, error) {
	line, err := d.in.ReadString('\n')
	if err == nil && !strings.HasSuffix(line, "\r\n") {
		err = fmt.Errorf("a line ends without CR: %q", line)
	}
	return strings.TrimSuffix(line, "\r\n"), err
}

func (d *dialogue) run() error {
	if err := d.say("220 mail.test ESMTP"); err != nil {
		return err
	}
	for {
		line, err := d.line()
		if err != nil {
			return err
		}
		verb, rest, _ := strings.Cut(line, " ")
		if done, err := d.answer(strings.ToUpper(verb), rest); done || err != nil {
			return err
		}
	}
}

func (d *dialogue) answer(verb, rest string) (done bool, err error) {
	b := d.server.behave
	switch verb {
	case "EHLO":
		lines := []string{"250-mail.test"}
		if !b.Plain && !d.secured {
			lines = append(lines, "250-STARTTLS")
		}
		if b.Password != "" && d.secured {
			lines = append(lines, "250-AUTH PLAIN")
		}
		return false, d.say(append(lines, "250 SIZE 100000")...)
	case "STARTTLS":
		if err := d.say("220 go ahead"); err != nil {
			return true, err
		}
		conn := tls.Server(d.conn, d.server.tls)
		if err := conn.Handshake(); err != nil {
			return true, err
		}
		d.over(conn)
		d.secured = true
		return false, nil
	case "AUTH":
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
		if err != nil || string(raw) != "\x00amanat\x00"+b.Password {
			return false, d.say("535 5.7.8 no")
		}
		d.user = "amanat"
		return false, d.say("235 welcome")
	case "MAIL":
		if b.Password != "" && d.user == "" {
			return false, d.say("530 5.7.0 sign in first")
		}
		d.from = between(rest)
		return false, d.say("250 ok")
	case "RCPT":
		d.to = between(rest)
		return false, d.say(d.server.next(&d.server.rcpts, b.Rcpt))
	case "DATA":
		return d.take()
	case "QUIT":
		return true, d.say("221 bye")
	}
	return false, d.say("502 not known")
}

func between(text string) string {
	_, text, _ = strings.Cut(text, "<")
	text, _, _ = strings.Cut(text, ">")
	return text
}

func (m *Mail) next(count *int, answer func(int) string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	*count++
	if answer == nil {
		return "250 ok"
	}
	return answer(*count)
}

func (d *dialogue) take() (done bool, err error) {
	if err := d.say("354 go on"); err != nil {
		return true, err
	}
	raw := &strings.Builder{}
	for {
		line, err := d.line()
		if err != nil {
			return true, err
		}
		if line == "." {
			break
		}
		raw.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	answer := d.server.next(&d.server.data, d.server.behave.Data)
	if !strings.HasPrefix(answer, "2") {
		return false, d.say(answer)
	}
	parsed, err := mail.ReadMessage(strings.NewReader(raw.String()))
	if err != nil {
		return true, err
	}
	text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, parsed.Body))
	if err != nil {
		return true, err
	}
	d.server.mu.Lock()
	d.server.letters = append(d.server.letters, Letter{
		From: d.from, To: d.to, Header: parsed.Header, Text: string(text), Raw: raw.String(), Secured: d.secured, User: d.user,
	})
	nth := len(d.server.letters)
	d.server.mu.Unlock()
	if drop := d.server.behave.Drop; drop != nil && drop(nth) {
		return true, nil
	}
	return false, d.say(answer)
}
