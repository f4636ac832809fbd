package notify

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"slices"

	"amanat.example/services/kit/config"
)

// Settings of the senders. None set: there is none.
type Settings struct {
	SMTPAddress      string `koanf:"smtp-address" help:"Mail server for notices, host:port, such as mail.example:587; empty: no mail."`
	SMTPSecurity     string `koanf:"smtp-security" default:"starttls" help:"How the way to the mail server is protected: starttls, implicit, or none to a loopback address."`
	SMTPFrom         string `koanf:"smtp-from" help:"Address that notices come from."`
	SMTPUsername     string `koanf:"smtp-username" help:"User at the mail server; empty: it wants none."`
	SMTPPasswordFile string `koanf:"smtp-password-file" help:"File with the password of smtp-username."`

	WebhookURL        string `koanf:"webhook-url" help:"Address that takes notices as JSON, https:// (http:// to a loopback address); empty: no webhook."`
	WebhookSecretFile string `koanf:"webhook-secret-file" help:"File with the secret that signs what goes to webhook-url, at least 16 bytes."`

	NotifyCAFile string `koanf:"notify-ca-file" help:"PEM file of the authorities that mail server and webhook are trusted by; empty: those of the machine."`
	GatewayURL   string `koanf:"gateway-url" help:"Address of this node's gateway as people reach it, for links in notices, such as https://gateway.example."`
}

// CheckSenders judges each setting by itself.
func (s Settings) CheckSenders() error {
	host, _, err := net.SplitHostPort(s.SMTPAddress)
	switch {
	case s.SMTPAddress != "" && (err != nil || host == ""):
		return config.Problem("smtp-address", "must be host:port, such as mail.example:587")
	case !slices.Contains([]string{StartTLS, ImplicitTLS, NoTLS, ""}, s.SMTPSecurity):
		return config.Problem("smtp-security", "must be starttls, implicit or none")
	case s.SMTPAddress != "" && s.SMTPSecurity == NoTLS && !loopback(host):
		return config.Problem("smtp-security", "must be starttls or implicit: only a mail server on this machine is spoken to in the clear")
	case s.SMTPFrom != "" && !isAddress(s.SMTPFrom):
		return config.Problem("smtp-from", "must be an address, such as amanat@cpu.example")
	}
	for name, value := range map[string]string{"webhook-url": s.WebhookURL, "gateway-url": s.GatewayURL} {
		u, err := url.Parse(value)
		if value != "" && (err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
			return config.Problem(name, "must begin with https:// (http:// only to this machine)")
		}
	}
	return nil
}

func isAddress(text string) bool {
	a, err := mail.ParseAddress(text)
	return err == nil && a.Address == text
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Open makes the senders that are set. Close what it answers.
func (s Settings) Open() (senders []Sender, closeAll func(), err error) {
	trust, err := s.trust()
	if err != nil {
		return nil, nil, err
	}
	closeAll = func() {}
	if s.SMTPAddress != "" {
		if s.SMTPFrom == "" {
			return nil, nil, config.Problem("smtp-from", "is needed beside smtp-address")
		}
		mailer := &SMTP{Address: s.SMTPAddress, From: s.SMTPFrom, Username: s.SMTPUsername, Security: s.SMTPSecurity, TLS: trust}
		if mailer.Security == "" {
			mailer.Security = StartTLS
		}
		if s.SMTPUsername != "" {
			password, err := secret("smtp-password-file", s.SMTPPasswordFile, 1)
			if err != nil {
				return nil, nil, err
			}
			mailer.Password = string(password)
		}
		senders = append(senders, mailer)
	}
	if s.WebhookURL != "" {
		key, err := secret("webhook-secret-file", s.WebhookSecretFile, 16)
		if err != nil {
			return nil, nil, err
		}
		hook := NewWebhook(s.WebhookURL, key, trust)
		senders, closeAll = append(senders, hook), hook.Close
	}
	return senders, closeAll, nil
}

func (s Settings) trust() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.NotifyCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(s.NotifyCAFile)
	if err != nil {
		return nil, config.Problem("notify-ca-file", "must name a file that can be read: "+err.Error())
	}
	if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, config.Problem("notify-ca-file", "must hold certificates in PEM")
	}
	return c, nil
}

// secret reads a file with a secret; a line's end at its end is none of it.
func secret(setting, path string, least int) ([]byte, error) {
	if path == "" {
		return nil, config.Problem(setting, "is needed")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, config.Problem(setting, "must name a file that can be read: "+err.Error())
	}
	if raw = bytes.TrimRight(raw, "\r\n"); len(raw) < least {
		return nil, config.Problem(setting, fmt.Sprintf("must name a file with at least %d bytes", least))
	}
	return raw, nil
}
