package pages

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	gatewayv1 "amanat.example/proto/amanat/gateway/v1"
)

// document is what the page shows of an OpenAPI 2.0 description.
type document struct {
	Tags []struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"tags"`
	Paths       map[string]map[string]operation `json:"paths"`
	Definitions map[string]schema               `json:"definitions"`
}

type operation struct {
	ID         string              `json:"operationId"`
	Summary    string              `json:"summary"`
	Tags       []string            `json:"tags"`
	Parameters []property          `json:"parameters"`
	Responses  map[string]response `json:"responses"`
}

type response struct {
	Schema schema `json:"schema"`
}

type property struct {
	Name        string `json:"name"`
	In          string `json:"in"`
	Pattern     string `json:"pattern"`
	Required    bool   `json:"required"`
	Description string `json:"description"`
	schema
	Body schema `json:"schema"`
}

type schema struct {
	Ref         string            `json:"$ref"`
	Type        string            `json:"type"`
	Format      string            `json:"format"`
	Description string            `json:"description"`
	Items       *schema           `json:"items"`
	Enum        []string          `json:"enum"`
	Properties  map[string]schema `json:"properties"`
	Required    []string          `json:"required"`
}

// Description is what the page shows.
type Description struct {
	// Problem is the name of the type that every failed call is answered with.
	Problem  string
	Services []Group
	Types    []Type
}

// Group is one service's calls.
type Group struct {
	Name, Description string
	Calls             []Call
}

// Call is one method at one path.
type Call struct {
	ID, Method, Path, Summary string
	Parameters                []Field
	Body, Answer              Link
}

// Type is one message or enumeration.
type Type struct {
	Name, Description string
	Values            []Value
	Fields            []Field
}

// Field is a parameter or a member of a type.
type Field struct {
	Name, Description string
	Values            []Value
	Required          bool
	Header            bool // not in the address, but in a header of the request
	Link
}

// Value is one of an enumeration's.
type Value struct{ Name, Meaning string }

// Link is a type: of ours under Target, else only its Text.
type Link struct{ Text, Target string }

// describe reads an OpenAPI description.
func describe(raw []byte) (Description, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return Description{}, fmt.Errorf("read the OpenAPI description: %w", err)
	}
	out := Description{Problem: string((&gatewayv1.Problem{}).ProtoReflect().Descriptor().FullName())}
	for _, tag := range d.Tags {
		out.Services = append(out.Services, Group{Name: tag.Name, Description: tag.Description, Calls: d.calls(tag.Name)})
	}
	for _, name := range slices.Sorted(maps.Keys(d.Definitions)) {
		s := d.Definitions[name]
		t := Type{Name: name}
		t.Description, t.Values = values(s.Description, s.Enum)
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[field]
			t.Fields = append(t.Fields, newField(field, p, slices.Contains(s.Required, field)))
		}
		out.Types = append(out.Types, t)
	}
	return out, nil
}

// calls are those of one service, by path as it is asked for.
func (d document) calls(tag string) []Call {
	var all []Call
	for path, methods := range d.Paths {
		for method, o := range methods {
			if !slices.Contains(o.Tags, tag) {
				continue
			}
			c := Call{ID: o.ID, Method: strings.ToUpper(method), Path: path, Summary: o.Summary, Answer: o.Responses["200"].Schema.link()}
			for _, p := range o.Parameters {
				switch p.In {
				case "path":
					form := strings.ReplaceAll(p.Pattern, "[^/]+", "*")
					if form == "" {
						form = "*"
					}
					c.Path = strings.ReplaceAll(c.Path, "{"+p.Name+"}", form)
				case "body":
					c.Body = p.Body.link()
				default:
					p.schema.Description = p.Description
					field := newField(p.Name, p.schema, p.Required)
					field.Header = p.In == "header"
					c.Parameters = append(c.Parameters, field)
				}
			}
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Call) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return all
}

func newField(name string, s schema, required bool) Field {
	f := Field{Name: name, Required: required, Link: s.link()}
	f.Description, f.Values = values(s.Description, s.Enum)
	return f
}

// values takes apart what the generator writes of an enumeration: a text, and a line ` - NAME: meaning`
// for each value. The value that is never written is left out.
func values(description string, names []string) (text string, all []Value) {
	meanings := map[string]string{}
	var lines []string
	for line := range strings.Lines(description) {
		name, meaning, ok := strings.Cut(strings.TrimPrefix(line, " - "), ": ")
		if ok && slices.Contains(names, name) {
			meanings[name] = strings.TrimSpace(meaning)
			continue
		}
		lines = append(lines, line)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, "_UNSPECIFIED") {
			all = append(all, Value{name, meanings[name]})
		}
	}
	return strings.TrimSpace(strings.Join(lines, "")), all
}

func (s schema) link() Link {
	switch {
	case s.Ref != "":
		name := strings.TrimPrefix(s.Ref, "#/definitions/")
		return Link{name, name}
	case s.Items != nil:
		of := s.Items.link()
		return Link{"list of " + of.Text, of.Target}
	case s.Format != "":
		return Link{Text: s.Format}
	}
	return Link{Text: s.Type}
}
