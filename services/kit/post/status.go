package post

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/store"
)

// LinkStatus is how one end of a link stands.
type LinkStatus struct {
	// Link in the direction of its letters.
	Link *postv1.Link
	// Outgoing: this service sends; else it receives.
	Outgoing bool
	// Mark: highest sequence receipted (outgoing) or applied (incoming).
	Mark uint64
	// Gap is how many letters are queued and not receipted. Outgoing only.
	Gap uint64
	// Oldest is when the oldest of them was queued; zero when there is none.
	Oldest time.Time
	// Heard is when the other end was last heard; zero for never.
	Heard time.Time
	// Overtaken: the other end knows more of this store than it does itself; nothing is believed. Incoming, as far as it was heard
	// since the start.
	Overtaken bool
	// Quarantined are the letters that lie in quarantine. Incoming only.
	Quarantined uint64
	// OpenRefusals are those the sender may not know of yet. Incoming only.
	OpenRefusals int
}

// Status says how every link stands. It reads all of the quarantine, which is empty when all is well.
func (p *Post) Status(ctx context.Context) ([]LinkStatus, error) {
	var all []LinkStatus
	err := p.db.View(ctx, func(r store.Reader) error {
		err := p.tables.sending.Scan(r, store.Range{}, func(_ store.Key, s *postv1.SendingState) error {
			status, err := p.outgoingStatus(r, s)
			all = append(all, status)
			return err
		})
		if err != nil {
			return err
		}
		parked := map[end]uint64{}
		err = p.tables.quarantine.Scan(r, store.Range{}, func(_ store.Key, q *postv1.QuarantinedLetter) error {
			parked[endOf(q.GetLink().GetFrom(), q.GetLink().GetLane())]++
			return nil
		})
		if err != nil {
			return err
		}
		return p.tables.receiving.Scan(r, store.Range{}, func(_ store.Key, s *postv1.ReceivingState) error {
			from := endOf(s.GetLink().GetFrom(), s.GetLink().GetLane())
			status := LinkStatus{
				Link: s.GetLink(), Mark: s.GetMark(), OpenRefusals: len(s.GetOpenRefusals()), Heard: moment(s.GetHeardTime()),
				Quarantined: parked[from],
			}
			p.mu.Lock()
			status.Heard = later(status.Heard, p.heard[from]) // repetitions are heard and not stored
			status.Overtaken = p.ahead[from]
			p.mu.Unlock()
			all = append(all, status)
			return nil
		})
	})
	return all, err
}

// moment is zero for never: a lane can be known by what its sender wrote on the other alone.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (p *Post) outgoingStatus(r store.Reader, s *postv1.SendingState) (LinkStatus, error) {
	status := LinkStatus{
		Link: s.GetLink(), Outgoing: true, Mark: s.GetReceiptedSequence(), Overtaken: s.GetOvertaken(),
		Gap: s.GetNextSequence() - 1 - s.GetReceiptedSequence(),
	}
	to := endOf(s.GetLink().GetTo(), s.GetLink().GetLane())
	p.mu.Lock()
	status.Heard = later(moment(s.GetHeardTime()), p.answered[to]) // likewise
	p.mu.Unlock()
	if status.Gap == 0 {
		return status, nil
	}
	oldest, err := p.tables.outbox.Get(r, to.row(s.GetReceiptedSequence()+1))
	if err != nil {
		return status, err
	}
	status.Oldest = oldest.GetQueueTime().AsTime()
	return status, nil
}

// counts are the post's counters.
type counts struct {
	mail    *prometheus.CounterVec
	applied prometheus.Counter
	parked  prometheus.Counter
	gap     *prometheus.Desc
	age     *prometheus.Desc
}

func newCounts() *counts {
	link := []string{"node", "service", "lane"}
	return &counts{
		mail: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amanat_post_mail_total",
			Help: "Parcels and receipts by direction and by what became of them.",
		}, []string{"what", "verdict"}),
		applied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "amanat_post_letters_applied_total", Help: "Letters applied.",
		}),
		parked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "amanat_post_letters_quarantined_total", Help: "Letters put into quarantine.",
		}),
		gap: prometheus.NewDesc("amanat_post_unreceipted_letters", "Letters queued and not receipted.", link, nil),
		age: prometheus.NewDesc("amanat_post_oldest_unreceipted_seconds", "Age of the oldest letter not receipted.", link, nil),
	}
}

func (c *counts) add(what, verdict string) { c.mail.WithLabelValues(what, verdict).Inc() }

func (c *counts) letters(applied, parked int) {
	c.applied.Add(float64(applied))
	c.parked.Add(float64(parked))
}

// Describe makes the post a prometheus.Collector.
func (p *Post) Describe(out chan<- *prometheus.Desc) {
	p.counts.mail.Describe(out)
	p.counts.applied.Describe(out)
	p.counts.parked.Describe(out)
	out <- p.counts.gap
	out <- p.counts.age
}

// Collect reads the links: labels name nodes, services and lanes, never a person.
func (p *Post) Collect(out chan<- prometheus.Metric) {
	p.counts.mail.Collect(out)
	p.counts.applied.Collect(out)
	p.counts.parked.Collect(out)
	links, err := p.Status(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(p.counts.gap, err)
		return
	}
	for _, l := range links {
		if !l.Outgoing {
			continue
		}
		to := l.Link.GetTo()
		labels := []string{to.GetNode(), to.GetService(), laneNames[l.Link.GetLane()]}
		age := 0.0
		if !l.Oldest.IsZero() {
			age = p.clock().Sub(l.Oldest).Seconds()
		}
		out <- prometheus.MustNewConstMetric(p.counts.gap, prometheus.GaugeValue, float64(l.Gap), labels...)
		out <- prometheus.MustNewConstMetric(p.counts.age, prometheus.GaugeValue, age, labels...)
	}
}
