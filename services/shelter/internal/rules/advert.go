package rules

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

const (
	// LostAfter is how long a search relies on an advert at all.
	LostAfter = 7 * 24 * time.Hour
	// ClockSkew is how far the clocks of two nodes may differ before one of them is taken to be wrong.
	ClockSkew = 5 * time.Minute
)

// AdvertOf is what a shelter offers, with its groups as they are counted. It is made from what is public of the shelter: who vouches for
// its numbers and who runs it stays at home.
func AdvertOf(node string, incarnation uint64, s *shelterv1.Shelter, published time.Time) *shelterv1.Advert {
	a := &shelterv1.Advert{
		Shelter: s.GetName(), Node: node, Incarnation: incarnation, PublishTime: timestamppb.New(published),
		DisplayName: s.GetDisplayName(), District: s.GetDistrict(), Confidential: s.GetConfidential(),
		Suspended: s.GetState() == shelterv1.Shelter_STATE_SUSPENDED, FullUntilTime: s.GetFullUntilTime(),
		Languages: s.GetLanguages(), Services: s.GetServices(), Wheelchair: s.GetWheelchair(), CourtOrderRequired: s.GetCourtOrderRequired(),
		Schedule: s.GetSchedule(), BoysWithMotherToAge: s.GetBoysWithMotherToAge(), LargestFamily: s.GetLargestFamily(),
		MedicalCover: s.GetMedicalCover(), PsychosocialCover: s.GetPsychosocialCover(), Security: s.GetSecurity(), LongestStayDays: s.GetLongestStayDays(),
	}
	for _, g := range s.GetGroups() {
		a.Groups = append(a.Groups, &shelterv1.AdvertGroup{
			Group: g.GetName(), Genders: g.GetGenders(), AgeFrom: g.GetAgeFrom(), AgeTo: g.GetAgeTo(), UnitKind: g.GetUnitKind(),
			WithMother: g.GetWithMother(), Needs: g.GetNeeds(), VouchTime: g.GetVouchTime(),
			Free: Free(g, Count{Held: g.GetHeld(), Occupied: g.GetOccupied(), Out: g.GetOutOfService()}),
		})
	}
	return a
}

// CandidateOf is an advert as a search reads it.
func CandidateOf(a *shelterv1.Advert, heard time.Time) Candidate {
	s := &shelterv1.Shelter{
		Name: a.GetShelter(), DisplayName: a.GetDisplayName(), District: a.GetDistrict(), Confidential: a.GetConfidential(),
		State: shelterv1.Shelter_STATE_ACTIVE, FullUntilTime: a.GetFullUntilTime(),
		Languages: a.GetLanguages(), Services: a.GetServices(), Wheelchair: a.GetWheelchair(), CourtOrderRequired: a.GetCourtOrderRequired(),
		Schedule: a.GetSchedule(), BoysWithMotherToAge: a.GetBoysWithMotherToAge(), LargestFamily: a.GetLargestFamily(),
		MedicalCover: a.GetMedicalCover(), PsychosocialCover: a.GetPsychosocialCover(), Security: a.GetSecurity(), LongestStayDays: a.GetLongestStayDays(),
	}
	if a.GetSuspended() {
		s.State = shelterv1.Shelter_STATE_SUSPENDED
	}
	c := Candidate{Shelter: s, Node: a.GetNode(), Heard: heard}
	for _, g := range a.GetGroups() {
		c.Beds = append(c.Beds, Beds{Free: g.GetFree(), Group: &shelterv1.Group{
			Name: g.GetGroup(), Genders: g.GetGenders(), AgeFrom: g.GetAgeFrom(), AgeTo: g.GetAgeTo(), UnitKind: g.GetUnitKind(),
			WithMother: g.GetWithMother(), Needs: g.GetNeeds(), VouchTime: g.GetVouchTime(),
		}})
	}
	return c
}

// Supersedes says whether an advert takes the place of what is kept of its shelter: only one of a later incarnation does, or a later one of
// the same, so that a broker which repeats, replays or was rolled back changes nothing. kept is the advert of record; both are
// nil where there is none. What was written while its node's clock was ahead is not waited for once the clock is right again.
func Supersedes(a, kept *shelterv1.Advert, record *shelterv1.AdvertRecord, now time.Time) bool {
	switch {
	case record == nil || a.GetIncarnation() > kept.GetIncarnation():
		return true
	case a.GetIncarnation() < kept.GetIncarnation():
		return false
	}
	published, latest := a.GetPublishTime().AsTime(), record.GetLatestPublishTime().AsTime()
	wrong := latest.After(now.Add(ClockSkew)) && !published.After(now) && published.After(record.GetHearTime().AsTime())
	return published.After(latest) || wrong
}

// Record is how an advert is kept that supersedes the one of before, nil where there is none. What claims to come from the future was
// heard now.
func Record(a *shelterv1.Advert, signed *shelterv1.SignedAdvert, kept *shelterv1.Advert, before *shelterv1.AdvertRecord, now time.Time) *shelterv1.AdvertRecord {
	heard, latest := a.GetPublishTime().AsTime(), a.GetPublishTime().AsTime()
	if heard.After(now) {
		heard = now
	}
	if t := before.GetLatestPublishTime().AsTime(); before != nil && a.GetIncarnation() == kept.GetIncarnation() && t.After(latest) {
		latest = t
	}
	return &shelterv1.AdvertRecord{Signed: signed, HearTime: timestamppb.New(heard), LatestPublishTime: timestamppb.New(latest)}
}

// SameOffer says that two adverts differ in nothing but when they were published and vouched for.
func SameOffer(a, b *shelterv1.Advert) bool { return proto.Equal(offer(a), offer(b)) }

func offer(a *shelterv1.Advert) *shelterv1.Advert {
	a = proto.CloneOf(a)
	if a != nil {
		a.Incarnation, a.PublishTime = 0, nil
	}
	for _, g := range a.GetGroups() {
		g.VouchTime = nil
	}
	return a
}
