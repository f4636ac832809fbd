// Package rules decides about beds: pure functions over the proto messages, with `now` as an
// argument. No I/O, no clock, no ids.
package rules

import (
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Times of a tentative hold.
const (
	// UsualHold is how long a local emergency hold lasts (domain page, "Shelters and beds").
	UsualHold = 90 * time.Minute
	// ShortestHold and LongestHold bound what a caller may ask.
	ShortestHold = time.Minute
	LongestHold  = 7 * 24 * time.Hour
	// Review is when a promise, which does not end by itself, is looked at again.
	Review = 7 * 24 * time.Hour
)

// Reasons why a hold was released.
const (
	ByHolder    = "RELEASED"
	BySuspended = "SHELTER_SUSPENDED"
)

// HoldUntil is when a tentative hold ends that is asked for at now.
func HoldUntil(asked *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if asked == nil {
		return now.Add(UsualHold), nil
	}
	until := asked.AsTime()
	if until.Before(now.Add(ShortestHold)) || until.After(now.Add(LongestHold)) {
		return time.Time{}, fault.InvalidField("expire_time", "must lie between 1 minute and 7 days ahead")
	}
	return until, nil
}

// Renew lets a live tentative hold last longer, once.
func Renew(h *shelterv1.Hold, asked *timestamppb.Timestamp, now time.Time) error {
	switch {
	case h.GetState() == shelterv1.Hold_STATE_CONFIRMED:
		return fault.New(fault.WrongState, "A confirmed hold does not run out; it needs no renewal.", "state", "CONFIRMED")
	case h.GetState() != shelterv1.Hold_STATE_HELD:
		return ended(h)
	case h.GetRenewTime() != nil:
		return fault.New(fault.WrongState, "A hold is renewed once, and this one was. Confirm it, or place a new one when it has ended.", "state", "HELD")
	}
	until, err := HoldUntil(asked, now)
	if err != nil {
		return err
	}
	if !until.After(h.GetExpireTime().AsTime()) {
		return fault.InvalidField("expire_time", "must be later than the hold's present end")
	}
	h.ExpireTime, h.RenewTime, h.UpdateTime = timestamppb.New(until), timestamppb.New(now), timestamppb.New(now)
	return nil
}

// Confirm turns a live tentative hold into a promise. It reports whether anything changed:
// confirming a promise again is a no-op.
func Confirm(h *shelterv1.Hold, fence *custodyv1.Fence, now time.Time) (changed bool, err error) {
	if err := checkFence(h, fence); err != nil {
		return false, err
	}
	switch h.GetState() {
	case shelterv1.Hold_STATE_CONFIRMED:
		return false, nil
	case shelterv1.Hold_STATE_HELD:
		move(h, shelterv1.Hold_STATE_CONFIRMED, now)
		h.ExpireTime, h.ReviewTime = nil, timestamppb.New(now.Add(Review))
		return true, nil
	}
	return false, ended(h)
}

func checkFence(h *shelterv1.Hold, fence *custodyv1.Fence) error {
	own := h.GetFence()
	if fence == nil || mutant.Off("hold fence") || (fence.GetIncarnation() == own.GetIncarnation() && fence.GetNumber() == own.GetNumber()) {
		return nil
	}
	return fault.New(fault.StaleFence, "The fence is not this hold's: the shelter's store was restored, or the hold is another one. Read the hold again.")
}

// Release gives a live hold's beds back; reason is ByHolder or BySuspended.
func Release(h *shelterv1.Hold, reason string, now time.Time) error {
	switch h.GetState() {
	case shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_CONFIRMED:
		move(h, shelterv1.Hold_STATE_RELEASED, now)
		h.ExpireTime, h.ReviewTime, h.ReleaseReason = nil, nil, reason
		return nil
	}
	return ended(h)
}

// RunOut says that a tentative hold is past its end, whether or not anybody has ended it.
func RunOut(h *shelterv1.Hold, now time.Time) bool {
	return h.GetState() == shelterv1.Hold_STATE_HELD && !h.GetExpireTime().AsTime().After(now)
}

// Expire ends a tentative hold that has run out.
func Expire(h *shelterv1.Hold, now time.Time) {
	move(h, shelterv1.Hold_STATE_EXPIRED, now)
}

// Admit makes stays of a confirmed hold, one for each of its parts: held becomes occupied in one
// step. names are the stays', as many as parts.
func Admit(h *shelterv1.Hold, parts []*shelterv1.Part, names []string, longest int32, now time.Time) ([]*shelterv1.Stay, error) {
	switch h.GetState() {
	case shelterv1.Hold_STATE_CONFIRMED:
		move(h, shelterv1.Hold_STATE_OCCUPIED, now)
		h.Stay, h.ReviewTime = names[0], nil
		stays := make([]*shelterv1.Stay, len(parts))
		for i, part := range parts {
			stays[i] = NewStay(names[i], part.GetGroup(), part.GetQuantity(), longest, now)
			stays[i].Hold, stays[i].Offer = h.GetName(), part.GetOffer()
			if i == 0 { // the hold is of their offer; one of before parts had offers says it alone
				stays[i].Offer = h.GetOffer()
			}
			stays[i].Companions = append(append([]string{}, names[:i]...), names[i+1:len(parts)]...)
		}
		return stays, nil
	case shelterv1.Hold_STATE_HELD:
		return nil, fault.New(fault.WrongState, "The hold is tentative. Confirm it before admitting.", "state", "HELD")
	}
	return nil, ended(h)
}

func move(h *shelterv1.Hold, to shelterv1.Hold_State, now time.Time) {
	h.State, h.UpdateTime = to, timestamppb.New(now)
}

// ended says why nothing more can be done with a hold.
func ended(h *shelterv1.Hold) error {
	switch h.GetState() {
	case shelterv1.Hold_STATE_EXPIRED:
		return fault.New(fault.HoldEnded, "The hold has expired. Place a new one.", "state", "EXPIRED")
	case shelterv1.Hold_STATE_RELEASED:
		if h.GetReleaseReason() == BySuspended {
			return fault.New(fault.HoldEnded, "The shelter was suspended, and the hold ended with it. Choose another shelter.", "state", "RELEASED")
		}
		return fault.New(fault.HoldEnded, "The hold was released. Place a new one.", "state", "RELEASED")
	}
	return fault.New(fault.WrongState, "The person is already admitted on this hold.", "state", "OCCUPIED")
}
