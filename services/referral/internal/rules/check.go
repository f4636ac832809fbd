package rules

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
)

// CheckSubmit holds what the proto's own rules cannot say of a request to submit.
func CheckSubmit(r *referralv1.SubmitReferralRequest, node string, now time.Time) error {
	if err := codes.CheckField("service", codes.Service, r.GetService()); err != nil {
		return err
	}
	if r.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE && r.GetService() == codes.ServiceShelter {
		return fault.InvalidField("service", "must be a service to which the person goes and comes back; for a place to stay the kind is PLACEMENT")
	}
	if err := codes.CheckFields("reasons", codes.ReferralReason, r.GetReasons()); err != nil {
		return err
	}
	if r.GetNeeds().GetAgeTo() < r.GetNeeds().GetAgeFrom() {
		return fault.InvalidField("needs.age_to", "must not be below age_from")
	}
	if err := codes.CheckNeeds("needs", r.GetNeeds()); err != nil {
		return err
	}
	if UnitNode(r.GetUnit()) != node {
		return fault.InvalidField("unit", "must be a unit of this node, which answers for the referral")
	}
	return checkGround(r, now)
}

func checkGround(r *referralv1.SubmitReferralRequest, now time.Time) error {
	switch {
	case r.GetConsent() != nil:
		consent := r.GetConsent()
		if end := consent.GetExpireTime(); end != nil && !end.AsTime().After(now) {
			return fault.New(fault.ConsentMissing, "The consent has ended. Record consent again, then submit.")
		}
		if err := codes.CheckField("consent.basis", codes.ConsentBasis, consent.GetBasis()); err != nil {
			return err
		}
		return codes.CheckFields("consent.purposes", codes.ConsentPurpose, consent.GetPurposes())
	case r.GetOverride() != nil:
		if strings.TrimSpace(r.GetNote()) == "" {
			return fault.InvalidField("note", "must give the reason why consent is overridden")
		}
		return codes.CheckField("override.legal_basis", codes.LegalBasis, r.GetOverride().GetLegalBasis())
	}
	return fault.New(fault.ConsentMissing, "The referral has neither consent nor a legal basis. Record one of them, then submit.")
}

// UnitNode is the node of a unit's name.
func UnitNode(unit string) string {
	node, _, _ := strings.Cut(strings.TrimPrefix(unit, "nodes/"), "/")
	return node
}

// AnswerBy is when an answer is due: the time asked for, up to [MaxAnswer] ahead, or by the
// risk's limit.
func AnswerBy(asked *timestamppb.Timestamp, urgency custodyv1.Urgency, now time.Time, limits Limits) (time.Time, error) {
	if asked == nil {
		return now.Add(limits.of(urgency).Answer), nil
	}
	return asked.AsTime(), within("answer_by", asked.AsTime(), now, MaxAnswer, "must lie ahead, at most 30 days")
}

// HoldUntil is when a tentative hold for an acceptance ends.
func HoldUntil(asked *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if asked == nil {
		return now.Add(DefaultHold), nil
	}
	return asked.AsTime(), within("hold_expire_time", asked.AsTime(), now.Add(MinHold), MaxHold-MinHold, "must lie between 5 minutes and 7 days ahead")
}

// CheckDispatch holds what the proto's own rules cannot say of a request to dispatch.
func CheckDispatch(r *referralv1.DispatchReferralRequest, now time.Time) error {
	if err := codes.CheckFields("documents", codes.Document, r.GetDocuments()); err != nil {
		return err
	}
	return within("expect_time", r.GetExpectTime().AsTime(), now, MaxRoad, "must lie ahead, at most 14 days")
}

// ReviewTime is when a place is looked for again.
func ReviewTime(asked *timestamppb.Timestamp, now time.Time) error {
	return within("review_time", asked.AsTime(), now, MaxReview, "must lie ahead, at most 90 days")
}

// MeetTime is when the person can be met.
func MeetTime(asked *timestamppb.Timestamp, now time.Time) error {
	return within("meet_time", asked.AsTime(), now, MaxRoad, "must lie ahead, at most 14 days")
}

// WithdrawTime is when consent was withdrawn: never in the future.
func WithdrawTime(asked *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	return past("withdraw_time", asked, now)
}

// ReportTime is when something was of which this node's own protection service tells: now, where its clock runs ahead of ours. What it
// tells is told once and is not refused for that.
func ReportTime(said *timestamppb.Timestamp, now time.Time) time.Time {
	return earlier(said.AsTime(), now)
}

// ArriveTime is when the person came: never in the future.
func ArriveTime(asked *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	return past("arrive_time", asked, now)
}

// CheckTogether holds that those who go together are asked for as one.
func CheckTogether(r *referralv1.SubmitReferralsRequest) error {
	first := r.GetRequests()[0]
	for i, one := range r.GetRequests() {
		field := ""
		switch {
		case one.GetParent() != r.GetParent():
			field = "parent"
		case one.GetUnit() != first.GetUnit():
			field = "unit"
		case one.GetToUnit() != first.GetToUnit():
			field = "to_unit"
		case !proto.Equal(one.GetExternal(), first.GetExternal()):
			field = "external"
		case one.GetKind() != custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT:
			field = "kind"
		case one.GetUrgency() != first.GetUrgency():
			field = "urgency"
		case !proto.Equal(one.GetAnswerBy(), first.GetAnswerBy()):
			field = "answer_by"
		}
		if field == "kind" {
			return fault.InvalidField(fmt.Sprintf("requests[%d].kind", i), "must be PLACEMENT: who goes together moves")
		}
		if field != "" {
			return fault.InvalidField(fmt.Sprintf("requests[%d].%s", i, field), "must be the same for all who go together")
		}
		for _, earlier := range r.GetRequests()[:i] {
			if earlier.GetRequestId() == one.GetRequestId() {
				return fault.InvalidField(fmt.Sprintf("requests[%d].request_id", i), "must be another for each")
			}
		}
	}
	return nil
}

// CheckReason holds that a reason is of its list, and explained where the code says nothing.
func CheckReason(list codes.List, reason, other, note string) error {
	return CheckCode("reason", list, reason, other, note)
}

// CheckCode is CheckReason for a code in another field.
func CheckCode(field string, list codes.List, code, other, note string) error {
	if err := codes.CheckField(field, list, code); err != nil {
		return err
	}
	if code == other && strings.TrimSpace(note) == "" {
		return fault.InvalidField("note", "must say why, since the "+field+" is OTHER")
	}
	return nil
}

// CheckIn holds what the proto's own rules cannot say of what is heard of the road, and answers when it was.
func CheckIn(r *referralv1.CheckInRequest, now time.Time) (time.Time, error) {
	if r.GetDistrict() != "" {
		if err := codes.CheckField("district", codes.District, r.GetDistrict()); err != nil {
			return now, err
		}
	}
	if next := r.GetNextTime(); next != nil {
		if err := within("next_time", next.AsTime(), now, MaxRoad, "must lie ahead, at most 14 days"); err != nil {
			return now, err
		}
	}
	return past("check_time", r.GetCheckTime(), now)
}

// CheckNoShow holds that nobody was heard of in the future.
func CheckNoShow(field string, n *custodyv1.NoShow, now time.Time) error {
	_, err := past(field, n.GetLastContactTime(), now)
	return err
}

// CheckCorrection holds the codes and times in what should have stood in an event.
func CheckCorrection(r *referralv1.CorrectReferralRequest, now time.Time) error {
	switch {
	case r.GetNeeds() != nil:
		return codes.CheckNeeds("needs", r.GetNeeds())
	case r.GetArrived() != nil:
		if err := codes.CheckFields("arrived.identification", codes.Identification, r.GetArrived().GetIdentification()); err != nil {
			return err
		}
		if r.GetArrived().GetArriveTime() == nil {
			return fault.InvalidField("arrived.arrive_time", "must say when the person came")
		}
		_, err := past("arrived.arrive_time", r.GetArrived().GetArriveTime(), now)
		return err
	case r.GetServiceStarted() != nil:
		return codes.CheckFields("service_started.services", codes.Service, r.GetServiceStarted().GetServices())
	case r.GetCompleted() != nil:
		if err := codes.CheckField("completed.outcome", codes.Outcome, r.GetCompleted().GetOutcome()); err != nil {
			return err
		}
		return codes.CheckFields("completed.services", codes.Service, r.GetCompleted().GetServices())
	}
	return CheckNoShow("no_show.last_contact_time", r.GetNoShow(), now)
}

// past is a time that must not lie in the future; now where none is given.
func past(field string, asked *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if asked == nil {
		return now, nil
	}
	if asked.AsTime().After(now) {
		return now, fault.InvalidField(field, "must not lie in the future")
	}
	return asked.AsTime(), nil
}

func within(field string, at, now time.Time, most time.Duration, sentence string) error {
	if !at.After(now) || at.After(now.Add(most)) {
		return fault.InvalidField(field, sentence)
	}
	return nil
}
