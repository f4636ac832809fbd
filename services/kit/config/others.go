package config

import "reflect"

// others are the settings that single programs have beside those of [Service]. Their variables are
// passed over by every other program, so that one environment can serve all of a machine. A test
// of deploy/network, which knows every program, fails where one is missing.
var others = []string{
	// gatewayd
	"http-listen", "tokens-file", "address-rate", "token-rate",
	// protectiond, referrald
	"federal-node", "risk-limits-file", "legal-limits-file",
	// protectiond
	"smtp-address", "smtp-security", "smtp-from", "smtp-username", "smtp-password-file", "webhook-url", "webhook-secret-file", "notify-ca-file", "gateway-url",
	// referrald
	"manual-confirm",
}

// elsewhere are the settings that some program of Amanat has.
func elsewhere() []string {
	names := append([]string(nil), others...)
	shared, _ := settingsOf(reflect.TypeFor[Service]()) // A mistake in it is found by each service's own Load.
	for _, s := range shared {
		names = append(names, s.name)
	}
	return names
}
