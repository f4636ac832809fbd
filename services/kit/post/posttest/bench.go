package posttest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// Drain measures how fast letters of about 600 bytes that are queued in one province are applied in
// the other, commit by commit, and reports letters/s. b.N is the number of letters.
func Drain(b *testing.B, hub func(root string) Hub) {
	root := Network(b)
	h := hub(root)
	sindh, punjab := NewOffice(b, h, root, "sindh"), NewOffice(b, h, root, "punjab")
	sindh.Open()
	text := strings.Repeat("x", 600)
	for left := b.N; left > 0; left -= 1000 {
		sindh.QueueAll(punjab, bulk, slices.Repeat([]string{text}, min(left, 1000)))
	}
	punjab.Start()
	b.ResetTimer()
	sindh.Run()
	n := uint64(b.N)
	for punjab.count() < n || sindh.Unreceipted() > 0 {
		select {
		case <-punjab.note:
		case <-time.After(time.Millisecond):
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "letters/s")
	sindh.Stop()
	punjab.Stop()
}

// Latency measures one letter at a time: from before the transaction that queues it to after the
// commit that applied it. It reports the median and the 99th percentile.
func Latency(b *testing.B, hub func(root string) Hub) {
	root := Network(b)
	h := hub(root)
	sindh, punjab := NewOffice(b, h, root, "sindh"), NewOffice(b, h, root, "punjab")
	punjab.Start()
	sindh.Start()
	sindh.QueueAll(punjab, urgent, []string{"first"})
	Wait(b, "the link is up", func() bool { return sindh.Unreceipted() == 0 })
	<-punjab.note
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range took {
		start := time.Now()
		sindh.QueueAll(punjab, urgent, []string{"x"})
		<-punjab.note
		took[i] = time.Since(start)
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	sindh.Stop()
	punjab.Stop()
}

// Callers measures letters queued one to a transaction by many callers at once, as submits are,
// until all are applied in the other province.
func Callers(b *testing.B, callers int, hub func(root string) Hub) {
	root := Network(b)
	h := hub(root)
	sindh, punjab := NewOffice(b, h, root, "sindh"), NewOffice(b, h, root, "punjab")
	punjab.Start()
	sindh.Start()
	var next atomic.Int64
	done := make(chan error, callers)
	b.ResetTimer()
	for range callers {
		go func() {
			var err error
			for i := next.Add(1); err == nil && i <= int64(b.N); i = next.Add(1) {
				err = sindh.queueOne(punjab, bulk, strconv.FormatInt(i, 10))
			}
			done <- err
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	Wait(b, "all arrive", func() bool { return punjab.count() == uint64(b.N) })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "letters/s")
	sindh.Stop()
	punjab.Stop()
}

func (o *Office) queueOne(to *Office, lane postv1.Lane, text string) error {
	return o.DB.Update(context.Background(), func(tx *store.Tx) error {
		return o.Post.Queue(tx, post.Outgoing{To: to.Addr, Lane: lane, Kind: kindNote, Body: wrapperspb.String(text)})
	})
}
