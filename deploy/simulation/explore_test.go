package simulation

import (
	"os"
	"runtime/debug"
	"testing"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // what is kept is kept for good
	os.Exit(m.Run())
}

const (
	balochistan = iota
	punjab
	sindh
)

func submitTo(to int) func(w *World, s State) State {
	return func(w *World, s State) State { return Submit(w, s, to) }
}

// together are siblings referred to punjab.
func together(w *World, s State) State { return SubmitTogether(w, s, punjab) }

// scenarios are what is explored: each a beginning and what may happen from there, how often.
var scenarios = []Scenario{
	{
		Name: "one offer", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(1, punjab, false), Decline(1, punjab), TakeBack(1, punjab), Withdraw(1, balochistan, punjab), Dispatch(1, balochistan), Cancel(1, balochistan),
			AskRelease(1, punjab), GrantRelease(1, balochistan, punjab), Travel(1, punjab, true), Welcome(1, punjab), NoShow(1, punjab), Complete(1, punjab),
		},
	},
	{
		Name: "two offers", Settings: Settings{Beds: 1, ManualConfirm: true}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Offer(1, balochistan, sindh), Accept(1, punjab, false), Accept(1, sindh, false), Confirm(1, balochistan, punjab), Confirm(1, balochistan, sindh),
			TakeBack(1, punjab), Dispatch(1, balochistan), Travel(1, punjab, true), Travel(1, sindh, true), Welcome(1, punjab), Welcome(1, sindh),
		},
	},
	{
		Name: "the child goes first", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(1, punjab, false), Decline(1, punjab), Dispatch(1, balochistan), Cancel(1, balochistan), NoShow(1, punjab),
			Travel(1, punjab, false), Travel(1, sindh, false), Welcome(1, punjab), Welcome(1, sindh),
		},
	},
	{
		Name: "time", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab), Wait(4)},
	},
	{
		Name: "return", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab), AskBack(1),
			Confirm(1, punjab, balochistan), Dispatch(1, punjab), Travel(1, balochistan, true), Welcome(1, balochistan), IsBack(1),
		},
	},
	{
		Name: "referred on", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab), Offer(1, punjab, sindh),
			Accept(1, sindh, false), Dispatch(1, punjab), Travel(1, sindh, true), Welcome(1, sindh), Complete(1, sindh),
		},
	},
	{
		Name: "siblings", Settings: Settings{Beds: 2}, Children: 2, Begin: together,
		Moves: []Move{
			Accept(1, punjab, false), Decline(1, punjab), TakeBack(1, punjab), Dispatch(1, balochistan), Cancel(1, balochistan), Travel(2, punjab, true), Welcome(2, punjab),
		},
	},
	{
		Name: "siblings in two groups", Settings: Settings{Beds: 1, SecondBeds: 1}, Children: 2, Begin: together,
		Moves: []Move{
			Accept(1, punjab, true), TakeBack(1, punjab), Withdraw(1, balochistan, punjab), Dispatch(1, balochistan), Travel(2, punjab, true), Welcome(2, punjab),
		},
	},
	{
		Name: "two children, one bed", Settings: Settings{Beds: 1}, Children: 2,
		Begin: func(w *World, s State) State { return SubmitAlso(w, Submit(w, s, punjab), sindh, punjab) },
		Moves: []Move{
			Accept(2, punjab, false), TakeBack(1, punjab), Dispatch(1, balochistan), Dispatch(1, sindh), LoseAnswer(1),
		},
	},
	{
		Name: "old parcels and lost receipts", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab), KeepCopy(1), Again(1), LoseReceipt(1),
		},
	},
	{
		Name: "lost answers of the shelter", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(2, punjab, false), TakeBack(1, punjab), Withdraw(1, balochistan, punjab), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab),
			LoseAnswer(2), CompareBeds(1, punjab), Wait(1),
		},
	},
}

func TestExplore(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			sc.Most, sc.HealEvery = 20000, 10
			r := Explore(t, sc)
			t.Logf("%s: %v", sc.Name, r)
			for i, m := range sc.Moves {
				if r.Happened[i] == 0 {
					t.Errorf("%q never happened", m.Name)
				}
			}
			if r.Broken != "" {
				t.Errorf("%s\n%s", r.Broken, r.Trace)
			}
		})
	}
}
