package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"amanat.example/deploy/network"
	"amanat.example/gateway/session"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// people speak to a network by any method: over gRPC as a service's certificate with a person's
// token, and over HTTPS through the gateway.
type people struct {
	layout *network.Layout
	conns  map[string]*grpc.ClientConn
	ids    map[string]*identity.Service
	tokens map[string]string // by node, for the gateway
	https  map[string]*http.Client
}

// callTimeout is for a service that is still starting, too.
const callTimeout = 20 * time.Second

var everyRole = []string{"case-worker", "supervisor", "shelter-manager", "focal-point", "federal-analyst"}

func newPeople(t *testing.T, l *network.Layout) *people {
	t.Helper()
	p := &people{layout: l, conns: map[string]*grpc.ClientConn{}, ids: map[string]*identity.Service{}, tokens: map[string]string{}, https: map[string]*http.Client{}}
	for _, n := range l.Nodes {
		var err error
		p.tokens[n.Name], err = session.Create(filepath.Join(l.Root, n.Name, network.Gateway, "tokens.json"), session.Grant{
			Person: "nodes/" + n.Name + "/workers/everyone", Roles: everyRole, Purpose: "casework", ExpireTime: time.Now().AddDate(0, 0, 7), // also where a clock is days ahead
		}, time.Now())
		must(t, err)
	}
	t.Cleanup(func() {
		for _, c := range p.conns {
			_ = c.Close()
		}
		for _, c := range p.https {
			c.CloseIdleConnections()
		}
	})
	return p
}

// identity of a service of a node, loaded once.
func (p *people) identity(node, service string) (*identity.Service, error) {
	if id := p.ids[node+"/"+service]; id != nil {
		return id, nil
	}
	id, err := identity.Load(p.layout.Root, node, service)
	p.ids[node+"/"+service] = id
	return id, err
}

// call calls a method at a node as one of its services, for a person where that is the gateway.
func (p *people) call(ctx context.Context, node, as string, method protoreflect.MethodDescriptor, request proto.Message) (proto.Message, error) {
	return p.callAt(ctx, node, strings.Split(string(method.FullName()), ".")[1], as, method, request)
}

// callAt is call for a method that every service has.
func (p *people) callAt(ctx context.Context, node, service, as string, method protoreflect.MethodDescriptor, request proto.Message) (proto.Message, error) {
	id, err := p.identity(node, as)
	if err != nil {
		return nil, err
	}
	key := node + "/" + as + "/" + service
	if p.conns[key] == nil {
		if p.conns[key], err = rpc.Dial(p.layout.Address(node, service), id.ClientTLS(service)); err != nil {
			return nil, err
		}
	}
	if as == network.Gateway {
		raw, err := id.IssueToken(&identityv1.PersonToken{
			Person: "nodes/" + node + "/workers/everyone", Roles: everyRole, Purpose: "casework", Audience: []string{service},
		})
		if err != nil {
			return nil, err
		}
		ctx = rpc.WithPersonToken(ctx, raw)
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	reply := kind.New().Interface()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	return reply, p.conns[key].Invoke(ctx, name, request, reply, grpc.WaitForReady(true))
}

// methodOf is the method of our services that takes this request.
func methodOf(t testing.TB, request proto.Message) protoreflect.MethodDescriptor {
	t.Helper()
	for _, m := range methods() {
		if m.Input() == request.ProtoReflect().Descriptor() {
			return m
		}
	}
	t.Fatalf("no method takes %T", request)
	return nil
}

var variable = regexp.MustCompile(`\{(\w+)=[^}]*\}`)

// route is a request as it goes through a gateway; no path for a method that has no route with a body.
func route(method protoreflect.MethodDescriptor, request proto.Message) (path string, body []byte, err error) {
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if rule.GetPost() == "" {
		return "", nil, nil
	}
	rest := proto.Clone(request).ProtoReflect()
	path = variable.ReplaceAllStringFunc(rule.GetPost(), func(v string) string {
		field := rest.Descriptor().Fields().ByName(protoreflect.Name(variable.FindStringSubmatch(v)[1]))
		value := rest.Get(field).String()
		rest.Clear(field)
		return value
	})
	content := rest.Interface()
	query := url.Values{}
	if rule.GetBody() != "*" {
		field := rest.Descriptor().Fields().ByName(protoreflect.Name(rule.GetBody()))
		content = rest.Get(field).Message().Interface()
		rest.Clear(field)
		rest.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			query.Set(string(field.Name()), value.String())
			return true
		})
	}
	body, err = protojson.Marshal(content)
	return path + "?" + query.Encode(), body, err
}

// fetch asks a node's gateway over HTTPS.
func (p *people) fetch(ctx context.Context, node, method, path string, body []byte) (answer []byte, code int, err error) {
	if p.https[node] == nil {
		ca, err := os.ReadFile(identity.CACertificatePath(p.layout.Root, node))
		if err != nil {
			return nil, 0, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		p.https[node] = &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13},
		}}
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+p.layout.Address(node, network.Gateway)+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+p.tokens[node])
	r.Header.Set("Content-Type", "application/json")
	return do(p.https[node], r)
}

func do(client *http.Client, r *http.Request) (answer []byte, code int, err error) {
	response, err := client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	answer, err = io.ReadAll(response.Body)
	return answer, response.StatusCode, errors.Join(err, response.Body.Close())
}

// refusal is all that a refused call tells: code, sentence, details.
func refusal(err error) []byte {
	raw, marshal := proto.Marshal(status.Convert(err).Proto())
	if marshal != nil {
		return []byte(marshal.Error())
	}
	return raw
}

// away says that nobody has judged the request.
func away(err error) bool {
	return status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded
}
