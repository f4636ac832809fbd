package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"amanat.example/gateway/openapi"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
)

// document is what the tests need of the OpenAPI description.
type document struct {
	Info                struct{ Title, Version, Description string }
	Tags                []struct{ Name string }
	Security            []map[string][]string
	SecurityDefinitions map[string]struct{ Type, Name, In string }
	Paths               map[string]map[string]struct {
		OperationID string
		Parameters  []struct{ Name, In, Pattern string }
		Responses   map[string]struct {
			Schema  schema
			Headers map[string]any
		}
	}
	Definitions map[string]schema
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Properties           map[string]schema
	Items                *schema
	AdditionalProperties *schema
}

// UnmarshalJSON reads `additionalProperties: true`, as the document has it for what may be anything, as a schema that says nothing.
func (s *schema) UnmarshalJSON(data []byte) error {
	type plain schema
	if string(data) == "true" {
		return nil
	}
	return json.Unmarshal(data, (*plain)(s))
}

func readDocument(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(openapi.Document, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// fits reports where a value is not what its schema says.
func (d document) fits(t *testing.T, path string, value any, s schema) {
	t.Helper()
	if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
		if s, ok = d.Definitions[name]; !ok {
			t.Errorf("%s: there is no definition %s", path, name)
		}
	}
	switch v := value.(type) {
	case string:
		if s.Type != "string" {
			t.Errorf("%s is a text, and the document says %q", path, s.Type)
		}
	case float64:
		if s.Type != "integer" {
			t.Errorf("%s is a number, and the document says %q", path, s.Type)
		}
	case []any:
		if s.Type != "array" || s.Items == nil {
			t.Fatalf("%s is a list, and the document says %q", path, s.Type)
		}
		for _, one := range v {
			d.fits(t, path+"[]", one, *s.Items)
		}
	case map[string]any:
		for name, one := range v {
			member, ok := s.Properties[name]
			if !ok && s.AdditionalProperties != nil {
				member, ok = *s.AdditionalProperties, true
			}
			if !ok {
				t.Errorf("%s.%s is not in the document", path, name)
				continue
			}
			d.fits(t, path+"."+name, one, member)
		}
	default:
		t.Errorf("%s is a %T", path, v)
	}
}

func TestDocumentSaysWhatItIs(t *testing.T) {
	d := readDocument(t)
	if d.Info.Title != "Amanat" || d.Info.Version == "" || strings.Contains(d.Info.Version, "not set") || d.Info.Description == "" {
		t.Errorf("info: %+v", d.Info)
	}
	token := d.SecurityDefinitions["token"]
	if token.In != "header" || token.Name != "Authorization" || len(d.Security) != 1 || d.Security[0]["token"] == nil {
		t.Errorf("security: %+v, definitions %+v", d.Security, d.SecurityDefinitions)
	}
	for _, tag := range d.Tags {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(routedCalls())), func(id string) bool { return strings.HasPrefix(id, tag.Name+"_") }) {
			t.Errorf("%s is described, and has no call", tag.Name)
		}
	}
	for name := range d.Definitions {
		if strings.HasPrefix(name, "google.rpc.") || strings.HasPrefix(name, "rpc") {
			t.Errorf("%s is described, and never sent", name)
		}
	}
}

// Real refusals, from each place that makes them, are what the document says of every call.
func TestRefusalsAreAsTheDocumentSays(t *testing.T) {
	var refusal error
	door := openDoor(t, &shelter{get: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) { return nil, refusal }})
	d := readDocument(t)
	var answers []answer
	for _, refusal = range []error{
		fault.New(fault.NoCapacity, "No bed is free.", "group", "nodes/sindh/shelters/a1/groups/b1"),
		fault.InvalidField("name", "must be another"), errors.New("a cause"),
	} {
		answers = append(answers, door.ask("GET", "/v1/"+holdName, ""))
	}
	answers = append(answers,
		door.ask("GET", "/v1/"+holdName, "", "Authorization: "), door.ask("POST", groupPath, `{"quantitty":1}`),
		door.ask("GET", "/v1/nowhere", ""), door.ask("DELETE", "/v1/"+holdName, ""))
	seen := map[string]bool{}
	for path, methods := range d.Paths {
		for method, o := range methods {
			said, ok := o.Responses["default"]
			if !ok {
				t.Errorf("%s %s does not say how it fails", method, path)
			}
			if seen[said.Schema.Ref] {
				continue
			}
			seen[said.Schema.Ref] = true
			for _, a := range answers {
				a.problem(t)
				var body any
				if err := json.Unmarshal(a.body, &body); err != nil {
					t.Fatal(err)
				}
				d.fits(t, "problem", body, said.Schema)
			}
		}
	}
}

// routedCalls are the RPCs that have a route, by the names that the document gives them.
func routedCalls() map[string]protoreflect.MethodDescriptor {
	routed := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				if strings.HasPrefix(string(f.Package()), "amanat.") && proto.HasExtension(m.Options(), annotations.E_Http) {
					routed[string(s.Name())+"_"+string(m.Name())] = m
				}
			}
		}
		return true
	})
	return routed
}

// What is described is served by the call that it says, and every call with a route is described.
func TestDocumentAndRoutesAreTheSame(t *testing.T) {
	nobody := "127.0.0.1:1" // A call that is made is answered "unavailable" and counted under its name.
	door := openDoor(t, nil, func(c *Config) {
		c.ProtectionAddress, c.ReferralAddress, c.ShelterAddress, c.FederalAddress = nobody, nobody, nobody, nobody
		c.AddressRate, c.TokenRate = 1000, 1000
	})
	var described []string
	for path, methods := range readDocument(t).Paths {
		for method, o := range methods {
			asked := path
			for _, p := range o.Parameters {
				if p.In == "path" {
					asked = strings.ReplaceAll(asked, "{"+p.Name+"}", strings.ReplaceAll(p.Pattern, "[^/]+", "a1"))
				}
			}
			described = append(described, o.OperationID)
			got := door.ask(strings.ToUpper(method), asked, "")
			if got.problem(t); got.status != http.StatusServiceUnavailable {
				t.Errorf("%s %s: %d %s", method, asked, got.status, got.body)
			}
			service, call, _ := strings.Cut(o.OperationID, "_")
			if !strings.Contains(door.log.all(), "."+service+"/"+call+`"`) {
				t.Errorf("%s %s did not reach %s", method, asked, o.OperationID)
			}
		}
	}
	routed := slices.Sorted(maps.Keys(routedCalls()))
	slices.Sort(described)
	if len(routed) < 20 || !slices.Equal(described, routed) {
		t.Errorf("described: %v\nrouted:    %v", described, routed)
	}
}

// Which headers a call has is said by its request and its answer, and the document says the same.
func TestDocumentHasTheHeadersOfEachCall(t *testing.T) {
	text := func(m protoreflect.MessageDescriptor, field protoreflect.Name) bool {
		f := m.Fields().ByName(field)
		return f != nil && f.Kind() == protoreflect.StringKind && !f.IsList()
	}
	described := map[string]string{}
	for _, methods := range readDocument(t).Paths {
		for _, o := range methods {
			var all []string
			for _, p := range o.Parameters {
				if p.In == "header" {
					all = append(all, p.Name)
				}
			}
			if _, ok := o.Responses["200"].Headers["ETag"]; ok {
				all = append(all, "ETag")
			}
			if _, ok := o.Responses["304"]; ok {
				all = append(all, "304")
			}
			described[o.OperationID] = strings.Join(all, " ")
		}
	}
	seen := map[string]int{}
	for id, m := range routedCalls() {
		rule := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		var want []string
		add := func(condition bool, names ...string) {
			if condition {
				want = append(want, names...)
			}
		}
		reads, tagged := rule.GetGet() != "", text(m.Output(), "etag") && !m.IsStreamingServer()
		add(m.IsStreamingServer() && text(m.Input(), "after"), "Last-Event-ID")
		add(reads && tagged, "If-None-Match")
		add(!reads && text(m.Input(), "etag"), "If-Match")
		add(!reads && text(m.Input(), "request_id"), "Idempotency-Key")
		add(tagged, "ETag")
		add(reads && tagged, "304")
		if got := described[id]; got != strings.Join(want, " ") {
			t.Errorf("%s: the document has %q, want %q", id, got, want)
		}
		for _, one := range want {
			seen[one]++
		}
	}
	for _, name := range []string{"Last-Event-ID", "If-None-Match", "If-Match", "Idempotency-Key", "ETag"} {
		if seen[name] < 2 {
			t.Errorf("%d calls have %s", seen[name], name)
		}
	}
}
