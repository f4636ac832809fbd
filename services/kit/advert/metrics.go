package advert

import "github.com/prometheus/client_golang/prometheus"

// What becomes of an advert beyond its Verdict.
const (
	Kept       Verdict = "kept"       // stored
	Superseded Verdict = "superseded" // nothing new: repeated, replayed, or of the past
	TooMany    Verdict = "too-many"   // of more shelters than a node can have
	PutOff     Verdict = "put-off"    // not stored now, and asked for again
	Taken      Verdict = "taken"      // by the broker
	NotTaken   Verdict = "not-taken"  // by the broker, and sent again
)

// Counts are the counters of adverts, a prometheus.Collector.
type Counts struct{ *prometheus.CounterVec }

// NewCounts is all zero.
func NewCounts() Counts {
	return Counts{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "amanat_adverts_total", Help: "Adverts heard and published (direction in, out), by what became of them.",
	}, []string{"direction", "verdict"})}
}

// In counts adverts that were heard.
func (c Counts) In(v Verdict, n int) { c.WithLabelValues("in", string(v)).Add(float64(n)) }

// Out counts adverts that were published.
func (c Counts) Out(v Verdict, n int) { c.WithLabelValues("out", string(v)).Add(float64(n)) }
