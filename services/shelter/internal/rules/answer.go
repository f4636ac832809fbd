package rules

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
)

// What speaks for a place or against it.
const (
	BecauseFresh         = "CLAIM_FRESH"
	BecauseAgeing        = "CLAIM_AGEING"
	BecauseStale         = "CLAIM_STALE"
	BecauseBeds          = "BEDS"
	BecauseTogether      = "TOGETHER"
	BecauseParted        = "PARTED"
	BecauseMothers       = "AMONG_MOTHERS"
	BecauseOld           = "CLAIM_AGE"
	BecauseElsewhere     = "OTHER_NODE"
	BecauseLanguage      = "LANGUAGE_SHARED"
	BecauseOtherLanguage = "LANGUAGE_OTHER"
	BecauseServices      = "SERVICES_GIVEN"
	BecauseNoServices    = "SERVICES_MISSING"
	BecauseSecurity      = "SECURITY"
	BecauseDistance      = "DISTANCE"
	BecauseClosed        = "CLOSED_NOW"
	BecauseCourtOrder    = "COURT_ORDER"
	BecauseLongestStay   = "LONGEST_STAY"
	BecauseConfidential  = "LOCATION_CONFIDENTIAL"
)

// answer puts what was found into words.
func (f *finder) answer() *shelterv1.FindPlacesResponse {
	r := &shelterv1.FindPlacesResponse{TotalSize: f.out[fits].all, Places: make([]*shelterv1.Place, len(f.hits))}
	for i := range f.hits {
		r.Places[i] = f.place(&f.hits[i])
	}
	for _, why := range f.leftOut(outs.everywhere) {
		n := f.out[why].all
		r.LeftOut = append(r.LeftOut, &shelterv1.LeftOut{Code: outSays[why].code, Sentence: f.sayOut(why, n), Count: n})
	}
	r.Summary = f.summary()
	return r
}

func (f *finder) place(h *hit) *shelterv1.Place {
	p := &shelterv1.Place{
		Shelter: h.site.name, DisplayName: h.site.displayName, District: h.site.district, Node: h.site.node,
		Freshness: shelterv1.Freshness_FRESHNESS_FRESH + shelterv1.Freshness(h.fresh),
	}
	for g, b := range h.site.beds {
		who := h.who(g)
		if who == 0 {
			continue
		}
		taken := &shelterv1.PlaceGroup{Group: b.name, Quantity: quantity(h.kind.kind.groups[g], h.in(g)), Available: b.free}
		for ; who != 0; who &= who - 1 {
			taken.People = append(taken.People, int32(bits.TrailingZeros16(who)))
		}
		p.Groups = append(p.Groups, taken)
	}
	// In tens of kilometres, so that no shelter's location shows in it.
	if tens := f.tens[h.site.ward.district]; tens != unknown {
		km := tens * 10
		p.DistanceKm = &km
	}
	p.Reasons = f.reasons(h, p)
	return p
}

// usualReasons is how many a place has; it may have some more.
const usualReasons = 8

// reasons are what is told of a place, in the order in which a worker asks: who, how sure, what it gives, how far, how long.
type reasons struct {
	say *tongue
	all []*shelterv1.PlaceReason
	new []shelterv1.PlaceReason
}

func (r *reasons) add(code, sentence string) {
	if len(r.new) == 0 {
		r.new = make([]shelterv1.PlaceReason, usualReasons)
	}
	reason := &r.new[0]
	r.new = r.new[1:]
	reason.Code, reason.Sentence = code, sentence
	r.all = append(r.all, reason)
}

func (r *reasons) tell(code string, k key, a args) { r.add(code, r.say.say(k, a)) }

func (f *finder) reasons(h *hit, p *shelterv1.Place) []*shelterv1.PlaceReason {
	r := &reasons{say: f.say, all: make([]*shelterv1.PlaceReason, 0, usualReasons)}
	f.tellWho(r, h, len(p.GetGroups()))
	switch p.GetFreshness() {
	case shelterv1.Freshness_FRESHNESS_FRESH:
		r.tell(BecauseFresh, sayFresh, args{})
	case shelterv1.Freshness_FRESHNESS_AGEING:
		r.tell(BecauseAgeing, sayAgeing, args{})
	default:
		r.tell(BecauseStale, sayStale, args{})
	}
	if !h.site.own {
		f.tellElsewhere(r, h)
	}
	f.tellCare(r, h.kind)
	if p.DistanceKm != nil {
		switch {
		case p.GetDistrict() == f.request.GetNearDistrict():
			r.tell(BecauseDistance, saySameDistrict, args{})
		case p.GetDistanceKm() == 0:
			r.tell(BecauseDistance, sayNeighbour, args{})
		default:
			r.tell(BecauseDistance, sayDistance, args{km: p.GetDistanceKm()})
		}
	}
	f.tellEntry(r, h)
	return r.all
}

// tellWho says who goes there, and how they stay.
func (f *finder) tellWho(r *reasons, h *hit, groups int) {
	switch n, placed := int32(len(f.people)), int32(h.placed); {
	case placed < n:
		r.tell(BecauseParted, sayParted, args{n: placed, of: n})
	case n > 1 && groups == 1:
		r.tell(BecauseTogether, sayTogether, args{n: n})
	case n > 1:
		r.tell(BecauseTogether, sayTogetherInGroups, args{n: n, groups: int32(groups)})
	}
	if h.amid {
		r.tell(BecauseMothers, sayAmongMothers, args{})
	}
}

// tellElsewhere says how old the word of another node is, and in whose care the place is.
func (f *finder) tellElsewhere(r *reasons, h *hit) {
	oldest := f.now
	for g, b := range h.site.beds {
		if h.in(g) > 0 {
			oldest = min(oldest, b.vouched)
		}
	}
	switch hours := int32((f.now - oldest) / int64(time.Hour)); {
	case h.fresh == 0 || oldest == 0: // never: nothing is older than that
	case hours < 48:
		r.tell(BecauseOld, sayHoursOld, args{n: hours})
	default:
		r.tell(BecauseOld, sayDaysOld, args{n: hours / 24})
	}
	district, _ := codes.Find(codes.District, h.site.district)
	r.tell(BecauseElsewhere, sayElsewhere, args{province: cmp.Or(codes.Label(codes.Province, district.Province, f.say.lang), h.site.node)})
}

// tellCare says what people find there.
func (f *finder) tellCare(r *reasons, v *verdict) {
	if slices.ContainsFunc(f.people, func(n *custodyv1.Needs) bool { return len(n.GetLanguages()) > 0 }) {
		if v.shared {
			if v.spoken == "" {
				shared := f.sharedLanguages(v.kind.shelter)
				v.spoken = f.say.say(sayLanguage, args{n: int32(len(shared)), languages: f.say.listed(shared)})
			}
			r.add(BecauseLanguage, v.spoken)
		} else {
			r.tell(BecauseOtherLanguage, sayOtherLanguage, args{})
		}
	}
	switch {
	case len(v.missing) > 0:
		r.tell(BecauseNoServices, sayNoServices, args{services: f.namesOf(v.missing)})
	case len(f.services) > 0:
		r.tell(BecauseServices, sayServices, args{})
	}
	switch v.kind.shelter.GetSecurity() {
	case shelterv1.Security_SECURITY_HIGH:
		r.tell(BecauseSecurity, sayHighSecurity, args{})
	case shelterv1.Security_SECURITY_GUARDED:
		r.tell(BecauseSecurity, sayGuarded, args{})
	}
}

// tellEntry says how one gets in, and for how long.
func (f *finder) tellEntry(r *reasons, h *hit) {
	if h.left == 0 {
		r.tell(BecauseBeds, sayNothingLeft, args{})
	} else {
		r.tell(BecauseBeds, sayBeds, args{n: h.left})
	}
	if h.kind.closed {
		r.tell(BecauseClosed, sayOpens, args{day: f.say.say(sayMonday+key(h.kind.opens/dayMinutes), args{}), time: clock(h.kind.opens)})
	}
	if h.kind.kind.shelter.GetCourtOrderRequired() {
		r.tell(BecauseCourtOrder, sayCourtOrder, args{})
	}
	if days := h.kind.kind.shelter.GetLongestStayDays(); days > 0 {
		r.tell(BecauseLongestStay, sayLongestStay, args{n: days})
	}
	if h.site.confidential {
		r.tell(BecauseConfidential, sayConfidential, args{})
	}
}

// clock is the time of day of a minute of the week, such as 08:00.
func clock(minute int) string {
	return fmt.Sprintf("%02d:%02d", minute%dayMinutes/60, minute%60)
}

func (f *finder) sharedLanguages(s *shelterv1.Shelter) (shared []string) {
	for _, n := range f.people {
		for _, l := range n.GetLanguages() {
			if label := codes.Label(codes.Language, l, f.say.lang); slices.Contains(s.GetLanguages(), l) && !slices.Contains(shared, label) {
				shared = append(shared, label)
			}
		}
	}
	return shared
}

// namesOf are services as they stand within a sentence.
func (f *finder) namesOf(services []string) string {
	var all []string
	for _, code := range services {
		all = append(all, strings.ToLower(codes.Label(codes.Service, code, f.say.lang)))
	}
	return f.say.enumerated(all)
}

// summary is what a worker reads first.
func (f *finder) summary() string {
	if f.shelters == 0 {
		return f.say.say(sayNoShelter, args{})
	}
	a := args{who: f.who()}
	near := f.request.GetNearDistrict()
	if near != "" {
		a.district = f.say.district(near)
	}
	k := sayBest
	switch {
	case f.out[fits].all == 0:
		a.why, k = f.whyNot(outs.everywhere), sayNoPlace
		if near != "" && f.sheltersNear == 0 {
			k = sayNoPlaceElsewhere
		}
		return f.say.say(k, a)
	case near == "" || f.out[fits].near > 0:
	case f.sheltersNear == 0:
		k = sayBestNoShelter
	default:
		a.why, k = f.whyNot(outs.nearby), sayBestNoBed
	}
	a.where = f.where(&f.hits[0])
	return f.say.say(k, a)
}

// where the best place is.
func (f *finder) where(best *hit) string {
	a := args{place: best.site.displayName, district: f.say.district(best.site.district), n: int32(best.placed), of: int32(len(f.people))}
	far, part := false, a.n < a.of
	if tens := f.tens[best.site.ward.district]; tens != unknown && tens > 0 && best.site.district != f.request.GetNearDistrict() {
		far, a.km = true, tens*10
	}
	switch {
	case far && part:
		return f.say.say(sayWhereFarParted, a)
	case far:
		return f.say.say(sayWhereFar, a)
	case part:
		return f.say.say(sayWhereParted, a)
	}
	return f.say.say(sayWhere, a)
}

// who are the people, in a few words.
func (f *finder) who() string {
	if n := int32(len(f.people)); n > 3 {
		if slices.ContainsFunc(f.people, (*custodyv1.Needs).GetWithMother) {
			return f.say.say(sayFamily, args{n: n})
		}
		return f.say.say(sayPeople, args{n: n})
	}
	var all []string
	for _, n := range f.people {
		k, a := person(n), args{n: n.GetAgeFrom(), to: n.GetAgeTo()}
		if a.to != a.n {
			k += between
		}
		all = append(all, f.say.say(k, a))
	}
	return f.say.listed(all)
}

// person is what a person is called.
func person(n *custodyv1.Needs) key {
	woman, man := n.GetGender() == codes.GenderFeminine, n.GetGender() == codes.GenderMasculine
	child := n.GetAgeTo() < 18
	perhaps := n.GetAgeFrom() < 18 && !child
	switch {
	case perhaps && woman:
		return sayGirlOrWoman
	case perhaps && man:
		return sayBoyOrMan
	case woman && child:
		return sayGirl
	case woman:
		return sayWoman
	case man && child:
		return sayBoy
	case man:
		return sayMan
	case child:
		return sayChild
	}
	return sayPerson
}
