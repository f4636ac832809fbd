// Package rules decides about beds: pure functions over the proto messages, with `now` as an
// argument. No I/O, no clock, no ids.
package rules

import (
	"slices"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Times of a tentative hold.
const (
	// UsualHold is how long a local emergency hold lasts (domain page, "Shelters and beds").
	UsualHold = 90 * time.Minute
	// ShortestHold and LongestHold bound what a caller may ask.
	ShortestHold = time.Minute
	LongestHold  = 7 * 24 * time.Hour
)

// Count is what the rows say of a group.
type Count struct{ Held, Occupied int32 }

// Available is what is free now: total − out of service − held − occupied. Overflow is for a
// surge and is not offered. Below zero it is zero: inventory was cut under what is taken.
func Available(g *shelterv1.Group, c Count) int32 {
	return max(0, g.GetTotal()-g.GetOutOfService()-c.Held-c.Occupied)
}

// Fits says whether a group of a shelter takes a person with these needs.
func Fits(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) error {
	because := func(sentence, need string) error {
		return fault.New(fault.CannotMeetNeeds, sentence, "need", need)
	}
	switch {
	case !slices.Contains(g.GetGenders(), needs.GetGender()):
		return because("This group does not take this gender. Choose another group.", "gender")
	case needs.GetAgeFrom() < g.GetAgeFrom() || needs.GetAgeTo() > g.GetAgeTo():
		return because("This group does not take this age. Choose another group.", "age")
	case needs.GetWheelchair() && !s.GetWheelchair():
		return because("This shelter is not free of steps. Choose another shelter.", "wheelchair")
	case slices.Contains(needs.GetExcludedDistricts(), s.GetDistrict()):
		return because("The person must not be brought to this shelter's district. Choose another shelter.", "excluded_districts")
	}
	return nil
}

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

// Expired says that a tentative hold has run out.
func Expired(h *shelterv1.Hold, now time.Time) bool {
	return h.GetState() == shelterv1.Hold_STATE_HELD && !h.GetExpireTime().AsTime().After(now)
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
		h.ExpireTime = nil
		return true, nil
	}
	return false, ended(h)
}

func checkFence(h *shelterv1.Hold, fence *custodyv1.Fence) error {
	own := h.GetFence()
	if fence == nil || (fence.GetIncarnation() == own.GetIncarnation() && fence.GetNumber() == own.GetNumber()) {
		return nil
	}
	return fault.New(fault.StaleFence, "The fence is not this hold's: the shelter's store was restored, or the hold is another one. Read the hold again.")
}

// Release gives a live hold's beds back.
func Release(h *shelterv1.Hold, now time.Time) error {
	switch h.GetState() {
	case shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_CONFIRMED:
		move(h, shelterv1.Hold_STATE_RELEASED, now)
		h.ExpireTime = nil
		return nil
	}
	return ended(h)
}

// Expire ends a tentative hold that has run out.
func Expire(h *shelterv1.Hold, now time.Time) {
	move(h, shelterv1.Hold_STATE_EXPIRED, now)
}

// Admit makes a stay of a confirmed hold: held becomes occupied in one step.
func Admit(h *shelterv1.Hold, stay string, now time.Time) (*shelterv1.Stay, error) {
	switch h.GetState() {
	case shelterv1.Hold_STATE_CONFIRMED:
		move(h, shelterv1.Hold_STATE_OCCUPIED, now)
		h.Stay = stay
		return &shelterv1.Stay{
			Name: stay, Group: h.GetGroup(), Quantity: h.GetQuantity(), Hold: h.GetName(),
			Offer: h.GetOffer(), AdmitTime: timestamppb.New(now),
		}, nil
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
		return fault.New(fault.HoldEnded, "The hold was released. Place a new one.", "state", "RELEASED")
	}
	return fault.New(fault.WrongState, "The person is already admitted on this hold.", "state", "OCCUPIED")
}
