package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// statusWait is how long a service may take to tell how it stands.
const statusWait = 3 * time.Second

// ServiceStatus is how a service of a node stands.
type ServiceStatus struct {
	Service string
	// Down is why it does not answer; empty when it does.
	Down string
	// NotReady is why it takes no calls; empty when it does. Of a gateway this is all that is known.
	NotReady string
	// Told is what it says of itself; nil of a gateway, and where it is down.
	Told *statusv1.Status
}

// Status asks every service of a node how it stands, as the operator. The error is of the asking: whoever does not answer is down.
func (l *Layout) Status(ctx context.Context, node string) (all []ServiceStatus, err error) {
	n, err := l.Node(node)
	if err != nil {
		return nil, err
	}
	for _, service := range n.Services {
		s := ServiceStatus{Service: service}
		if service == Gateway {
			s.askGateway(ctx, l.Address(node, Gateway+"-admin"))
		} else if err := s.ask(ctx, l, node); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (s *ServiceStatus) ask(ctx context.Context, l *Layout, node string) error {
	trust, err := identity.OperatorTLS(l.Root, node, s.Service)
	if err != nil {
		return err
	}
	conn, err := rpc.Dial(l.Address(node, s.Service), trust)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	if s.Told, err = statusv1.NewStatusServiceClient(conn).GetStatus(ctx, &statusv1.GetStatusRequest{}); err != nil {
		s.Told, s.Down = nil, fmt.Sprintf("no answer at %s: %s", l.Address(node, s.Service), status.Convert(err).Message())
	} else {
		s.NotReady = s.Told.GetNotReady()
	}
	return conn.Close()
}

// askGateway reads its page for operators: it has no RPCs.
func (s *ServiceStatus) askGateway(ctx context.Context, admin string) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	defer http.DefaultClient.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	var response *http.Response
	if err == nil {
		response, err = http.DefaultClient.Do(request)
	}
	if err != nil {
		s.Down = fmt.Sprintf("no answer at %s: %v", admin, err)
		return
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		s.Down = err.Error()
	} else if response.StatusCode != http.StatusOK {
		s.NotReady = strings.TrimSpace(string(text))
	}
}
