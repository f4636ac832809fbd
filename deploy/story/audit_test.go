package story_test

import (
	"testing"

	"amanat.example/deploy/story"
)

// Any one broken promise is enough for the run to fail.
func TestKept(t *testing.T) {
	good := func() *story.Result {
		return &story.Result{Referrals: 2, States: map[string]int{"COMPLETED": 2}, FederalMatches: true}
	}
	if !good().Kept() {
		t.Fatal("a run in which all promises held is taken for broken")
	}
	for name, spoil := range map[string]func(*story.Result){
		"lost":       func(r *story.Result) { r.Lost = 1 },
		"doubled":    func(r *story.Result) { r.Doubled = 1 },
		"overbooked": func(r *story.Result) { r.OverbookedBeds = 1 },
		"federal":    func(r *story.Result) { r.FederalMatches = false },
		"unfinished": func(r *story.Result) { r.States = map[string]int{"COMPLETED": 1, "READY": 1} },
	} {
		r := good()
		spoil(r)
		if r.Kept() {
			t.Errorf("%s: the broken promise goes unseen", name)
		}
	}
}
