package rest

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// deadlines is a connection that notes what time it is given.
type deadlines struct {
	*httptest.ResponseRecorder
	write, read []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write = append(d.write, t)
	return nil
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

// A stream on which nothing happens says so, and each write gets its own time, since the server's limits would cut it.
func TestHeartbeat(t *testing.T) {
	d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	l := &live{ResponseWriter: d, stream: true}
	ctx, cancel := context.WithCancel(t.Context())
	beats := 0
	every, ended := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(ended)
		l.beat(ctx, every, func() { beats++ })
	}()
	started := time.Now()
	for range 2 {
		every <- started
	}
	l.Header().Set("Content-Type", "application/json") // as the library does with its first message, in its own goroutine
	cancel()
	<-ended
	if got := d.Body.String(); got != strings.Repeat(": still here\n\n", 2) {
		t.Errorf("written %q", got)
	}
	if d.Code != 200 || d.Header().Get("Content-Type") != "text/event-stream" || !d.Flushed {
		t.Errorf("status %d, headers %v, flushed %v", d.Code, d.Header(), d.Flushed)
	}
	if beats != 2 || len(d.write) != 2 || !d.write[0].After(started) || len(d.read) != 2 || !d.read[0].IsZero() {
		t.Errorf("deadlines: write %v, read %v", d.write, d.read)
	}
}

// Where nothing is there to tell, the reader learns within a second that the stream is open.
func TestAStreamSaysThatItIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		l := &live{ResponseWriter: d}
		ctx, cancel := context.WithCancel(t.Context())
		l.open(ctx, cancel)
		time.Sleep(time.Second)
		synctest.Wait()
		l.close()
		if got := d.Body.String(); got != ": still here\n\n" {
			t.Errorf("after a second: %q", got)
		}
	})
}

// Each token has so many streams, and who leaves makes room for as many.
func TestStreamsOfEachToken(t *testing.T) {
	s := &streams{open: map[string]int{}}
	var leave []func()
	fill := func(want int) {
		t.Helper()
		for n := 0; ; n++ {
			one, ok := s.enter("a")
			if !ok {
				if n != want {
					t.Errorf("there is room for %d, want %d", n, want)
				}
				return
			}
			leave = append(leave, one)
		}
	}
	fill(livePerToken)
	for _, gone := range []int{1, livePerToken - 1, livePerToken} {
		for _, one := range leave[:gone] {
			one()
		}
		leave = leave[gone:]
		fill(gone)
	}
	for n := range livePerToken {
		if one, ok := s.enter(fmt.Sprint("token ", n)); !ok {
			t.Errorf("token %d has none", n)
		} else {
			defer one()
		}
	}
	if one, ok := s.enter("b"); !ok {
		t.Error("another token has none")
	} else if one(); len(s.open) != 1+livePerToken {
		t.Errorf("kept are %v", s.open)
	}
}

// An id that ends its line, or would be ignored, is none.
func TestIDsOfEvents(t *testing.T) {
	for position, want := range map[string]string{"life-1": "id: life-1\n", "": "", "a\nb": "", "a\rb": "", "a\x00b": ""} {
		if got := eventID(&referralv1.ReferralNews{Position: position}); got != want {
			t.Errorf("%q: %q", position, got)
		}
	}
}

// An answer that is no stream is passed on as it is.
func TestNoStream(t *testing.T) {
	d := httptest.NewRecorder()
	l := &live{ResponseWriter: d}
	l.WriteHeader(404)
	if _, err := l.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	if d.Code != 404 || d.Body.String() != "{}" || d.Header().Get("X-Accel-Buffering") != "" {
		t.Errorf("%d %q %v", d.Code, d.Body, d.Header())
	}
}
