package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"amanat.example/gateway/openapi"
	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/rpc"
)

// annotated are the services whose contracts have routes, by the node's service that has them: `make gen` makes the gateway's handlers, and the
// description for programs, of the same contracts.
func annotated() map[string][]protoreflect.ServiceDescriptor {
	all := map[string][]protoreflect.ServiceDescriptor{}
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			if len(routesOf(service)) > 0 {
				name := strings.Split(string(service.FullName()), ".")[1] // amanat.shelter.v1.AdvertService
				all[name] = append(all[name], service)
			}
		}
		return true
	})
	for _, services := range all {
		slices.SortFunc(services, func(a, b protoreflect.ServiceDescriptor) int { return cmp.Compare(a.FullName(), b.FullName()) })
	}
	return all
}

// route is one of the gateway's, with the RPC that it calls.
type route struct {
	verb, path string
	body       bool
	method     protoreflect.MethodDescriptor
}

// rpc is the name of the RPC, as the log has it.
func (r route) rpc() string {
	return fmt.Sprintf("/%s/%s", r.method.Parent().FullName(), r.method.Name())
}

var pattern = regexp.MustCompile(`\{[a-z_.]+(?:=([^}]*))?\}`)

// routesOf are the routes of a service's methods, those that stream among them, with names in their places.
func routesOf(service protoreflect.ServiceDescriptor) (all []route) {
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
		if rule == nil {
			continue
		}
		for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			one := route{body: r.GetBody() != "", method: method}
			for verb, path := range map[string]string{"GET": r.GetGet(), "POST": r.GetPost(), "PATCH": r.GetPatch(), "PUT": r.GetPut(), "DELETE": r.GetDelete()} {
				if path != "" {
					one.verb = verb
					one.path = strings.ReplaceAll(pattern.ReplaceAllStringFunc(path, func(name string) string {
						if within := pattern.FindStringSubmatch(name)[1]; within != "" {
							return within
						}
						return "*"
					}), "*", "sindh")
				}
			}
			all = append(all, one)
		}
	}
	return all
}

// message is an empty one of a type.
func message(tb testing.TB, of protoreflect.MessageDescriptor) proto.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(of.FullName())
	if err != nil {
		tb.Fatal(err)
	}
	return found.New().Interface()
}

// yes answers every call of a service that its rules let through with an empty message. Its streams have one, which stands where their reader
// says that it had stopped.
func yes(tb testing.TB, service protoreflect.ServiceDescriptor) *grpc.ServiceDesc {
	answering := &grpc.ServiceDesc{ServiceName: string(service.FullName()), HandlerType: (*any)(nil), Metadata: service.ParentFile().Path()}
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		name, input, output := string(method.Name()), message(tb, method.Input()), message(tb, method.Output())
		if method.IsStreamingServer() {
			after, position := method.Input().Fields().ByName("after"), method.Output().Fields().ByName("position")
			answering.Streams = append(answering.Streams, grpc.StreamDesc{StreamName: name, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
				in, out := input.ProtoReflect().New(), output.ProtoReflect().New()
				if err := stream.RecvMsg(in.Interface()); err != nil {
					return err
				}
				if after != nil && position != nil {
					out.Set(position, in.Get(after))
				}
				return stream.SendMsg(out.Interface())
			}})
			continue
		}
		full := "/" + answering.ServiceName + "/" + name
		answering.Methods = append(answering.Methods, grpc.MethodDesc{
			MethodName: name,
			Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				in := input.ProtoReflect().New().Interface()
				if err := decode(in); err != nil {
					return nil, err
				}
				answer := func(context.Context, any) (any, error) { return output.ProtoReflect().New().Interface(), nil }
				if interceptor == nil {
					return answer(ctx, in)
				}
				return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, answer)
			},
		})
	}
	return answering
}

// openWide is a gateway before a node whose services let everything through, with all its routes.
func openWide(tb testing.TB) (*door, []route) {
	addresses, routes, services := map[string]string{}, []route{}, annotated()
	for _, name := range slices.Sorted(maps.Keys(services)) {
		var answering []*grpc.ServiceDesc
		for _, service := range services[name] {
			answering = append(answering, yes(tb, service))
			routes = append(routes, routesOf(service)...)
		}
		addresses[name], _ = serve(tb, name, func(s *rpc.Server) {
			for _, service := range answering {
				s.RegisterService(service, struct{}{})
			}
		}, answering...)
	}
	return openDoor(tb, nil, func(c *Config) {
		c.ProtectionAddress, c.ReferralAddress, c.ShelterAddress, c.FederalAddress = addresses["protection"], addresses["referral"], addresses["shelter"], addresses["federal"]
		c.AddressRate, c.TokenRate = 1e6, 1e6
	}), routes
}

// What FuzzRequest goes through are all routes of which programs are told, and a request on each comes to the RPC that is named there.
func TestEveryRouteIsFuzzed(t *testing.T) {
	var document struct {
		Paths map[string]map[string]struct {
			Operation string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(openapi.Document, &document); err != nil {
		t.Fatal(err)
	}
	var told, fuzzed []string
	for _, verbs := range document.Paths {
		for verb, described := range verbs {
			told = append(told, strings.ToUpper(verb)+" "+described.Operation)
		}
	}
	d, routes := openWide(t)
	streams := 0
	for _, r := range routes {
		fuzzed = append(fuzzed, fmt.Sprintf("%s %s_%s", r.verb, r.method.Parent().Name(), r.method.Name()))
		if r.method.IsStreamingServer() {
			streams++
		}
		before := len(d.log.all())
		if a := d.ask(r.verb, r.path, ""); a.status != http.StatusOK && a.status != http.StatusBadRequest {
			t.Errorf("%s %s: %d: %s", r.verb, r.path, a.status, a.body)
		}
		eventually(t, r.verb+" "+r.path+" comes to "+r.rpc(), func() bool { return strings.Contains(d.log.all()[before:], `"`+r.rpc()+`"`) })
	}
	slices.Sort(told)
	slices.Sort(fuzzed)
	if !slices.Equal(fuzzed, told) {
		t.Errorf("%d routes are fuzzed, and programs are told of %d:\n%q\n%q", len(fuzzed), len(told), fuzzed, told)
	}
	if streams == 0 {
		t.Error("no route streams")
	}
}

// Whatever a client sends on any route, in address, headers or body, the answer is none of a fault in here, a refusal is a problem that
// says what to do, and no answer repeats what stands in a body.
func FuzzRequest(f *testing.F) {
	d, routes := openWide(f)
	for i := range routes {
		f.Add(uint16(i), "", "", "", "", []byte{0, byte(i), 1, 2, 0, 5, 3, 1, 0, 7, 2, 2})
	}
	f.Add(uint16(0), "?page_token="+strings.Repeat("A", 90), "If-None-Match", `W/"5", "6"`, "", []byte{})
	written := func(verb string) uint16 {
		return uint16(slices.IndexFunc(routes, func(r route) bool { return r.verb == verb }))
	}
	f.Add(written("PATCH"), "%2e%2e/%00?filter.x=1&filter.x=2", "If-Match", `"5"`, `{"name":1e999}`, []byte{})
	f.Add(written("POST"), "/../v1:x", "Idempotency-Key", `"a b"`, `{"a":{"a":{"a":[[[[`, []byte{})
	f.Add(written("POST"), "", "Content-Type", "text/plain; charset=", "\xff\xfe", []byte{})
	f.Add(uint16(4), "", "Authorization", "Bearer amanat_"+strings.Repeat("A", 43), "", []byte{})
	f.Add(uint16(5), "", "Accept-Encoding", "gzip;q=1e9,*;q=-1", "", []byte{})
	for i, r := range routes {
		if r.method.IsStreamingServer() {
			f.Add(uint16(i), "", "Last-Event-ID", "x-1", "", []byte{})
			f.Add(uint16(i), "?after=x-1", "Last-Event-ID", "x\xff-1", "", []byte{})
		}
	}
	f.Fuzz(func(t *testing.T, which uint16, more, header, value, body string, choices []byte) {
		d.t = t
		defer func() { d.t = f }()
		r := routes[int(which)%len(routes)]
		if len(choices) > 0 && r.body {
			m := message(t, r.method.Input())
			fuzztest.Mutate(m, fuzztest.NewChoices(choices))
			raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				return
			}
			body = string(raw)
		}
		request, err := http.NewRequestWithContext(t.Context(), r.verb, d.url+r.path+more, strings.NewReader(body))
		if err != nil {
			return // no client can send it
		}
		request.Header.Set("Authorization", "Bearer "+d.token)
		request.Header.Set("Content-Type", "application/json")
		if name := http.CanonicalHeaderKey(header); header != "" && name != "Host" && name != "Connection" && name != "Transfer-Encoding" && name != "Expect" {
			request.Header.Set(name, value)
		}
		response, err := d.client.Do(request)
		if err != nil {
			if strings.Contains(err.Error(), "invalid header") {
				return
			}
			t.Fatal(err)
		}
		a := readAll(t, response)
		if a.status >= 500 && a.status != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d: %s", r.verb, r.path+more, a.status, a.body)
		}
		if a.status >= 400 && strings.HasPrefix(request.URL.Path, "/v1/") && a.header.Get("Content-Encoding") == "" {
			a.problem(t)
		}
		if strings.Contains(body, fuzztest.Canary) && !strings.Contains(r.path+more+value, fuzztest.Canary) &&
			strings.Contains(fmt.Sprintf("%s %v", a.body, a.header), fuzztest.Canary) {
			t.Errorf("%s %s repeats what it was sent: %s", r.verb, r.path, a.body)
		}
	})
}
