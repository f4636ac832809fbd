package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
)

// CheckCodes holds what the proto's own rules cannot: codes, and what belongs together.
func CheckCodes(r *protectionv1.ReferCaseRequest, now time.Time) error {
	if err := codes.CheckField("service", codes.Service, r.GetService()); err != nil {
		return err
	}
	if r.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE && r.GetService() == codes.ServiceShelter {
		return fault.InvalidField("service", "must be a service to which the person goes and comes back; for a place to stay the kind is PLACEMENT")
	}
	if err := codes.CheckFields("reasons", codes.ReferralReason, r.GetReasons()); err != nil {
		return err
	}
	if err := codes.CheckNeeds("needs", r.GetNeeds()); err != nil {
		return err
	}
	if (r.GetToUnit() == "") == (r.GetExternal() == nil) {
		return fault.InvalidField("to_unit", "must name the unit that is asked, or external the agency outside the network, and not both")
	}
	if r.GetExternal() != nil {
		if err := codes.CheckAgency("external", r.GetExternal()); err != nil {
			return err
		}
	}
	if r.GetAnswerBy() != nil && !r.GetAnswerBy().AsTime().After(now) {
		return fault.InvalidField("answer_by", "must lie in the future; leave it out for the risk's own time limit")
	}
	if r.GetOverride() == nil {
		return nil
	}
	if err := codes.CheckField("override.legal_basis", codes.LegalBasis, r.GetOverride().GetLegalBasis()); err != nil {
		return err
	}
	if strings.TrimSpace(r.GetNote()) == "" {
		return fault.InvalidField("note", "must say why consent cannot be had when a legal basis stands in its place")
	}
	return nil
}

// Service says that a referral is for a service: its person stays where the case was taken in.
func Service(kind custodyv1.ReferralKind) bool {
	return kind == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
}

// CheckRefer says whether a case can be referred now, on its consent or on a legal basis.
func CheckRefer(c *protectionv1.Case, override *custodyv1.ConsentOverride, now time.Time) error {
	switch {
	case c.GetState() != protectionv1.Case_STATE_ACTIVE:
		return fault.New(fault.WrongState, "Only an active case can be referred.", "state", c.GetState().String())
	case c.GetReferral() != "" && !over(c):
		return fault.New(fault.WrongState, "The case is referred already. Follow its referral.", "referral", c.GetReferral())
	case override == nil && !Holds(c.GetConsent(), now):
		return fault.New(fault.ConsentMissing, "There is no consent that holds now. Record consent, or name a legal basis and say why in the note.")
	}
	return nil
}

// over says that the referral of a case is over, and left its person where the case was taken in: it ended in vain, or a service was given.
func over(c *protectionv1.Case) bool {
	served := Service(c.GetReferralKind()) && c.GetReferralState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	return served || Vain(c.GetReferralState())
}

// CheckOutcome says whether the outcome of a case can be reported now: of a placement where the person is, of a service where the
// case was taken in, by what the unit that gave it has reported; and there too of a placement with an agency outside the network.
func CheckOutcome(c *protectionv1.Case) error {
	service, received := Service(c.GetReferralKind()), c.GetSource() == protectionv1.Case_SOURCE_REFERRAL
	switch {
	case service && received:
		return fault.New(fault.WrongState, "The person is in the care of the unit that asked for a service. Report the outcome on its offer (reportOutcome).")
	case !service && !received && !c.GetOutside():
		return fault.New(fault.WrongState, "The case was not received from another node, so no outcome is owed for it.")
	}
	if c.GetReferralState() != custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE {
		return fault.New(fault.WrongState, "An outcome is recorded while services are given. Start the service first, or read the outcome that stands.",
			"referral_state", c.GetReferralState().String())
	}
	return nil
}

// Together are the calls that refer each of those who go together by itself, the case named first at the front.
func Together(r *protectionv1.ReferCaseRequest, now time.Time) ([]*protectionv1.ReferCaseRequest, error) {
	if Service(r.GetKind()) {
		return nil, fault.InvalidField("kind", "must be PLACEMENT for those who go together, since they move")
	}
	names := []string{r.GetName()}
	first := proto.CloneOf(r)
	first.Others = nil
	parts := []*protectionv1.ReferCaseRequest{first}
	for i, other := range r.GetOthers() {
		if slices.Contains(names, other.GetName()) {
			return nil, fault.InvalidField(fmt.Sprintf("others[%d].name", i), "must be another case: each of them goes once")
		}
		names = append(names, other.GetName())
		part := proto.CloneOf(first)
		part.Name, part.Etag, part.Needs, part.Override = other.GetName(), other.GetEtag(), other.GetNeeds(), other.GetOverride()
		parts = append(parts, part)
	}
	for i, part := range parts {
		if err := CheckCodes(part, now); err != nil {
			return nil, OfOther(i, err)
		}
	}
	return parts, nil
}

// OfOther says of which of those who go together a fault is; 0 is the case named first.
func OfOther(i int, err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || i == 0 {
		return err
	}
	at := fmt.Sprintf("others[%d].", i-1)
	if len(f.Fields()) == 0 { // a state, or an etag
		return fault.New(f.Reason(), f.Sentence(), "field", at+"name").Wrap(err)
	}
	var fields []fault.Violation
	for _, v := range f.Fields() {
		if v.Field != "note" { // which all of them have in common
			v.Field = at + v.Field
		}
		fields = append(fields, v)
	}
	return fault.New(f.Reason(), f.Sentence()).Wrap(err).WithFields(fields...)
}
