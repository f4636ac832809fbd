package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// setting is one field of a settings struct.
type setting struct {
	name     string // as in the file and as a flag
	help     string
	usual    string // default, as written
	required bool
	kind     reflect.Type
	index    []int
}

func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// mayBeEmpty says whether nothing is a value of this setting.
func (s setting) mayBeEmpty() bool {
	return s.kind.Kind() == reflect.String || s.kind.Kind() == reflect.Slice
}

// valueName is what stands for the value in the help.
func (s setting) valueName() string {
	switch s.kind {
	case reflect.TypeFor[time.Duration]():
		return "duration such as 10s"
	case reflect.TypeFor[[]string]():
		return "a,b,…"
	}
	if s.kind.Kind() == reflect.Int {
		return "number"
	}
	return s.kind.Kind().String()
}

var kinds = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[bool](), reflect.TypeFor[int](),
	reflect.TypeFor[time.Duration](), reflect.TypeFor[[]string](),
}

// settingsOf lists the fields of a struct, those of embedded structs as its own. A clock is no setting.
func settingsOf(t reflect.Type) ([]setting, error) {
	var all []setting
	for _, field := range reflect.VisibleFields(t) {
		if field.Anonymous || !field.IsExported() || field.Type == reflect.TypeFor[Clock]() {
			continue
		}
		s := setting{
			name: field.Tag.Get("koanf"), help: field.Tag.Get("help"), usual: field.Tag.Get("default"),
			required: field.Tag.Get("required") == "true", kind: field.Type, index: field.Index,
		}
		if s.name == "" || s.help == "" {
			return nil, fmt.Errorf("config: %s.%s needs the tags koanf (its name) and help", t, field.Name)
		}
		known := false
		for _, kind := range kinds {
			known = known || kind == field.Type
		}
		if !known {
			return nil, fmt.Errorf("config: %s.%s is a %s, which is not a type of settings", t, field.Name, field.Type)
		}
		all = append(all, s)
	}
	return all, nil
}
