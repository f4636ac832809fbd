package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"amanat.example/services/kit/tracing"
)

// Service has the settings that every service of a node shares; a service's own struct embeds it.
type Service struct {
	Data  string `koanf:"data" required:"true" help:"Root folder of the data; a service keeps its own under <data>/<node>/<service>."`
	Node  string `koanf:"node" required:"true" help:"Name of this node, such as sindh."`
	Admin string `koanf:"admin" default:"127.0.0.1:0" help:"Loopback address of metrics and health, host:port."`

	Listen string `koanf:"listen" required:"true" help:"Address to serve gRPC on, host:port."`

	ProtectionAddress string `koanf:"protection-address" help:"Address of this node's protection service, host:port."`
	ReferralAddress   string `koanf:"referral-address" help:"Address of this node's referral service, host:port."`
	ShelterAddress    string `koanf:"shelter-address" help:"Address of this node's shelter service, host:port."`
	FederalAddress    string `koanf:"federal-address" help:"Address of this node's federal service, host:port."`

	NATSURL string `koanf:"nats-url" required:"true" help:"Address of this node's own NATS, such as nats://127.0.0.1:4221."`
	HubURL  string `koanf:"hub-url" help:"Address of the hub's NATS, such as tls://hub.example:4230; empty: no post with other nodes, and no adverts of what is free."`

	OTLPEndpoint string `koanf:"otlp-endpoint" help:"OpenTelemetry collector that takes traces (OTLP over gRPC): https://host:port, or http:// on this machine, such as http://127.0.0.1:4317; empty: no traces."`

	// Clock of the use cases; nil is the machine's. It is no setting: nobody who runs a service can give it another time than the
	// machine has. A demo that plays a year has a calendar.
	Clock Clock

	LogLevel string `koanf:"log-level" default:"info" help:"Least severe lines that are logged: debug, info, warn or error."`
}

var nodeName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}$`)

// Check judges each setting by itself.
func (s *Service) Check() error {
	if !nodeName.MatchString(s.Node) {
		return Problem("node", "must be 2 to 31 lower case letters, digits and hyphens, such as sindh")
	}
	for _, a := range []struct{ name, value string }{
		{"listen", s.Listen},
		{"admin", s.Admin},
		{"protection-address", s.ProtectionAddress},
		{"referral-address", s.ReferralAddress},
		{"shelter-address", s.ShelterAddress},
		{"federal-address", s.FederalAddress},
	} {
		if a.value == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(a.value); err != nil || port == "" {
			return Problem(a.name, "must be host:port, such as 127.0.0.1:9102")
		}
	}
	if host, _, _ := net.SplitHostPort(s.Admin); s.Admin != "" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return Problem("admin", "must be a loopback address, such as 127.0.0.1:9112: metrics have no authentication")
	}
	if err := checkNATS("nats-url", s.NATSURL); err != nil {
		return err
	}
	if s.HubURL != "" {
		if err := checkNATS("hub-url", s.HubURL); err != nil {
			return err
		}
	}
	if err := tracing.Check(s.OTLPEndpoint); err != nil {
		return Problem("otlp-endpoint", err.Error())
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s.LogLevel) {
		return Problem("log-level", "must be debug, info, warn or error")
	}
	return nil
}

func checkNATS(name, value string) error {
	for one := range strings.SplitSeq(value, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return Problem(name, "must be an address such as nats://127.0.0.1:4221 or tls://hub.example:4230")
		}
	}
	return nil
}
