package network

import (
	"io"
	"reflect"
	"strings"
	"testing"

	"amanat.example/gateway"
	"amanat.example/services/federal"
	"amanat.example/services/kit/config"
	"amanat.example/services/protection"
	"amanat.example/services/referral"
	"amanat.example/services/shelter"
)

// One environment with the settings of every program is good for each of them.
func TestOneEnvironmentServesEveryProgram(t *testing.T) {
	given := map[string]string{
		"node": "sindh", "nats-url": "nats://127.0.0.1:4221", "hub-url": "tls://hub.example:4230", "log-level": "info",
		"manual-confirm": "true", "address-rate": "10", "token-rate": "10", "data": "/srv/amanat", "federal-node": "federal",
		"otlp-endpoint": "https://collector.example:4317", "smtp-security": "starttls", "smtp-from": "amanat@cpu.example",
		"webhook-url": "https://hook.example/amanat", "gateway-url": "https://gateway.example",
	}
	var environ []string
	for _, c := range []any{gateway.Config{}, federal.Config{}, protection.Config{}, referral.Config{}, shelter.Config{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(c)) {
			name := field.Tag.Get("koanf")
			if name == "" {
				continue
			}
			value, ok := given[name]
			if !ok {
				value = "127.0.0.1:9102" // Most of the others are addresses, and no program judges a file's name.
			}
			environ = append(environ, "AMANAT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+value)
		}
	}
	for program, load := range map[string]func() error{
		"gatewayd":    loads[gateway.Config](environ),
		"federald":    loads[federal.Config](environ),
		"protectiond": loads[protection.Config](environ),
		"referrald":   loads[referral.Config](environ),
		"shelterd":    loads[shelter.Config](environ),
	} {
		if err := load(); err != nil {
			t.Errorf("%s: %v (a new setting of one program goes into kit/config/others.go)", program, err)
		}
	}
}

func loads[T any](environ []string) func() error {
	return func() error {
		_, err := config.Load[T]("test", nil, environ, io.Discard)
		return err
	}
}
