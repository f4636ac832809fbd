package rules

import (
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// LongestAbsence is how long a bed is kept for somebody who is away.
const LongestAbsence = 90 * 24 * time.Hour

// NewStay is a stay that begins now. longest is the shelter's longest stay in days, 0 for none.
func NewStay(name, group string, quantity, longest int32, now time.Time) *shelterv1.Stay {
	s := &shelterv1.Stay{
		Name: name, Group: group, Quantity: quantity, AdmitTime: timestamppb.New(now), State: shelterv1.Stay_STATE_PRESENT,
	}
	if longest > 0 {
		s.DueTime = timestamppb.New(now.AddDate(0, 0, int(longest)))
	}
	return s
}

// Leave notes an absence; the bed stays theirs.
func Leave(s *shelterv1.Stay, reason string, back *timestamppb.Timestamp, now time.Time) error {
	if err := checkCurrent(s); err != nil {
		return err
	}
	if s.GetState() == shelterv1.Stay_STATE_ABSENT {
		return fault.New(fault.WrongState, "The person is away already. End that absence first.", "state", "ABSENT")
	}
	if at := back.AsTime(); !at.After(now) || at.After(now.Add(LongestAbsence)) {
		return fault.InvalidField("return_time", "must lie ahead, and at most 90 days")
	}
	s.State, s.AbsenceReason, s.ReturnTime = shelterv1.Stay_STATE_ABSENT, reason, back
	return nil
}

// Return notes that somebody is back. It reports whether anything changed.
func Return(s *shelterv1.Stay) (changed bool, err error) {
	if err := checkCurrent(s); err != nil || s.GetState() != shelterv1.Stay_STATE_ABSENT {
		return false, err
	}
	s.State, s.AbsenceReason, s.ReturnTime = shelterv1.Stay_STATE_PRESENT, "", nil
	return true, nil
}

// Discharge ends a stay. It reports whether anything changed: ending it again with the same reason is a no-op.
func Discharge(s *shelterv1.Stay, reason string, now time.Time) (changed bool, err error) {
	if s.GetState() == shelterv1.Stay_STATE_DISCHARGED && s.GetDischargeReason() == reason {
		return false, nil
	}
	if err := checkCurrent(s); err != nil {
		return false, err
	}
	s.State, s.AbsenceReason, s.ReturnTime = shelterv1.Stay_STATE_DISCHARGED, "", nil
	s.DischargeTime, s.DischargeReason = timestamppb.New(now), reason
	return true, nil
}

// CheckMovable refuses to move a stay that has ended, or to another shelter.
func CheckMovable(s *shelterv1.Stay, sameShelter bool) error {
	if err := checkCurrent(s); err != nil {
		return err
	}
	if !sameShelter {
		return fault.InvalidField("to_group", "must be a group of the same shelter; to another shelter a person is referred")
	}
	return nil
}

// Await notes of the stays that begin when the person of an offer comes that those of other offers are still to come.
func Await(stays []*shelterv1.Stay, offer string) {
	for _, s := range stays {
		s.Awaited = offer != "" && s.GetOffer() != "" && s.GetOffer() != offer
	}
}

// Come notes that the person of a stay has come; it reports whether anything changed. A stay that had ended before is no bed for them. One that ends when
// they have been there is theirs all the same, whoever asks again.
func Come(s *shelterv1.Stay) (changed bool, err error) {
	if s.GetAwaited() && s.GetState() == shelterv1.Stay_STATE_DISCHARGED {
		return false, fault.New(fault.WrongState, "The bed kept for this person was given up before they came. Admit them where they lie.", "state", "DISCHARGED")
	}
	changed = s.GetAwaited()
	s.Awaited = false
	return changed, nil
}

func checkCurrent(s *shelterv1.Stay) error {
	if s.GetState() == shelterv1.Stay_STATE_DISCHARGED {
		return fault.New(fault.WrongState, "The stay has ended.", "state", "DISCHARGED")
	}
	return nil
}
