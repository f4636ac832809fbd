package gateway

import (
	"net"
	"path/filepath"
	"regexp"

	"amanat.example/gateway/rest"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/tracing"
)

// Config is the gateway's settings. Those it shares with the node's services have the same names
// there; it serves no gRPC and has no NATS, so it asks for neither.
type Config struct {
	Data  string `koanf:"data" required:"true" help:"Root folder of the data; the gateway keeps its own under <data>/<node>/gateway."`
	Node  string `koanf:"node" required:"true" help:"Name of this node, such as sindh."`
	Admin string `koanf:"admin" default:"127.0.0.1:0" help:"Loopback address of metrics and health, host:port."`

	HTTPListen string `koanf:"http-listen" required:"true" help:"Address to serve HTTPS on, host:port."`
	TokensFile string `koanf:"tokens-file" help:"File of the API tokens; empty: <data>/<node>/gateway/tokens.json."`

	ProtectionAddress string `koanf:"protection-address" help:"Address of this node's protection service, host:port; empty: not served."`
	ReferralAddress   string `koanf:"referral-address" help:"Address of this node's referral service, host:port; empty: not served."`
	ShelterAddress    string `koanf:"shelter-address" help:"Address of this node's shelter service, host:port; empty: not served."`
	FederalAddress    string `koanf:"federal-address" help:"Address of this node's federal service, host:port; empty: not served."`

	AddressRate int `koanf:"address-rate" help:"Requests a second from one address (IPv6: one /64), with bursts of twice as many; 0: 100."`
	TokenRate   int `koanf:"token-rate" help:"Requests a second under one API token, with bursts of twice as many; 0: 50."`

	OTLPEndpoint string `koanf:"otlp-endpoint" help:"OpenTelemetry collector that takes traces (OTLP over gRPC): https://host:port, or http:// on this machine, such as http://127.0.0.1:4317; empty: no traces."`

	LogLevel string `koanf:"log-level" default:"info" help:"Least severe lines that are logged: debug, info, warn or error."`
}

var nodeName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}$`)

// Check judges each setting by itself.
func (c *Config) Check() error {
	if !nodeName.MatchString(c.Node) {
		return config.Problem("node", "must be 2 to 31 lower case letters, digits and hyphens, such as sindh")
	}
	addresses := []struct{ name, value string }{{"http-listen", c.HTTPListen}, {"admin", c.Admin}}
	for _, s := range c.services() {
		addresses = append(addresses, struct{ name, value string }{s.Name + "-address", s.Address})
	}
	for _, a := range addresses {
		if _, port, err := net.SplitHostPort(a.value); err != nil || port == "" {
			return config.Problem(a.name, "must be host:port, such as 127.0.0.1:8081")
		}
	}
	if host, _, _ := net.SplitHostPort(c.Admin); host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return config.Problem("admin", "must be a loopback address, such as 127.0.0.1:8091: metrics have no authentication")
	}
	if err := tracing.Check(c.OTLPEndpoint); err != nil {
		return config.Problem("otlp-endpoint", err.Error())
	}
	for _, rate := range []struct {
		name  string
		value int
	}{{"address-rate", c.AddressRate}, {"token-rate", c.TokenRate}} {
		if rate.value < 0 || rate.value > 1_000_000 {
			return config.Problem(rate.name, "must be a number from 0 to 1000000, such as 100")
		}
	}
	return nil
}

// services are those whose address is set.
func (c *Config) services() []rest.Service {
	var set []rest.Service
	for _, s := range []rest.Service{
		{Name: "protection", Address: c.ProtectionAddress},
		{Name: "referral", Address: c.ReferralAddress},
		{Name: "shelter", Address: c.ShelterAddress},
		{Name: "federal", Address: c.FederalAddress},
	} {
		if s.Address != "" {
			set = append(set, s)
		}
	}
	return set
}

// TokensPath is where the API tokens are: session.Create writes there, and the gateway looks there.
func (c *Config) TokensPath() string {
	if c.TokensFile != "" {
		return c.TokensFile
	}
	return filepath.Join(c.Data, c.Node, "gateway", "tokens.json")
}
