package rest

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// healthWait is how long a service may take to say that it is well.
const healthWait = time.Second

// Service is one of the node's services.
type Service struct {
	// Name is protection, referral, shelter or federal.
	Name string
	// Address is host:port.
	Address string
}

// Health is what a service says of itself.
type Health struct {
	// Name of the service.
	Name string
	// Serving is whether it takes calls.
	Serving bool
}

// registrations are the services that have HTTP annotations.
var registrations = map[string]func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
	"protection": protectionv1.RegisterProtectionServiceHandler,
	"referral":   referralv1.RegisterReferralServiceHandler,
	"shelter": func(ctx context.Context, mux *runtime.ServeMux, conn *grpc.ClientConn) error {
		return errors.Join(shelterv1.RegisterShelterServiceHandler(ctx, mux, conn), shelterv1.RegisterAdvertServiceHandler(ctx, mux, conn))
	},
	"federal": func(ctx context.Context, mux *runtime.ServeMux, conn *grpc.ClientConn) error {
		return errors.Join(
			federalv1.RegisterFederalServiceHandler(ctx, mux, conn), federalv1.RegisterFiguresServiceHandler(ctx, mux, conn),
			federalv1.RegisterPublicationServiceHandler(ctx, mux, conn),
		)
	},
}

// Conn is the connection to a service, for what the gateway itself asks; nil where the service is not served.
func (h *Handler) Conn(service string) grpc.ClientConnInterface {
	for i, name := range h.names {
		if name == service {
			return h.conns[i]
		}
	}
	return nil
}

// Health asks every service, now, and waits a second at most.
func (h *Handler) Health(ctx context.Context) []Health {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	all := make([]Health, len(h.conns))
	done := make(chan struct{}, len(h.conns))
	for i, conn := range h.conns {
		go func() {
			reply, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
			all[i] = Health{h.names[i], err == nil && reply.GetStatus() == healthv1.HealthCheckResponse_SERVING}
			done <- struct{}{}
		}()
	}
	for range h.conns {
		<-done
	}
	return all
}

// metrics of the requests. Labels are method names and statuses, never anything from a request.
type metrics struct {
	answered *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amanat_http_answered_total", Help: "Requests answered, by RPC (empty: none was called) and HTTP status.",
		}, []string{"method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "amanat_http_seconds", Help: "Time from a request's arrival to its answer, by RPC.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .25, 1, 5, 30},
		}, []string{"method"}),
	}
	for _, c := range []prometheus.Collector{m.answered, m.seconds} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) add(method string, code int, took time.Duration) {
	m.answered.WithLabelValues(method, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}
