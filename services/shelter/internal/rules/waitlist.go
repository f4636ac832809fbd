package rules

import (
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// LongestReview is how far ahead a waitlist entry's next review may lie.
const LongestReview = 30 * 24 * time.Hour

// CheckReview refuses a review date that is not ahead, or too far.
func CheckReview(field string, at *timestamppb.Timestamp, now time.Time) error {
	if t := at.AsTime(); !t.After(now) || t.After(now.Add(LongestReview)) {
		return fault.InvalidField(field, "must lie ahead, and at most 30 days")
	}
	return nil
}

// ReviewEntry sets the next date to look at an entry.
func ReviewEntry(e *shelterv1.WaitlistEntry, at *timestamppb.Timestamp, now time.Time) error {
	if e.GetState() != shelterv1.WaitlistEntry_STATE_WAITING {
		return fault.New(fault.WrongState, "The entry is closed.", "state", "CLOSED")
	}
	if err := CheckReview("review_time", at, now); err != nil {
		return err
	}
	e.ReviewTime, e.Overdue = at, false
	return nil
}

// CloseEntry takes an entry off. It reports whether anything changed.
func CloseEntry(e *shelterv1.WaitlistEntry, reason string) (changed bool, err error) {
	if e.GetState() == shelterv1.WaitlistEntry_STATE_CLOSED {
		if e.GetCloseReason() == reason {
			return false, nil
		}
		return false, fault.New(fault.WrongState, "The entry was closed for another reason.", "state", "CLOSED")
	}
	e.State, e.CloseReason, e.Overdue = shelterv1.WaitlistEntry_STATE_CLOSED, reason, false
	return true, nil
}
