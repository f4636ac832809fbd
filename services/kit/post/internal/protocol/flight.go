package protocol

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"amanat.example/services/kit/backoff"
)

// Window is how many parcels of a link may be under way unreceipted.
const Window = 8

// Flight is what the sending end of a link may forget: the parcels under way. A fresh one begins
// again at the first unreceipted letter. The zero value is not usable; see [NewFlight].
type Flight struct {
	pace backoff.Range
	seed uint64

	queued    uint64    // highest sequence in the outbox
	receipted uint64    // highest sequence receipted
	sent      uint64    // highest sequence sent since the last return to the receipted one
	out       []uint64  // last sequence of each parcel under way, ascending
	attempt   uint32    // repetitions since anything was receipted
	resendAt  time.Time // when to return to the receipted sequence; zero without parcels under way
	holdUntil time.Time // nothing is sent before, because the broker refused
	answered  uint64    // the receipted sequence at which a gap was last answered, plus one
}

// NewFlight starts a link whose outbox ends with queued and whose receipts end with receipted. The
// seed spreads the repetitions of different links.
func NewFlight(pace backoff.Range, seed, queued, receipted uint64) Flight {
	return Flight{pace: pace, seed: seed, queued: queued, receipted: receipted, sent: receipted}
}

// Input is something that happened to a link.
type Input interface{ input() }

type (
	// Tick is the passing of time.
	Tick struct{}
	// Queued says that the outbox now ends with this sequence.
	Queued struct{ Last uint64 }
	// Packed says that a parcel of these letters was given to the broker.
	Packed struct{ First, Last uint64 }
	// NotTaken says that the broker did not take the parcel that begins with this sequence.
	NotTaken struct{ First uint64 }
	// Moved says where a receipt left the durable state. Reset: the receiver has a new
	// incarnation, and Receipted may be lower than before. Resend: it saw letters beyond Receipted.
	Moved struct {
		Receipted     uint64
		Reset, Resend bool
	}
	// Reconnected says that the broker is there again.
	Reconnected struct{}
)

func (Tick) input()        {}
func (Queued) input()      {}
func (Packed) input()      {}
func (NotTaken) input()    {}
func (Moved) input()       {}
func (Reconnected) input() {}

// Output is what to do next.
type Output struct {
	// Pack, when not 0: send a parcel that begins with this sequence, then say so with Packed.
	Pack uint64
	// Wake is when to step again with Tick if nothing else happens; zero for never.
	Wake time.Time
}

// Step moves the flight by one input. The flight given is not changed.
func (f Flight) Step(in Input, now time.Time) (Flight, Output) {
	switch in := in.(type) {
	case Tick:
		if !f.resendAt.IsZero() && !now.Before(f.resendAt) {
			f = f.back()
			f.attempt++
		}
	case Queued:
		f.queued = max(f.queued, in.Last)
	case Packed:
		// After a return to an earlier letter this parcel is merely a repetition.
		if in.First == f.sent+1 && in.Last >= in.First {
			f.sent = in.Last
			f.queued = max(f.queued, in.Last)
			f.out = append(slices.Clip(f.out), in.Last)
			if f.resendAt.IsZero() {
				f.resendAt = now.Add(f.wait())
			}
		}
	case NotTaken:
		if in.First > f.receipted && in.First <= f.sent {
			attempt := f.attempt
			f = f.back()
			f.attempt = attempt + 1
			f.holdUntil = now.Add(f.wait())
		}
	case Moved:
		f = f.moved(in, now)
	case Reconnected:
		f = f.back()
		f.attempt, f.holdUntil, f.answered = 0, time.Time{}, 0
	}
	return f, f.output(now)
}

func (f Flight) moved(in Moved, now time.Time) Flight {
	if in.Reset {
		f.receipted = in.Receipted
		f = f.back()
		f.attempt, f.holdUntil, f.answered = 0, time.Time{}, 0
		return f
	}
	if in.Receipted > f.receipted {
		f.receipted = in.Receipted
		f.sent = max(f.sent, in.Receipted)
		f.queued = max(f.queued, in.Receipted)
		i, _ := slices.BinarySearch(f.out, in.Receipted+1)
		f.out = f.out[i:]
		f.resendAt = time.Time{}
		if len(f.out) > 0 {
			f.resendAt = now.Add(f.wait())
		}
	}
	if f.attempt > 0 {
		// A receiver that was silent is heard again: what waits for its turn goes now.
		f = f.back()
		f.attempt, f.holdUntil = 0, time.Time{}
	}
	// One return for each mark: parcels that merely overtook each other say it several times.
	if in.Resend && in.Receipted == f.receipted && f.answered != f.receipted+1 {
		f = f.back()
		f.answered = f.receipted + 1
	}
	return f
}

// back returns to the first unreceipted letter.
func (f Flight) back() Flight {
	f.sent, f.out, f.resendAt = f.receipted, nil, time.Time{}
	return f
}

func (f Flight) output(now time.Time) Output {
	// While nobody answers, one parcel is enough to ask with.
	window := Window
	if f.attempt > 0 {
		window = 1
	}
	out := Output{Wake: f.resendAt}
	if f.sent < f.queued && len(f.out) < window {
		if now.Before(f.holdUntil) {
			if out.Wake.IsZero() || f.holdUntil.Before(out.Wake) {
				out.Wake = f.holdUntil
			}
		} else {
			out.Pack = f.sent + 1
		}
	}
	return out
}

// wait is the time until the next repetition. Its chance comes from the link and the letter, so that
// a thousand links cut together do not come back together and yet the same input gives the same
// output.
func (f Flight) wait() time.Duration {
	return f.pace.Delay(int(min(f.attempt, 62))+1, func() float64 {
		h := fnv.New64a()
		var b [20]byte
		binary.BigEndian.PutUint64(b[0:], f.seed)
		binary.BigEndian.PutUint64(b[8:], f.receipted)
		binary.BigEndian.PutUint32(b[16:], f.attempt)
		_, _ = h.Write(b[:]) // a hash takes everything
		return float64(h.Sum64()%1024) / 1024
	})
}
