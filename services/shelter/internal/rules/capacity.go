package rules

import (
	"slices"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Ages up to which a capacity claim is fresh, and ageing (domain page, "Shelters and beds").
const (
	FreshFor  = 2 * time.Hour
	AgeingFor = 8 * time.Hour
)

// Times of "we are full".
const (
	UsualFull   = 24 * time.Hour
	LongestFull = 7 * 24 * time.Hour
)

// Count is what the rows say of a group: beds held, occupied and out of service.
type Count struct{ Held, Occupied, Out int32 }

// Taken is how many beds nobody else can have.
func (c Count) Taken() int32 { return c.Held + c.Occupied + c.Out }

// Capacity is how many beds there are now: overflow counts as far as it is set up.
func Capacity(g *shelterv1.Group) int32 { return g.GetTotal() + g.GetOverflowOpen() }

// Free is what the rows leave. It is never negative: nothing is taken, and no inventory cut, beyond it.
func Free(g *shelterv1.Group, c Count) int32 { return Capacity(g) - c.Taken() }

// Available is what can be had now: nothing where the shelter is suspended or says that it is full.
func Available(s *shelterv1.Shelter, g *shelterv1.Group, c Count, now time.Time) int32 {
	if s.GetState() == shelterv1.Shelter_STATE_SUSPENDED || Full(s, now) {
		return 0
	}
	return Free(g, c)
}

// Full says that a shelter has declared itself full, until a time that has not come.
func Full(s *shelterv1.Shelter, now time.Time) bool {
	return s.GetFullUntilTime() != nil && s.GetFullUntilTime().AsTime().After(now)
}

// FullUntil is until when a declaration holds that is made at now.
func FullUntil(asked *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if asked == nil {
		return now.Add(UsualFull), nil
	}
	if until := asked.AsTime(); until.After(now) && !until.After(now.Add(LongestFull)) {
		return until, nil
	}
	return time.Time{}, fault.InvalidField("until_time", "must lie ahead, and at most 7 days")
}

// Fresh is how far a claim made at a time can be relied on at now.
func Fresh(claimed *timestamppb.Timestamp, now time.Time) shelterv1.Freshness {
	switch age := now.Sub(claimed.AsTime()); {
	case claimed == nil || age > AgeingFor:
		return shelterv1.Freshness_FRESHNESS_STALE
	case age >= FreshFor:
		return shelterv1.Freshness_FRESHNESS_AGEING
	}
	return shelterv1.Freshness_FRESHNESS_FRESH
}

// LetsIn refuses where a shelter takes nobody in now.
func LetsIn(s *shelterv1.Shelter, now time.Time) error {
	if s.GetState() != shelterv1.Shelter_STATE_ACTIVE {
		return fault.New(fault.WrongState, "The shelter takes nobody in at present. Choose another shelter.", "state", "SUSPENDED")
	}
	if Full(s, now) {
		return fault.New(fault.NoCapacity, "The shelter says that it is full. Choose another shelter, or call it.", "shelter", s.GetName())
	}
	return nil
}

// Room refuses to take more beds of a group than are free.
func Room(g *shelterv1.Group, c Count, quantity int32) error {
	if Free(g, c) < quantity && !mutant.Off("beds") {
		return fault.New(fault.NoCapacity, "Not enough beds are free in this group. Choose another group, or ask again later.", "group", g.GetName())
	}
	return nil
}

// CheckInventory refuses a group whose beds would be fewer than are taken.
func CheckInventory(g *shelterv1.Group, c Count) error {
	if g.GetOverflowOpen() > g.GetOverflow() {
		return fault.InvalidField("group.overflow_open", "must not exceed overflow")
	}
	if Free(g, c) < 0 {
		return fault.New(fault.WrongState, "More beds are held, occupied or out of service than would be left. Move people, release holds or end outages first.",
			"group", g.GetName(), "field", "group.total")
	}
	return nil
}

// Unfit is one reason why a group does not take a person; Need names what it is about.
type Unfit struct{ Need, Sentence string }

// obstacle is a reason why a group of a shelter may not take a person.
type obstacle struct {
	Unfit
	out    out
	stands func(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) bool
}

// obstacles in the order in which they are told. A group that fails at a later one is nearer to taking the person.
var obstacles = []obstacle{
	{Unfit{"gender", "This group does not take this gender. Choose another group."}, outGender, func(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) bool {
		return !takesGender(s, g, needs)
	}},
	{Unfit{"age", "This group does not take this age. Choose another group."}, outAge, func(_ *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) bool {
		return needs.GetAgeFrom() < g.GetAgeFrom() || needs.GetAgeTo() > g.GetAgeTo()
	}},
	{Unfit{"with_mother", "This group does not take mothers with children. Choose another group."}, outWithMother, func(_ *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) bool {
		return needs.GetWithMother() && !g.GetWithMother()
	}},
	{Unfit{"wheelchair", "This shelter is not free of steps. Choose another shelter."}, outSteps, func(s *shelterv1.Shelter, _ *shelterv1.Group, needs *custodyv1.Needs) bool {
		return needs.GetWheelchair() && !s.GetWheelchair()
	}},
	{Unfit{"special_needs", "This group is not equipped for these needs. Choose another group."}, outSpecialNeeds, func(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) bool {
		for _, need := range needs.GetSpecialNeeds() {
			if !slices.Contains(g.GetNeeds(), need) && !(need == codes.SpecialNeedWheelchair && s.GetWheelchair()) {
				return true
			}
		}
		return false
	}},
	{Unfit{"excluded_districts", "The person must not be brought to this shelter's district. Choose another shelter."}, outExcluded, func(s *shelterv1.Shelter, _ *shelterv1.Group, needs *custodyv1.Needs) bool {
		return keepsAway(needs, s.GetDistrict())
	}},
}

// keepsAway says that a person must not be brought to a district: it is excluded, or has or had ground in common with one that is,
// since whoever wrote that may have meant another border.
func keepsAway(needs *custodyv1.Needs, district string) bool {
	return slices.ContainsFunc(needs.GetExcludedDistricts(), func(excluded string) bool {
		return slices.Contains(codes.Ground(excluded), district)
	})
}

// Unfits lists every reason why a group of a shelter does not take a person with these needs.
func Unfits(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) (why []Unfit) {
	for _, o := range obstacles {
		if o.stands(s, g, needs) {
			why = append(why, o.Unfit)
		}
	}
	return why
}

// passed is how many obstacles a person gets past before one stands in the way: all of them where the group takes the person.
func passed(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) int {
	for i := range obstacles {
		if obstacles[i].stands(s, g, needs) {
			return i
		}
	}
	return len(obstacles)
}

// takesGender: a boy may come in with his mother where boys alone may not, up to an age.
func takesGender(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) bool {
	return slices.Contains(g.GetGenders(), needs.GetGender()) ||
		needs.GetWithMother() && g.GetWithMother() && needs.GetGender() == codes.GenderMasculine &&
			s.GetBoysWithMotherToAge() > 0 && needs.GetAgeTo() <= s.GetBoysWithMotherToAge()
}

// Fits says whether a group of a shelter takes a person with these needs, else the first reason why not.
func Fits(s *shelterv1.Shelter, g *shelterv1.Group, needs *custodyv1.Needs) error {
	if why := Unfits(s, g, needs); len(why) > 0 {
		return fault.New(fault.CannotMeetNeeds, why[0].Sentence, "need", why[0].Need)
	}
	return nil
}

// FamilyFits refuses a family that is larger than the shelter takes together.
func FamilyFits(s *shelterv1.Shelter, quantity int32) error {
	if largest := s.GetLargestFamily(); largest > 0 && quantity > largest {
		return fault.New(fault.CannotMeetNeeds, "The shelter does not take so many of one family. Choose another shelter.", "need", "family")
	}
	return nil
}
