package story

import (
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// The same seed gives the same children, another one others; all find a bed for their age.
func TestSeed(t *testing.T) {
	ages, urgencies := map[int32]bool{}, map[custodyv1.Urgency]bool{}
	differ := false
	for number := range 100 {
		one, again, other := (&Stage{Seed: 1}).girl(number), (&Stage{Seed: 1}).girl(number), (&Stage{Seed: 2}).girl(number)
		if one != again {
			t.Errorf("child %d is %v and then %v", number, one, again)
		}
		differ = differ || one != other
		ages[one.age], urgencies[one.urgency] = true, true
	}
	if !differ {
		t.Error("another seed changes nothing")
	}
	if len(ages) != oldest-youngest+1 || ages[youngest-1] || ages[oldest+1] {
		t.Errorf("ages: %v", ages)
	}
	if len(urgencies) != 3 || urgencies[custodyv1.Urgency_URGENCY_UNSPECIFIED] {
		t.Errorf("urgencies: %v", urgencies)
	}
	if plain := (&Stage{}).girl(7); plain != (girl{9, custodyv1.Urgency_URGENCY_HIGH}) {
		t.Errorf("without a seed: %v", plain)
	}
}
