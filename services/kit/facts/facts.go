// Package facts says what facts about flows are: their kinds, ids, days and digests, the same at their teller (kit/flow) and at the federal cell.
// It is pure.
package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/zone"
)

// What happens to a flow. Others may be added at any time: who does not know a kind keeps it.
const (
	// Identified: somebody was taken in.
	Identified = "IDENTIFIED"
	// Referred: a referral was submitted. Its code is PLACEMENT or SERVICE.
	Referred = "REFERRED"
	// Accepted: a destination accepted.
	Accepted = "ACCEPTED"
	// Declined: one declined. The code is of the list `decline`.
	Declined = "DECLINED"
	// Unanswered: one did not answer in time.
	Unanswered = "UNANSWERED"
	// Dispatched: the person was sent on the way.
	Dispatched = "DISPATCHED"
	// Arrived: the person arrived.
	Arrived = "ARRIVED"
	// Service: a service was given, code of the list `service`; told with the outcome.
	Service = "SERVICE"
	// Completed: the outcome is known, code of the list `outcome`.
	Completed = "COMPLETED"
	// NoShow: the person did not come.
	NoShow = "NO_SHOW"
	// Cancelled: the referral was ended by its owner, code of the list `cancellation`.
	Cancelled = "CANCELLED"
	// Expired: nobody took it in time.
	Expired = "EXPIRED"
	// Returned: the person is back with the origin, code of the list `return`.
	Returned = "RETURNED"
	// Retracted says of the fact that it corrects only that it was wrong.
	Retracted = "RETRACTED"
)

// Day is the day of a moment, such as 2026-11-26.
func Day(t time.Time) string { return t.In(zone.Karachi).Format(time.DateOnly) }

// Month is the month of a moment, such as 2026-11.
func Month(t time.Time) string { return t.In(zone.Karachi).Format("2006-01") }

// ID is the id of a fact that a service of a node tells, 16 bytes. Each part counts with its length.
func ID(node, service string, f *federalv1.Fact) []byte {
	sum := sha256.New()
	part := func(p []byte) {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(p)))
		sum.Write(size[:])
		sum.Write(p)
	}
	var at [12]byte
	binary.BigEndian.PutUint64(at[:], uint64(f.GetEventTime().GetSeconds()))
	binary.BigEndian.PutUint32(at[8:], uint32(f.GetEventTime().GetNanos()))
	for _, p := range [][]byte{
		[]byte("amanat.fact.v2"), []byte(node), []byte(service), f.GetFlowId(), []byte(f.GetKind()), []byte(f.GetFromNode()), []byte(f.GetToNode()),
		at[:], []byte(f.GetCode()), f.GetCaseFlowId(), f.GetCorrects(),
	} {
		part(p)
	}
	return slices.Clip(sum.Sum(nil)[:16])
}

// Same says that two days have the same facts, to the last one: the same number and digest. A day that is not known has none.
func Same(a, b *federalv1.FlowDay) bool {
	return a != nil && b != nil && a.GetFacts() == b.GetFacts() && bytes.Equal(a.GetDigest(), b.GetDigest())
}

// Add is a day with one more fact; nil is a day with none.
func Add(d *federalv1.FlowDay, day string, id []byte) *federalv1.FlowDay {
	digest := sha256.Sum256(id)
	for i, b := range d.GetDigest() {
		digest[i] ^= b
	}
	return &federalv1.FlowDay{Day: day, Facts: d.GetFacts() + 1, Digest: digest[:]}
}

// Of is the fact that the older form told.
func Of(f *federalv1.FlowFact) *federalv1.Fact {
	return &federalv1.Fact{
		FlowId: f.GetFlowId(), Kind: old[f.GetStage()], FromNode: f.GetFromNode(), ToNode: f.GetToNode(), EventTime: f.GetTime(),
	}
}

var old = map[federalv1.Stage]string{
	federalv1.Stage_STAGE_IDENTIFIED: Identified, federalv1.Stage_STAGE_REFERRED: Referred, federalv1.Stage_STAGE_ACCEPTED: Accepted,
	federalv1.Stage_STAGE_DISPATCHED: Dispatched, federalv1.Stage_STAGE_ARRIVED: Arrived, federalv1.Stage_STAGE_COMPLETED: Completed,
}
