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
			Confirm(1, punjab, balochistan), Dispatch(1, punjab), Travel(1, balochistan, true), Welcome(1, balochistan), IsBack(1, balochistan), refused(IsBack(1, punjab)),
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
		Begin: bed,
		Moves: []Move{
			Accept(2, punjab, false), TakeBack(1, punjab), EndHold(1, punjab), LoseAnswer(1),
		},
	},
	{
		Name: "old parcels and lost receipts", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab), KeepCopy(1), Again(1), LoseReceipt(1),
		},
	},
	{
		Name: "lost answers of the shelter", Settings: Settings{Beds: 2}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(2, punjab, false), TakeBack(1, punjab), Withdraw(1, balochistan, punjab), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab),
			LoseAnswer(2), CompareBeds(1, punjab), Wait(1),
		},
	},
	{
		Name: "a shelter is restored", Settings: Settings{Beds: 1, Keeps: true}, Children: 2, Restores: true,
		Begin: func(w *World, s State) State { return w.Rest(bed(w, s)) },
		Moves: []Move{Accept(2, punjab, false), Save(Shelter(punjab)), Restore(Shelter(punjab)), CompareBeds(1, punjab)},
	},
	{
		Name: "a shelter is restored to when a bed was held", Settings: Settings{Beds: 1, Keeps: true}, Children: 2, Restores: true,
		Begin: func(w *World, s State) State {
			s = w.Rest(bed(w, s))
			s = w.shelterWorks(w.First(s, Accept(1, punjab, false)), punjab)
			return w.First(s, Save(Shelter(punjab)))
		},
		Moves: []Move{TakeBack(1, punjab), EndHold(1, punjab), Accept(1, punjab, false), Restore(Shelter(punjab)), CompareBeds(1, punjab)},
	},
	{
		Name: "a shelter is restored, and the child there", Settings: Settings{Beds: 1, Keeps: true}, Children: 1, Begin: submitTo(punjab), Restores: true,
		Moves: []Move{
			Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, false), Welcome(1, punjab),
			Save(Shelter(punjab)), Restore(Shelter(punjab)), CompareBeds(1, punjab),
		},
	},
}

// bed is what two children want, of two nodes, at the third.
func bed(w *World, s State) State { return SubmitAlso(w, Submit(w, s, punjab), sindh, punjab) }

func init() {
	for i := range scenarios {
		scenarios[i].Most, scenarios[i].HealEvery = 20000, 10
	}
}

func TestExplore(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			r := Explore(t, sc)
			t.Logf("%s: %v", sc.Name, r)
			for i, m := range sc.Moves {
				if (r.Happened[i] == 0) != m.Refused {
					t.Errorf("%q happened %d times", m.Name, r.Happened[i])
				}
			}
			if r.Broken != "" {
				t.Errorf("%s\n%s", r.Broken, r.Trace)
			}
		})
	}
}
