package simulation

import "testing"

const (
	balochistan = iota
	punjab
	sindh
)

func TestExplore(t *testing.T) {
	sc := Scenario{
		Name: "one child, one offer", Settings: Settings{Beds: 1}, Children: 1, HealEvery: 1,
		Begin: func(w *World, s State) State { return Submit(w, s, punjab) },
		Moves: []Move{
			Accept(1, punjab, false), TakeBack(1, punjab), Dispatch(1, balochistan), Cancel(1, balochistan),
			Travel(1, punjab, true), Welcome(2, punjab), Complete(1, punjab),
		},
	}
	r := Explore(t, sc)
	t.Logf("%s: %v", sc.Name, r)
	if r.Broken != "" {
		t.Errorf("%s\n%s", r.Broken, r.Trace)
	}
}
