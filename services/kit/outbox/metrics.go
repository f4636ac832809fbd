package outbox

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
)

// metrics of an outbox. Labels are services and gRPC codes, never anything of a command.
type metrics struct {
	tries, failures *prometheus.CounterVec
	queued, oldest  *prometheus.Desc
}

func newMetrics() *metrics {
	return &metrics{
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amanat_outbox_tries_total", Help: "Tries to deliver a command, by the service it is for.",
		}, []string{"service"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amanat_outbox_failures_total", Help: "Tries that decided nothing and are repeated, by service and gRPC code.",
		}, []string{"service", "code"}),
		queued: prometheus.NewDesc("amanat_outbox_commands", "Commands that have no result yet, by service.", []string{"service"}, nil),
		oldest: prometheus.NewDesc("amanat_outbox_oldest_seconds", "Age of the oldest command without a result, by service; 0 where there is none.", []string{"service"}, nil),
	}
}

func (m *metrics) tried(service string, err error) {
	m.tries.WithLabelValues(service).Inc()
	if err != nil {
		m.failures.WithLabelValues(service, status.Code(err).String()).Inc()
	}
}

// Describe makes the outbox a prometheus.Collector.
func (o *Outbox) Describe(out chan<- *prometheus.Desc) {
	o.metrics.tries.Describe(out)
	o.metrics.failures.Describe(out)
	out <- o.metrics.queued
	out <- o.metrics.oldest
}

// Collect counts what waits, in memory; before Run or Step has begun that is what this process
// has queued.
func (o *Outbox) Collect(out chan<- prometheus.Metric) {
	o.metrics.tries.Collect(out)
	o.metrics.failures.Collect(out)
	waits := make(map[string]int)
	oldest := make(map[string]time.Time)
	for _, m := range o.methods {
		waits[m.Service] = 0
	}
	o.mu.Lock()
	for _, one := range o.lanes.bySubject {
		for _, e := range one.queue {
			waits[e.service]++
			if first, ok := oldest[e.service]; !ok || e.queued.Before(first) {
				oldest[e.service] = e.queued
			}
		}
	}
	o.mu.Unlock()
	for service, n := range waits {
		age := 0.0
		if n > 0 {
			age = o.c.Now().Sub(oldest[service]).Seconds()
		}
		out <- prometheus.MustNewConstMetric(o.metrics.queued, prometheus.GaugeValue, float64(n), service)
		out <- prometheus.MustNewConstMetric(o.metrics.oldest, prometheus.GaugeValue, age, service)
	}
}
