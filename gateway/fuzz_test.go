package gateway

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fuzztest"
	"amanat.example/services/kit/rpc"
)

// route is one of the gateway's, with the message that its request is read into.
type route struct {
	method, path string
	body         bool
	input        protoreflect.MessageType
}

var pattern = regexp.MustCompile(`\{[a-z_.]+(?:=([^}]*))?\}`)

// routesOf are the routes of a service's unary methods, with names in their places.
func routesOf(tb testing.TB, service *grpc.ServiceDesc) (all []route) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service.ServiceName))
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range service.Methods {
		method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(m.MethodName))
		rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
		if rule == nil {
			continue
		}
		input, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
		if err != nil {
			tb.Fatal(err)
		}
		for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			one := route{body: r.GetBody() != "", input: input}
			for verb, path := range map[string]string{"GET": r.GetGet(), "POST": r.GetPost(), "PATCH": r.GetPatch(), "PUT": r.GetPut(), "DELETE": r.GetDelete()} {
				if path != "" {
					one.method = verb
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

// yes answers every call of a service that its rules let through with an empty message; its streams are empty.
func yes(tb testing.TB, service *grpc.ServiceDesc) *grpc.ServiceDesc {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service.ServiceName))
	if err != nil {
		tb.Fatal(err)
	}
	answering := &grpc.ServiceDesc{ServiceName: service.ServiceName, HandlerType: (*any)(nil), Metadata: service.Metadata}
	for _, m := range service.Methods {
		method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(m.MethodName))
		input, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
		if err != nil {
			tb.Fatal(err)
		}
		output, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
		if err != nil {
			tb.Fatal(err)
		}
		full := "/" + service.ServiceName + "/" + m.MethodName
		answering.Methods = append(answering.Methods, grpc.MethodDesc{
			MethodName: m.MethodName,
			Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				in := input.New().Interface()
				if err := decode(in); err != nil {
					return nil, err
				}
				answer := func(context.Context, any) (any, error) { return output.New().Interface(), nil }
				if interceptor == nil {
					return answer(ctx, in)
				}
				return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, answer)
			},
		})
	}
	for _, m := range service.Streams {
		m.Handler = func(any, grpc.ServerStream) error { return nil } // it ends before it has begun
		answering.Streams = append(answering.Streams, m)
	}
	return answering
}

// Whatever a client sends on any route, in address, headers or body, the answer is none of a fault in here, a refusal is a problem that
// says what to do, and no answer repeats what stands in a body.
func FuzzRequest(f *testing.F) {
	services := map[string]*grpc.ServiceDesc{
		"protection": &protectionv1.ProtectionService_ServiceDesc, "referral": &referralv1.ReferralService_ServiceDesc,
		"shelter": &shelterv1.ShelterService_ServiceDesc, "federal": &federalv1.FederalService_ServiceDesc,
	}
	addresses, routes := map[string]string{}, []route{}
	for _, name := range []string{"federal", "protection", "referral", "shelter"} {
		addresses[name], _ = serve(f, name, services[name], func(s *rpc.Server) { s.RegisterService(yes(f, services[name]), struct{}{}) })
		routes = append(routes, routesOf(f, services[name])...)
	}
	d := openDoor(f, nil, func(c *Config) {
		c.ProtectionAddress, c.ReferralAddress, c.ShelterAddress, c.FederalAddress = addresses["protection"], addresses["referral"], addresses["shelter"], addresses["federal"]
		c.AddressRate, c.TokenRate = 1e6, 1e6
	})
	for i := range routes {
		f.Add(uint16(i), "", "", "", "", []byte{0, byte(i), 1, 2, 0, 5, 3, 1, 0, 7, 2, 2})
	}
	f.Add(uint16(0), "?page_token="+strings.Repeat("A", 90), "If-None-Match", `W/"5", "6"`, "", []byte{})
	f.Add(uint16(1), "%2e%2e/%00?filter.x=1&filter.x=2", "If-Match", `"5"`, `{"name":1e999}`, []byte{})
	f.Add(uint16(2), "/../v1:x", "Idempotency-Key", `"a b"`, `{"a":{"a":{"a":[[[[`, []byte{})
	f.Add(uint16(3), "", "Content-Type", "text/plain; charset=", "\xff\xfe", []byte{})
	f.Add(uint16(4), "", "Authorization", "Bearer amanat_"+strings.Repeat("A", 43), "", []byte{})
	f.Add(uint16(5), "", "Accept-Encoding", "gzip;q=1e9,*;q=-1", "", []byte{})
	f.Add(uint16(6), "", "Last-Event-ID", "x-1", "", []byte{})
	f.Fuzz(func(t *testing.T, which uint16, more, header, value, body string, choices []byte) {
		d.t = t
		defer func() { d.t = f }()
		r := routes[int(which)%len(routes)]
		if len(choices) > 0 && r.body {
			m := r.input.New().Interface()
			fuzztest.Mutate(m, fuzztest.NewChoices(choices))
			raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				return
			}
			body = string(raw)
		}
		request, err := http.NewRequestWithContext(t.Context(), r.method, d.url+r.path+more, strings.NewReader(body))
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
			t.Errorf("%s %s: %d: %s", r.method, r.path+more, a.status, a.body)
		}
		if a.status >= 400 && strings.HasPrefix(request.URL.Path, "/v1/") && a.header.Get("Content-Encoding") == "" {
			a.problem(t)
		}
		if strings.Contains(body, fuzztest.Canary) && !strings.Contains(r.path+more+value, fuzztest.Canary) &&
			strings.Contains(fmt.Sprintf("%s %v", a.body, a.header), fuzztest.Canary) {
			t.Errorf("%s %s repeats what it was sent: %s", r.method, r.path, a.body)
		}
	})
}
