package events

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"amanat.example/services/kit/store"
)

var (
	lastPosition = prometheus.NewDesc("amanat_events_last_position", "Position of the last event committed.", nil, nil)
	unpublished  = prometheus.NewDesc("amanat_events_unpublished", "Events committed and not yet published.", nil, nil)
)

// Describe makes the publisher a prometheus.Collector.
func (p *Publisher) Describe(out chan<- *prometheus.Desc) {
	out <- lastPosition
	out <- unpublished
}

// Collect counts the log. What is unpublished is told once Run or Step has begun.
func (p *Publisher) Collect(out chan<- prometheus.Metric) {
	published, known := p.published.Load(), p.known.Load() // Before the count, which only grows.
	var last uint64
	err := p.c.DB.View(context.Background(), func(r store.Reader) (err error) {
		last, err = p.c.Log.events.Count(r)
		return err
	})
	if err != nil {
		out <- prometheus.NewInvalidMetric(lastPosition, err)
		return
	}
	out <- prometheus.MustNewConstMetric(lastPosition, prometheus.GaugeValue, float64(last))
	if known {
		out <- prometheus.MustNewConstMetric(unpublished, prometheus.GaugeValue, float64(last-min(last, published)))
	}
}

// progress is how far a follower has come, for its metrics.
type progress struct {
	position, last atomic.Uint64
	read           atomic.Int64 // Unix nanoseconds of the last answer

	positionDesc, lag, since *prometheus.Desc
}

func newProgress(from string) *progress {
	labels := prometheus.Labels{"source": from}
	p := &progress{
		positionDesc: prometheus.NewDesc("amanat_events_follower_position", "Position of the last event applied, by the service followed.", nil, labels),
		lag:          prometheus.NewDesc("amanat_events_follower_lag", "Events not yet applied when the service followed was last read.", nil, labels),
		since:        prometheus.NewDesc("amanat_events_follower_read_seconds", "Time since the service followed last answered; a lag is as old as this.", nil, labels),
	}
	p.read.Store(time.Now().UnixNano())
	return p
}

// Describe makes the follower a prometheus.Collector.
func (f *Follower) Describe(out chan<- *prometheus.Desc) {
	out <- f.progress.positionDesc
	out <- f.progress.lag
	out <- f.progress.since
}

// Collect says how far it has come. Until the service followed has answered, its age is that of
// this follower.
func (f *Follower) Collect(out chan<- prometheus.Metric) {
	p := f.progress
	position, last := p.position.Load(), p.last.Load()
	gauge := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(p.positionDesc, float64(position))
	gauge(p.lag, float64(last-min(last, position)))
	gauge(p.since, time.Since(time.Unix(0, p.read.Load())).Seconds())
}
