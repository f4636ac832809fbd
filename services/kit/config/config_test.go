package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/config"
)

type settings struct {
	config.Service
	HoldFor time.Duration `koanf:"hold-for" default:"90m" help:"How long a tentative hold lasts."`
	Workers int           `koanf:"workers" default:"16" help:"Calls under way at once."`
	Strict  bool          `koanf:"strict" help:"Refuse what is doubtful."`
	Units   []string      `koanf:"units" help:"Units that start with the service."`
}

// enough are the settings without which nothing loads.
var enough = []string{"--data=/srv/amanat", "--node=sindh", "--listen=127.0.0.1:9102", "--nats-url=nats://127.0.0.1:4221"}

func load(t *testing.T, file string, environ []string, args ...string) (settings, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config=" + path}, args...)
	}
	return config.Load[settings]("referrald", args, environ, &strings.Builder{})
}

// Nothing is not zero: a hold of no length, or no workers.
func TestWhatIsEmptySetsNothing(t *testing.T) {
	got, err := load(t, "workers:\n", []string{"AMANAT_HOLD_FOR="}, enough...)
	if err != nil || got.HoldFor != 90*time.Minute || got.Workers != 16 {
		t.Errorf("got %v and %d workers, %v", got.HoldFor, got.Workers, err)
	}
	for _, flag := range []string{"--hold-for=", "--workers="} {
		if got, err := load(t, "", nil, append(enough, flag)...); err == nil {
			t.Errorf("%s: no error; got %+v", flag, got)
		}
	}
}

func TestLayersCoverEachOther(t *testing.T) {
	file := "workers: 1\nhold-for: 10m\nunits: [hub, quetta]\nstrict: true\n"
	got, err := load(t, file, []string{"AMANAT_WORKERS=2", "AMANAT_HOLD_FOR=20m", "HOME=/root"}, append(enough, "--workers=3")...)
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		Service: config.Service{
			Data: "/srv/amanat", Node: "sindh", Listen: "127.0.0.1:9102", Admin: "127.0.0.1:0",
			NATSURL: "nats://127.0.0.1:4221", LogLevel: "info",
		},
		HoldFor: 20 * time.Minute, Workers: 3, Strict: true, Units: []string{"hub", "quetta"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A machine that runs several programs may have one environment for all.
func TestVariablesOfOtherProgramsArePassedOver(t *testing.T) {
	type small struct {
		Node string `koanf:"node" help:"Name of this node."`
	}
	got, err := config.Load[small]("small", nil, []string{
		"AMANAT_NODE=sindh", "AMANAT_NATS_URL=nats://127.0.0.1:4221", "AMANAT_TOKENS_FILE=a", "AMANAT_MANUAL_CONFIRM=true",
	}, &strings.Builder{})
	if err != nil || got.Node != "sindh" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestListsOutsideTheFile(t *testing.T) {
	got, err := load(t, "", []string{"AMANAT_UNITS=hub,quetta"}, append(enough, "--strict")...)
	if err != nil || !reflect.DeepEqual(got.Units, []string{"hub", "quetta"}) || !got.Strict {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFileNamedByVariable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte("workers: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := load(t, "", []string{"AMANAT_CONFIG=" + path}, enough...)
	if err != nil || got.Workers != 7 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestErrorsNameTheSettingAndTheRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		environ []string
		args    []string
		want    []string
	}{
		"unknown key":        {file: "worker: 3", args: enough, want: []string{`"worker"`, "did you mean workers?", "settings.yaml"}},
		"unknown far key":    {file: "colour: red", args: enough, want: []string{`"colour"`, "--help lists those of referrald"}},
		"nested key":         {file: "hub:\n  url: x", args: enough, want: []string{`"hub"`}},
		"key given twice":    {file: "workers: 1\nworkers: 2", args: enough, want: []string{"workers", "settings.yaml"}},
		"unknown variable":   {environ: []string{"AMANAT_HOLD_FRO=1m"}, args: enough, want: []string{"AMANAT_HOLD_FRO", "did you mean hold-for?"}},
		"near another's":     {environ: []string{"AMANAT_TOKENSFILE=a"}, args: enough, want: []string{"AMANAT_TOKENSFILE", "did you mean tokens-file?"}},
		"unknown far":        {environ: []string{"AMANAT_COLOUR=red"}, args: enough, want: []string{"AMANAT_COLOUR", "no program", "--help"}},
		"another's flag":     {args: append(enough, "--tokens-file=a"), want: []string{"tokens-file", "--help"}},
		"another's key":      {file: "tokens-file: a", args: enough, want: []string{`"tokens-file"`}},
		"unknown flag":       {args: append(enough, "--wrokers=2"), want: []string{"wrokers", "--help"}},
		"stray argument":     {args: append(enough, "start"), want: []string{`"start"`, "--name=value"}},
		"no such file":       {args: append(enough, "--config=/nowhere/a.yaml"), want: []string{"/nowhere/a.yaml"}},
		"missing":            {args: enough[:3], want: []string{"nats-url", "is needed", "AMANAT_NATS_URL"}},
		"not a number":       {environ: []string{"AMANAT_WORKERS=many"}, args: enough, want: []string{"workers", "must be a number", "set by AMANAT_WORKERS"}},
		"a broken number":    {file: "workers: 1.5", args: enough, want: []string{"workers", "must be a number"}},
		"too large a number": {file: "workers: 18446744073709551615", args: enough, want: []string{"workers", "must be a number"}},
		"a broken password":  {file: "workers: 2\nnats-url: *secret", args: enough, want: []string{"settings.yaml", "quotation marks"}},
		"number for text":    {file: "log-level: 3", args: enough, want: []string{"log-level", "must be a string"}},
		"duration, no unit":  {file: "hold-for: 10", args: enough, want: []string{"hold-for", "such as 10s"}},
		"node":               {args: append(enough, "--node=Sindh Province"), want: []string{"node", "lower case"}},
		"address":            {args: append(enough, "--shelter-address=9103"), want: []string{"shelter-address", "host:port"}},
		"admin in public":    {args: append(enough, "--admin=0.0.0.0:9112"), want: []string{"admin", "loopback"}},
		"NATS":               {args: append(enough, "--nats-url=127.0.0.1:4222"), want: []string{"nats-url", "nats://"}},
		"hub":                {args: append(enough, "--hub-url=hub"), want: []string{"hub-url", "tls://"}},
		"traces in the open": {args: append(enough, "--otlp-endpoint=http://collector.example:4317"), want: []string{"otlp-endpoint", "https://"}},
		"level":              {args: append(enough, "--log-level=loud"), want: []string{"log-level", "debug, info"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, c.file, c.environ, c.args...)
			if err == nil {
				t.Fatalf("no error; got %+v", got)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestHelpPrintsEverySetting(t *testing.T) {
	out := &strings.Builder{}
	_, err := config.Load[settings]("referrald", []string{"--help"}, nil, out)
	if !errors.Is(err, config.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"--hold-for <duration such as 10s>", "How long a tentative hold lasts. Default: 90m.", "variable: AMANAT_HOLD_FOR",
		"--node <string>", "Name of this node, such as sindh. Needed.", "--units <a,b,…>", "AMANAT_CONFIG",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help does not say %q:\n%s", want, out)
		}
	}
}

func TestASettingWithoutHelpIsAMistake(t *testing.T) {
	type bare struct {
		Name string `koanf:"name"`
	}
	if _, err := config.Load[bare]("x", nil, nil, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "bare.Name") {
		t.Errorf("got %v", err)
	}
}

// A table of limits that cannot be read or is wrong is an error that names its setting, or its file and line.
func TestLimitsFiles(t *testing.T) {
	dir := t.TempDir()
	wrong := filepath.Join(dir, "laws.csv")
	if err := os.WriteFile(wrong, []byte("id,province,district,event,step,limit,law,section,source\na-rule,,,intake,FIR,4h,A law,,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, l := range map[string]config.Limits{
		"risk-limits-file":      {RiskLimitsFile: filepath.Join(dir, "none.csv")},
		wrong + ":2:31: source": {LegalLimitsFile: wrong},
	} {
		if _, err := l.ReadLimits(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	table, err := config.Limits{}.ReadLimits()
	if err != nil || len(table.Laws) == 0 || len(table.Risks) != 3 {
		t.Errorf("without files: %v, %v", table, err)
	}
}

// Whatever is set, a service that was started with settings has the machine's clock.
func TestTheClockIsNoSetting(t *testing.T) {
	got, err := load(t, "", nil, enough...)
	if err != nil || got.Clock != nil {
		t.Fatalf("%v, %v", got.Clock, err)
	}
	for _, environ := range [][]string{nil, {"AMANAT_CLOCK=calendar"}} {
		if _, err := load(t, "clock: calendar\n", environ, enough...); err == nil {
			t.Error("a clock can be set in the file or by a variable")
		}
	}
	for _, flag := range []string{"--clock=calendar", "--Clock=calendar"} {
		if _, err := load(t, "", nil, append(enough, flag)...); err == nil {
			t.Errorf("%s sets a clock", flag)
		}
	}
}
