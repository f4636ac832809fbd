package story

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/scenario"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// party are people who go together; most are alone.
type party struct{ members []*member }

// member is one of them, with what the network calls them.
type member struct {
	plan *scenario.Case
	// name of the case at home, etag of it as last seen, and name of the referral.
	name, etag, referral string
	// stay of who came without a bed held for them; empty for all others.
	stay string
}

func (y *party) lead() *member { return y.members[0] }

func (y *party) plan() *scenario.Referral { return y.lead().plan.Referral }

func (y *party) home() string { return y.lead().plan.Node }

func (y *party) service() bool {
	return y.plan().Request.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
}

func (y *party) needs() (all []*custodyv1.Needs) {
	for _, m := range y.members {
		all = append(all, m.plan.Referral.Request.GetNeeds())
	}
	return all
}

// parties are the people of a year: those of a family who are referred for a place to stay are one, all others are alone.
func parties(year *scenario.Year) (all []*party) {
	families := map[int]*party{}
	for i := range year.Cases {
		c := &year.Cases[i]
		m := &member{plan: c}
		together := c.Family != 0 && c.Referral != nil && c.Referral.Request.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
		if y := families[c.Family]; together && y != nil && len(y.members) < mostTogether {
			y.members = append(y.members, m)
			continue
		}
		y := &party{[]*member{m}}
		if all = append(all, y); together {
			families[c.Family] = y
		}
	}
	return all
}

// mostTogether are how many can be referred by one call.
const mostTogether = 11

// idOf is the last part of a name.
func idOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// nodeOf is the node in a name.
func nodeOf(name string) string {
	_, rest, _ := strings.Cut(name, "/")
	node, _, _ := strings.Cut(rest, "/")
	return node
}

// shelterOf is the shelter in the name of a group; empty for none.
func shelterOf(group string) string {
	shelter, _, _ := strings.Cut(group, "/groups/")
	return shelter
}

// newShelter is a shelter as CreateShelter takes it: groups have the last part of their name alone.
func newShelter(s *shelterv1.Shelter) *shelterv1.Shelter {
	s = proto.CloneOf(s)
	s.Name = ""
	for _, g := range s.GetGroups() {
		g.Name = idOf(g.GetName())
	}
	return s
}

// live says that an offer waits for something.
func live(o *referralv1.Offer) bool {
	switch o.GetState() {
	case custodyv1.OfferState_OFFER_STATE_DECLINED, custodyv1.OfferState_OFFER_STATE_WITHDRAWN, custodyv1.OfferState_OFFER_STATE_LAPSED,
		custodyv1.OfferState_OFFER_STATE_EXPIRED, custodyv1.OfferState_OFFER_STATE_FULFILLED:
		return false
	}
	return true
}

// over says that a referral has ended.
func over(r *referralv1.Referral) bool {
	switch r.GetState() {
	case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, custodyv1.ReferralState_REFERRAL_STATE_CANCELLED,
		custodyv1.ReferralState_REFERRAL_STATE_EXPIRED, custodyv1.ReferralState_REFERRAL_STATE_RETURNED:
		return true
	}
	return false
}

// last is the offer made last; nil for none.
func last(r *referralv1.Referral) *referralv1.Offer {
	if n := len(r.GetOffers()); n > 0 {
		return r.GetOffers()[n-1]
	}
	return nil
}

func answersOf(c scenario.Case) []scenario.Answer {
	if c.Referral == nil {
		return nil
	}
	return c.Referral.Answers
}
