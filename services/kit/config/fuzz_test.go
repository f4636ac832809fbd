package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"

	"amanat.example/services/kit/config"
	"amanat.example/services/kit/fuzztest"
)

// Whatever a settings file holds, it sets what flags of the same values would set, or is refused with the setting or the file named and no value
// of it repeated: an address may hold a password.
func FuzzSettingsFile(f *testing.F) {
	const good = "data: /srv/amanat\nnode: sindh\nlisten: 127.0.0.1:9102\nnats-url: nats://user:" + fuzztest.Canary + "@127.0.0.1:4221\n"
	for _, file := range []string{
		"", good, good + "workers: 7\nhold-for: 10m\nstrict: true\nunits: [hub, quetta]\n", good + "units: hub,quetta\nworkers: \"0x10\"\n",
		fuzztest.Canary, "- " + fuzztest.Canary, "nats-url: *" + fuzztest.Canary, "nats-url: !!int " + fuzztest.Canary, "hub-url: @" + fuzztest.Canary,
		"nats-url: %" + fuzztest.Canary, "hub-url: {a: " + fuzztest.Canary + "}", "workers: " + fuzztest.Canary, "hold-for: " + fuzztest.Canary, "strict: " + fuzztest.Canary,
		"units: {" + fuzztest.Canary + ": a}", "log-level: " + fuzztest.Canary, "otlp-endpoint: http://" + fuzztest.Canary + "\n", "nats-url: ://" + fuzztest.Canary,
		"listen: " + fuzztest.Canary, "node: " + fuzztest.Canary + "!", "? {a: " + fuzztest.Canary + "}\n: b", "{? [" + fuzztest.Canary + "] : b}",
		"workers: 1\nworkers: 2", "<<: " + fuzztest.Canary, "a: &a [*a, " + fuzztest.Canary + "]", "hub-url: 'tls://" + fuzztest.Canary, "\"a\\0b\": 1", "\"\": 1", "\xff",
		good + "workers: 1.5", good + "workers: 18446744073709551615", good + "workers: .inf", good + "workers: 1e3", good + "hold-for: 10", good + "strict: 1",
		good + "units: [1, true]", good + "units: [[a]]", good + "--- \nworkers: 3", "workers: !!binary " + fuzztest.Canary, good + "strict: null\nworkers:",
	} {
		f.Add([]byte(file))
	}
	path := filepath.Join(f.TempDir(), "settings.yaml")
	read := func(args ...string) (settings, error) {
		return config.Load[settings]("referrald", args, nil, &strings.Builder{})
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		values, _ := yaml.Parser().Unmarshal(file)
		named := false // the name of a setting may be repeated, its value may not
		for name := range values {
			named = named || strings.Contains(name, fuzztest.Canary)
		}
		for _, given := range [][]string{{"--config=" + path}, append([]string{"--config=" + path}, enough...)} {
			got, err := read(given...)
			if err != nil {
				if !named && strings.Contains(err.Error(), fuzztest.Canary) {
					t.Errorf("the error repeats a value: %v", err)
				}
				if !strings.HasPrefix(err.Error(), "setting ") && !strings.HasPrefix(err.Error(), "settings file "+path+": ") {
					t.Errorf("the error names neither setting nor file: %v", err)
				}
				continue
			}
			if number := values["workers"]; number != nil && reflect.TypeOf(number).Kind() != reflect.String && fmt.Sprint(number) != fmt.Sprint(got.Workers) {
				t.Errorf("%v workers are taken for %d", number, got.Workers)
			}
			if slices.ContainsFunc(got.Units, func(unit string) bool { return strings.Contains(unit, ",") }) {
				continue // flags cannot say it
			}
			same, err := read("--data="+got.Data, "--node="+got.Node, "--listen="+got.Listen, "--admin="+got.Admin, "--nats-url="+got.NATSURL, "--hub-url="+got.HubURL,
				"--protection-address="+got.ProtectionAddress, "--referral-address="+got.ReferralAddress, "--shelter-address="+got.ShelterAddress,
				"--federal-address="+got.FederalAddress, "--otlp-endpoint="+got.OTLPEndpoint, "--log-level="+got.LogLevel, "--hold-for="+got.HoldFor.String(),
				fmt.Sprintf("--workers=%d", got.Workers), fmt.Sprintf("--strict=%v", got.Strict), "--units="+strings.Join(got.Units, ","))
			if !slices.Equal(same.Units, got.Units) {
				t.Errorf("units %q, by flags %q", got.Units, same.Units)
			}
			same.Units = got.Units
			if err != nil || !reflect.DeepEqual(same, got) {
				t.Errorf("the file sets  %+v\nthe flags set %+v, %v", got, same, err)
			}
		}
	})
}
