package app_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
)

// What was told while the clock was a year ahead is told again when it is right and the time has come, and not in a year. A clock that is years behind
// moves nothing.
func TestDeadlinesOfAClockThatRanAhead(t *testing.T) {
	const year = 365 * 24 * time.Hour
	net := newNetwork(t)
	here, dest := net.arrivedInBulk(), net.nodes["punjab"]
	first := dest.get(here).GetNextDeadline().GetDueTime().AsTime()
	net.now = net.now.Add(year)
	dest.fire()
	told, put := len(dest.missed()), dest.get(here).GetNextDeadline()
	if told == 0 || !put.GetDueTime().AsTime().After(net.now) {
		t.Fatalf("%d are told; then %v", told, put)
	}
	net.now = net.now.Add(-50 * year)
	dest.fire()
	if got := dest.get(here).GetNextDeadline(); !proto.Equal(got, put) {
		t.Errorf("a clock that is behind moves %v to %v", put, got)
	}
	net.now = first
	dest.fire()
	net.now = first.Add(dest.Limits.ToldAgain())
	dest.fire()
	if got := len(dest.missed()); got != told+1 {
		t.Errorf("%d are told, then %d", told, got)
	}
}
