package rpc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// metrics of a server. Labels are method names and codes, never anything from a message.
type metrics struct {
	handled  *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amanat_rpc_handled_total", Help: "Calls answered, by method and gRPC code.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "amanat_rpc_seconds", Help: "Time from a call's arrival to its answer, by method.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, 1, 5, 30},
		}, []string{"method"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "amanat_rpc_in_flight", Help: "Calls being served now, by method.",
		}, []string{"method"}),
	}
	for _, c := range []prometheus.Collector{m.handled, m.seconds, m.inFlight} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) begin(method string) { m.inFlight.WithLabelValues(method).Inc() }

func (m *metrics) end(method string, code codes.Code, took time.Duration) {
	m.inFlight.WithLabelValues(method).Dec()
	m.handled.WithLabelValues(method, code.String()).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
}
