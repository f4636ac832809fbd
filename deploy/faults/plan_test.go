package faults

import (
	"reflect"
	"testing"
	"time"

	"amanat.example/deploy/network"
)

func all(seed uint64) Options {
	return Options{
		Seed: seed, Kill: true, Freeze: time.Second, WipeBus: true, WipeHub: true, RollBackHub: true,
		Cuts: []Cut{
			{Node: "sindh", For: 10 * time.Second},
			{Node: "punjab", For: 5 * time.Second},
			{Node: "balochistan", For: time.Second},
			{Node: "sindh", For: time.Second, How: Out},
			{Node: "punjab", For: time.Second, How: Flap},
		},
	}
}

// Whatever the seed, everything that was asked for breaks once, in good order, while there is work; and the same seed breaks
// it at the same moments.
func TestPlan(t *testing.T) {
	parts := network.Fixed("").Parts()
	for seed := range uint64(200) {
		p := plan(parts, all(seed))
		if !reflect.DeepEqual(p, plan(parts, all(seed))) {
			t.Fatalf("seed %d gives two plans", seed)
		}
		if reflect.DeepEqual(p, plan(parts, all(seed+1))) {
			t.Errorf("seeds %d and %d give the same plan", seed, seed+1)
		}
		seen := map[kind]int{}
		killed := map[network.Part]bool{}
		moments := map[kind]float64{}
		last := 0.0
		for _, f := range p {
			seen[f.kind]++
			moments[f.kind] = f.at
			if f.kind == killProcess {
				killed[f.part] = true
			}
			if f.at < begin || f.at > end || f.at < last || f.after < 0 || f.after > 10*time.Second {
				t.Errorf("seed %d: %v at %v and %v", seed, f, f.at, f.after)
			}
			last = f.at
		}
		want := map[kind]int{cutLink: 5, killProcess: len(parts), freeze: len(parts), wipeBus: 4, copyHub: 1, wipeHub: 1, rollBackHub: 1}
		if !reflect.DeepEqual(seen, want) || len(killed) != len(parts) {
			t.Errorf("seed %d breaks %v, want %v; %d processes are killed", seed, seen, want, len(killed))
		}
		if moments[copyHub] >= moments[rollBackHub] {
			t.Errorf("seed %d rolls the hub back before there is a copy", seed)
		}
	}
}

// What was not asked for does not break.
func TestPlanOfOne(t *testing.T) {
	parts := network.Fixed("").Parts()
	for want, o := range map[kind]Options{
		wipeHub: {WipeHub: true},
		wipeBus: {WipeBus: true},
		cutLink: {Cuts: []Cut{{Node: "punjab", For: time.Second}}},
		freeze:  {Freeze: time.Second},
	} {
		p := plan(parts, o)
		if len(p) == 0 {
			t.Errorf("%s: nothing breaks", want)
		}
		for _, f := range p {
			if f.kind != want {
				t.Errorf("%s: %v", want, f)
			}
		}
	}
	if p := plan(parts, Options{}); len(p) != 0 {
		t.Errorf("nothing was asked for: %v", p)
	}
}
