package config

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

const (
	envPrefix = "AMANAT_"
	fileFlag  = "config"
	fileEnv   = envPrefix + "CONFIG"
)

// ErrHelp is returned after `--help` was asked for and printed: end the program with success.
var ErrHelp = errors.New("help was printed")

// Checker is a settings struct with rules of its own. Check is called when all is read; its
// errors are made with [Problem].
type Checker interface{ Check() error }

// Problem is an error of one setting. The sentence says what it must be, such as "must be
// host:port, such as 127.0.0.1:9102".
func Problem(setting, sentence string) error {
	return fmt.Errorf("setting %s %s (file key %s, variable %s, flag --%s)",
		setting, sentence, setting, setting2env(setting), setting)
}

func setting2env(name string) string { return setting{name: name}.env() }

// Load reads the settings of a program into T, a struct whose fields have the tags `koanf`
// (name, such as `hub-url`), `help` (one line), and where wanted `default` and `required:"true"`.
// Fields are string, bool, int, time.Duration and []string (`a,b` outside the file); fields of
// embedded structs count as T's own. args are those after the program's name, environ is as
// os.Environ gives it. The file is the one of `--config` or `AMANAT_CONFIG`; without either there is none.
// `--help` prints every setting to out and returns ErrHelp.
func Load[T any](program string, args, environ []string, out io.Writer) (T, error) {
	var result T
	settings, err := settingsOf(reflect.TypeFor[T]())
	if err != nil {
		return result, err
	}
	l := loader{program: program, settings: settings, tree: koanf.New("\x00"), from: make(map[string]string)}
	if err := l.read(args, environ, out); err != nil {
		return result, err
	}
	if err := l.fill(&result); err != nil {
		var none T
		return none, err
	}
	if checked, ok := any(&result).(Checker); ok {
		if err := checked.Check(); err != nil {
			var none T
			return none, err
		}
	}
	return result, nil
}

// loader gathers the settings layer by layer; a later one covers an earlier one.
type loader struct {
	program  string
	settings []setting
	tree     *koanf.Koanf
	from     map[string]string // where each value was set, for errors
}

func (l *loader) read(args, environ []string, out io.Writer) error {
	flags, path, err := l.parseFlags(args, out)
	if err != nil {
		return err
	}
	variables, envPath, err := l.parseEnv(environ)
	if err != nil {
		return err
	}
	if path == "" {
		path = envPath
	}
	defaults := make(map[string]any)
	for _, s := range l.settings {
		if s.usual != "" {
			defaults[s.name] = s.usual
		}
	}
	if err := l.layer(defaults, func(string) string { return "default" }); err != nil {
		return err
	}
	if err := l.readFile(path); err != nil {
		return err
	}
	if err := l.layer(variables, setting2env); err != nil {
		return err
	}
	return l.layer(flags, func(name string) string { return "--" + name })
}

func (l *loader) layer(values map[string]any, from func(name string) string) error {
	for name, value := range values {
		if value == nil { // A key of the file with nothing behind it.
			delete(values, name)
			continue
		}
		l.from[name] = from(name)
	}
	return l.tree.Load(confmap.Provider(values, ""), nil)
}

func (l *loader) readFile(path string) error {
	if path == "" {
		return nil
	}
	content := koanf.New("\x00")
	if err := content.Load(file.Provider(path), yaml.Parser()); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("there is no settings file %s: write it, or leave out --%s and %s", path, fileFlag, fileEnv)
		}
		if _, unread := errors.AsType[*fs.PathError](err); unread {
			return fmt.Errorf("settings file %s: %w", path, err)
		}
		return fmt.Errorf("settings file %s: %s", path, l.yamlFault(err.Error()))
	}
	values := content.Raw()
	for name := range values {
		if !l.known(name) {
			return fmt.Errorf("settings file %s: %q is not a setting of %s%s", path, name, l.program, l.nearest(name))
		}
	}
	return l.layer(values, func(string) string { return path })
}

var (
	yamlLine  = regexp.MustCompile(`line [0-9]+`)
	yamlTwice = regexp.MustCompile(`mapping key "([^"]*)" already defined at line [0-9]+`)
)

// yamlFault says where a file is no YAML. What the parser says of it may repeat a value, which may be a secret.
func (l *loader) yamlFault(sentence string) string {
	place := cmp.Or(yamlLine.FindString(sentence), "it")
	if twice := yamlTwice.FindStringSubmatch(sentence); twice != nil && l.known(twice[1]) {
		return place + ": " + twice[0]
	}
	return place + " cannot be read: write each setting as `name: value`, with quotation marks around a value that holds more than letters and digits"
}

func (l *loader) parseEnv(environ []string) (values map[string]any, path string, err error) {
	names := make(map[string]string, len(l.settings))
	for _, s := range l.settings {
		names[s.env()] = s.name
	}
	var others []string
	foreign := make(map[string]bool)
	for _, name := range elsewhere() {
		others = append(others, name)
		foreign[setting2env(name)] = true
	}
	values = make(map[string]any)
	for _, pair := range environ {
		variable, value, _ := strings.Cut(pair, "=")
		switch name, known := names[variable]; {
		case variable == fileEnv:
			path = value
		case known && value == "": // As many tools write a variable that is not set.
		case known:
			values[name] = value
		case foreign[variable]: // For another program of this machine.
		case strings.HasPrefix(variable, envPrefix):
			return nil, "", fmt.Errorf("environment variable %s is a setting of no program of Amanat%s", variable,
				l.nearest(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, envPrefix), "_", "-")), others...))
		}
	}
	return values, path, nil
}

func (l *loader) parseFlags(args []string, out io.Writer) (values map[string]any, path string, err error) {
	set := flag.NewFlagSet(l.program, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&path, fileFlag, "", "")
	for _, s := range l.settings {
		if s.kind.Kind() == reflect.Bool {
			set.Bool(s.name, false, "")
		} else {
			set.String(s.name, "", "")
		}
	}
	err = set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		l.help(out)
		return nil, "", ErrHelp
	case err != nil:
		return nil, "", fmt.Errorf("%w: --help lists the settings of %s", err, l.program)
	case set.NArg() > 0:
		return nil, "", fmt.Errorf("%q is not a setting of %s: settings are given as --name=value", set.Arg(0), l.program)
	}
	values = make(map[string]any)
	set.Visit(func(f *flag.Flag) {
		if f.Name != fileFlag {
			values[f.Name] = f.Value.String()
		}
	})
	return values, path, nil
}

// fill decodes what was gathered, and finds what is missing.
func (l *loader) fill(result any) error {
	target := reflect.ValueOf(result).Elem()
	for _, s := range l.settings {
		value := l.tree.Get(s.name)
		if value == nil || value == "" && s.mayBeEmpty() {
			if s.required {
				return Problem(s.name, "is needed: "+s.help)
			}
			continue
		}
		decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
			Result:           target.FieldByIndex(s.index).Addr().Interface(),
			WeaklyTypedInput: l.from[s.name] == "default" || isText(value),
			DecodeHook: mapstructure.ComposeDecodeHookFunc(
				mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(","),
			),
		})
		if err != nil {
			return err
		}
		bare := value == "" || s.kind == reflect.TypeFor[time.Duration]() && !isText(value) // Nothing, or a number without its unit.
		err = decoder.Decode(value)
		// A broken number, or one that is too large, would be taken for another.
		another := s.kind.Kind() == reflect.Int && !isText(value) && fmt.Sprint(value) != fmt.Sprint(target.FieldByIndex(s.index))
		if err != nil || bare || another {
			return fmt.Errorf("%w; it was set by %s", Problem(s.name, "must be a "+s.valueName()), l.from[s.name])
		}
	}
	return nil
}

func isText(value any) bool {
	_, ok := value.(string)
	return ok
}

func (l *loader) known(name string) bool {
	return slices.ContainsFunc(l.settings, func(s setting) bool { return s.name == name })
}

// nearest proposes a setting that is spelt alike: of this program, else one of the others.
func (l *loader) nearest(name string, others ...string) string {
	best, least := "", 3
	var known []string
	for _, s := range l.settings {
		known = append(known, s.name)
	}
	for _, one := range append(known, others...) {
		if d := distance(name, one); d < least {
			best, least = one, d
		}
	}
	if best == "" {
		return ": --help lists those of " + l.program
	}
	return ": did you mean " + best + "?"
}

// distance is how many letters must be changed, added or taken away to make one name the other
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func (l *loader) help(out io.Writer) {
	w := &strings.Builder{}
	fmt.Fprintf(w, "Usage: %s [--%s file.yaml] [--setting=value]…\n\n", l.program, fileFlag)
	fmt.Fprintf(w, "Each setting stands in the file, in a variable or in a flag; a variable covers the\nfile, a flag covers both. The file may also be named by %s.\n\n", fileEnv)
	for _, s := range l.settings {
		fmt.Fprintf(w, "  --%s <%s>\n        %s", s.name, s.valueName(), s.help)
		switch {
		case s.required:
			w.WriteString(" Needed.")
		case s.usual != "":
			w.WriteString(" Default: " + s.usual + ".")
		}
		fmt.Fprintf(w, "\n        file: %s   variable: %s\n", s.name, s.env())
	}
	_, _ = io.WriteString(out, w.String()) // Nobody is there to be told.
}
