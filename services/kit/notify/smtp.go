package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"net/textproto"
	"time"
)

// How a connection to the mail server is protected.
const (
	StartTLS    = "starttls" // the connection turns to TLS before anything is said
	ImplicitTLS = "implicit" // TLS from the first byte
	NoTLS       = "none"     // to this machine alone
)

// SMTP sends by a mail server.
type SMTP struct {
	// Address of the server, host:port.
	Address string
	// From is the sender's address.
	From string
	// Username and Password; no username: the server wants none.
	Username, Password string
	// Security is StartTLS, ImplicitTLS or NoTLS.
	Security string
	// TLS is trusted; nil: the machine's roots.
	TLS *tls.Config
}

var _ Sender = (*SMTP)(nil)

// Name implements Sender.
func (s *SMTP) Name() string { return "smtp" }

// Reaches implements Sender.
func (s *SMTP) Reaches(to Recipient) bool { return to.Email != "" }

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	ctx, stop := context.WithTimeout(ctx, sendTimeout)
	defer stop()
	conn, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("reach the mail server: %w", hidden(ctx, err))
	}
	// Whoever holds the connection is woken when the time is over: a server that says nothing holds nobody.
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	defer func() { _ = conn.Close() }()
	return s.talk(ctx, &brief{Conn: conn, left: mostSaid}, m)
}

// mostSaid is how many bytes a mail server says to one message at most: its certificates, and some lines.
const mostSaid = 1 << 20

var errTalksOn = errors.New("the mail server says more than 1 MiB to one message; check smtp-address")

// brief is a connection whose other side does not fill the memory by talking on.
type brief struct {
	net.Conn
	left int
}

// Read implements net.Conn.
func (b *brief) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTalksOn
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (s *SMTP) tls() *tls.Config {
	c := &tls.Config{}
	if s.TLS != nil {
		c = s.TLS.Clone()
	}
	c.ServerName, _, _ = net.SplitHostPort(s.Address)
	c.MinVersion = tls.VersionTLS12
	return c
}

func (s *SMTP) dial(ctx context.Context) (net.Conn, error) {
	if s.Security == ImplicitTLS {
		return (&tls.Dialer{Config: s.tls()}).DialContext(ctx, "tcp", s.Address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
}

func (s *SMTP) talk(ctx context.Context, conn net.Conn, m Message) error {
	host, _, _ := net.SplitHostPort(s.Address)
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return fmt.Errorf("greet the mail server: %w", hidden(ctx, err))
	}
	if err := s.enter(client, host); err != nil {
		return hidden(ctx, err)
	}
	if err := client.Mail(s.From); err != nil {
		return fmt.Errorf("say who sends: %w", hidden(ctx, err))
	}
	if err := client.Rcpt(m.To.Email); err != nil {
		return fmt.Errorf("say who receives: %w", judged(ctx, err))
	}
	body, err := client.Data()
	if err != nil {
		return fmt.Errorf("begin the message: %w", hidden(ctx, err))
	}
	if _, err := body.Write(s.letter(m)); err != nil {
		return fmt.Errorf("write the message: %w", hidden(ctx, err))
	}
	if err := body.Close(); err != nil {
		return fmt.Errorf("end the message: %w", judged(ctx, err))
	}
	_ = client.Quit() // it is taken; how we part is no matter
	return nil
}

// enter turns the connection to TLS and says who we are.
func (s *SMTP) enter(client *smtp.Client, host string) error {
	if s.Security == StartTLS {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return errors.New("the mail server offers no STARTTLS, and nothing is sent in the clear")
		}
		if err := client.StartTLS(s.tls()); err != nil {
			return fmt.Errorf("turn to TLS: %w", err)
		}
	}
	if s.Username == "" {
		return nil
	}
	if offered, _ := client.Extension("AUTH"); !offered {
		return errors.New("the mail server takes no password; check smtp-username and smtp-address")
	}
	if err := client.Auth(smtp.PlainAuth("", s.Username, s.Password, host)); err != nil {
		return fmt.Errorf("sign in at the mail server: %w", err)
	}
	return nil
}

// letter is the message by RFC 5322. Its text is base64 in lines, so that no line of it is too long or
// means anything to the protocol.
func (s *SMTP) letter(m Message) []byte {
	host := "amanat"
	if at := bytes.LastIndexByte([]byte(s.From), '@'); at >= 0 {
		host = s.From[at+1:]
	}
	b := &bytes.Buffer{}
	for _, h := range [][2]string{
		{"From", s.From},
		{"To", m.To.Email},
		{"Subject", mime.BEncoding.Encode("utf-8", m.Subject)},
		{"Date", m.MadeTime.Format(time.RFC1123Z)},
		{"Message-ID", "<" + m.ID + "@" + host + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"Content-Language", m.To.Language},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "base64"},
	} {
		fmt.Fprintf(b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	text := base64.StdEncoding.EncodeToString([]byte(m.Text))
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	b.WriteString(text + "\r\n")
	return b.Bytes()
}

// hidden is an error without what the server said: it may repeat an address.
func hidden(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said, ok := errors.AsType[*textproto.Error](err); ok {
		return fmt.Errorf("the mail server answered %d", said.Code)
	}
	if _, garbled := errors.AsType[textproto.ProtocolError](err); garbled {
		return errors.New("the mail server answered without a code; check smtp-address")
	}
	return err
}

// judged is hidden for an answer about this message: 5xx is for good (RFC 5321, 4.2.1).
func judged(ctx context.Context, err error) error {
	if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code/100 == 5 && ctx.Err() == nil {
		return fmt.Errorf("%w: the mail server answered %d", ErrRefused, said.Code)
	}
	return hidden(ctx, err)
}
