package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// crossing is two provinces and the federal cell, their services in this process, over a real hub. That an offer is stored is learnt
// as its sender learns it, from the receipt that the receiving service signs after its commit.
type crossing struct {
	hub    *hubServer
	client referralv1.ReferralServiceClient
	events eventsv1.EventServiceClient // of the service that submits
	parcel int                         // bytes of one offer as it goes over the hub

	mu    sync.Mutex
	marks []receipted
	more  chan struct{} // capacity 1
}

// receipted is up to which letter the receiver has stored all, and when that was known.
type receipted struct {
	mark uint64
	at   time.Time
}

func newCrossing(b *testing.B) *crossing {
	b.Helper()
	l, err := network.Free(b.TempDir())
	must(b, err)
	must(b, l.Init())
	l.LogLevel = "error"
	c := &crossing{hub: startHub(b, l.Root), more: make(chan struct{}, 1)}
	must(b, l.HubAt(c.hub.url))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, p := range []network.Part{
		{Node: "balochistan", Name: network.Bus},
		{Node: "balochistan", Name: network.Referral},
		{Node: "punjab", Name: network.Bus},
		{Node: "punjab", Name: network.Referral},
		{Node: network.FederalNode, Name: network.Bus},
		{Node: network.FederalNode, Name: network.Federal},
	} {
		running.Go(func() {
			if err := l.Run(ctx, p); err != nil && !errors.Is(err, context.Canceled) {
				b.Errorf("%s: %v", p, err)
			}
		})
	}
	b.Cleanup(func() {
		stop()
		running.Wait()
	})
	protection, err := identity.Load(l.Root, "balochistan", network.Protection)
	must(b, err)
	conn, err := rpc.Dial(l.Address("balochistan", network.Referral), protection.ClientTLS(network.Referral))
	must(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	c.client, c.events = referralv1.NewReferralServiceClient(conn), eventsv1.NewEventServiceClient(conn)
	c.listen(b)
	c.warm(b)
	return c
}

// listen notes the receipts for what goes from balochistan to punjab.
func (c *crossing) listen(b *testing.B) {
	b.Helper()
	_, err := c.hub.admin.Subscribe("amanat.post.balochistan.referral.urgent.punjab.referral", func(m *nats.Msg) {
		now := time.Now()
		var mail postv1.Mail
		var receipt postv1.Receipt
		if err := errors.Join(proto.Unmarshal(m.Data, &mail), proto.Unmarshal(mail.GetReceipt().GetReceipt(), &receipt)); err != nil {
			b.Error(err)
		}
		c.mu.Lock()
		c.marks = append(c.marks, receipted{receipt.GetMark(), now})
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
	})
	must(b, err)
	must(b, c.hub.admin.Flush())
}

// stored waits until the receiver has stored this many offers in all, and says up to which it had when.
func (c *crossing) stored(offers int) []receipted {
	for {
		c.mu.Lock()
		marks := slices.Clone(c.marks)
		c.mu.Unlock()
		if len(marks) > 0 && marks[len(marks)-1].mark >= uint64(offers) {
			return marks
		}
		<-c.more
	}
}

// submitted are the referrals in the order of their commits, which is that of the letters with their offers.
func (c *crossing) submitted(b *testing.B) (names []string) {
	b.Helper()
	for after := uint64(0); ; {
		page, err := c.events.ListEvents(b.Context(), &eventsv1.ListEventsRequest{After: after, PageSize: 1000})
		must(b, err)
		for _, e := range page.GetEvents() {
			if after = e.GetPosition(); e.GetType() == "referral.referral.submitted.v1" {
				names = append(names, e.GetSubject())
			}
		}
		if after == page.GetLastPosition() {
			return names
		}
	}
}

// warm sends one referral through, and measures it as the hub sees it.
func (c *crossing) warm(b *testing.B) {
	b.Helper()
	sizes := make(chan int, 16)
	sub, err := c.hub.admin.Subscribe("amanat.post.punjab.referral.urgent.>", func(m *nats.Msg) { sizes <- len(m.Data) })
	must(b, err)
	must(b, c.hub.admin.Flush())
	_, err = c.submit(b.Context(), "warm-up-request")
	must(b, err)
	c.stored(1)
	must(b, c.hub.admin.Flush())
	must(b, sub.Unsubscribe())
	for c.parcel = <-sizes; len(sizes) > 0; { // receipts and comparisons of marks are smaller
		c.parcel = max(c.parcel, <-sizes)
	}
}

func (c *crossing) submit(ctx context.Context, id string) (string, error) {
	const unit = "nodes/balochistan/units/hub"
	r, err := c.client.SubmitReferral(ctx, &referralv1.SubmitReferralRequest{
		Parent: "nodes/balochistan", Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER",
		Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"}, Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 10},
		Ground: &referralv1.SubmitReferralRequest_Consent{Consent: &custodyv1.ConsentReceipt{
			Commitment: make([]byte, 32), Basis: "ORAL_ASSENT_AND_CAREGIVER", Purposes: []string{"PLACEMENT"}, RecordTime: timestamppb.Now(),
		}},
		Unit: unit, ToUnit: "nodes/punjab/units/lahore", RequestId: id, Actor: &custodyv1.Actor{Unit: unit, Service: "protection"},
	}, grpc.WaitForReady(true))
	return r.GetName(), err
}

// raw asks over the hub, with as many bytes as an offer has, and gets them back: what NATS itself takes, over the same TLS.
func (c *crossing) raw(b *testing.B) func() error {
	b.Helper()
	sub, err := c.hub.admin.Subscribe("bench.echo", func(m *nats.Msg) {
		if err := m.Respond(m.Data); err != nil {
			b.Error(err)
		}
	})
	must(b, err)
	must(b, c.hub.admin.Flush())
	b.Cleanup(func() { must(b, sub.Unsubscribe()) })
	asking := c.hub.another(b)
	data := make([]byte, c.parcel)
	return func() error {
		_, err := asking.Request("bench.echo", data, 10*time.Second)
		return err
	}
}

// paced does something each time after every, many at once if they take longer, and says how long each took.
func paced(n int, every time.Duration, do func(i int) error) (took []time.Duration, err error) {
	took = make([]time.Duration, n)
	failed := make([]error, n)
	var all sync.WaitGroup
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		all.Go(func() {
			begin := time.Now()
			failed[i] = do(i)
			took[i] = time.Since(begin)
		})
	}
	all.Wait()
	return took, errors.Join(failed...)
}

func report(b *testing.B, took []time.Duration, what string) (p50, p99 float64) {
	slices.Sort(took)
	p50, p99 = float64(took[len(took)/2].Microseconds()), float64(took[len(took)*99/100].Microseconds())
	b.ReportMetric(p50, what+"p50-µs")
	b.ReportMetric(p99, what+"p99-µs")
	return p50, p99
}

// BenchmarkSubmitAcross measures from the call that submits a referral in one province to the receipt that says that its offer is
// committed in the other, beside a round trip of as many bytes over the same hub, in the same run.
func BenchmarkSubmitAcross(b *testing.B) {
	c := newCrossing(b)
	ask := c.raw(b)
	b.Run("100-a-second", func(b *testing.B) { c.paced(b, ask) })
	b.Run("callers=64", func(b *testing.B) { c.atOnce(b, ask) })
}

func (c *crossing) paced(b *testing.B, ask func() error) {
	const every = 10 * time.Millisecond
	rawTook, err := paced(max(b.N/4, 100), every, func(int) error { return ask() })
	must(b, err)
	before := len(c.submitted(b))
	begun, names, run := make([]time.Time, b.N), make([]string, b.N), time.Now().UnixNano()
	b.ResetTimer()
	answered, err := paced(b.N, every, func(i int) (err error) {
		begun[i] = time.Now()
		names[i], err = c.submit(context.Background(), fmt.Sprintf("paced-%d-%d", run, i))
		return err
	})
	must(b, err)
	marks := c.stored(before + b.N)
	b.StopTimer()
	number := map[string]uint64{}
	for i, name := range c.submitted(b) {
		number[name] = uint64(i) + 1
	}
	took := make([]time.Duration, b.N)
	for i, name := range names {
		first := slices.IndexFunc(marks, func(r receipted) bool { return r.mark >= number[name] })
		took[i] = marks[first].at.Sub(begun[i])
	}
	p50, p99 := report(b, took, "")
	report(b, answered, "submit-")
	raw50, raw99 := report(b, rawTook, "raw-")
	b.ReportMetric(p50/raw50, "p50-of-raw")
	b.ReportMetric(p99/raw99, "p99-of-raw")
	b.ReportMetric(float64(c.parcel), "bytes")
}

func (c *crossing) atOnce(b *testing.B, ask func() error) {
	rawRate := atOnce(b, 64, max(b.N, 10000), func(int) error { return ask() })
	before, run := len(c.submitted(b)), time.Now().UnixNano()
	b.ResetTimer()
	accepted := atOnce(b, 64, b.N, func(i int) error {
		_, err := c.submit(context.Background(), fmt.Sprintf("many-%d-%d", run, i))
		return err
	})
	c.stored(before + b.N)
	b.StopTimer()
	stored := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(accepted, "submits/s")
	b.ReportMetric(stored, "stored/s")
	b.ReportMetric(rawRate, "raw/s")
	b.ReportMetric(stored/rawRate, "of-raw")
}

// atOnce does n things by many callers at once and says how many that were a second.
func atOnce(b *testing.B, callers, n int, do func(i int) error) float64 {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for range callers {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(begin).Seconds()
}
