package simulation

import (
	"os"
	"runtime/debug"
	"testing"

	"amanat.example/services/kit/soaktest"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(300) // what is kept is kept for good
	debug.SetMemoryLimit(3 << 30)
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
		Name: "time", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab), Deep: true,
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
		Name: "an agency outside the network", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			AskAgency(1), enter(1, "accepts", agencyAccepts), ConfirmAgency(1), enter(1, "is ready", agencyIsReady), enter(1, "takes it back", agencyTakesBack), enter(1, "has her", agencyHasHer),
			Accept(1, punjab, false), Dispatch(1, balochistan), Cancel(1, balochistan), Travel(1, punjab, false), Welcome(1, punjab),
		},
	},
	{
		Name: "an old word of an arrival", Settings: Settings{Beds: 1}, Children: 1,
		Begin: func(w *World, s State) State { return w.Make(w.Rest(Submit(w, s, punjab)), Accept(1, punjab, false)) },
		Moves: []Move{
			Travel(1, punjab, false), Welcome(1, punjab), Dispatch(1, balochistan), Offer(1, punjab, sindh), Accept(1, sindh, false), Dispatch(1, punjab),
			Travel(1, sindh, true), Welcome(1, sindh),
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
			LoseAnswer(2), CompareBeds(1, punjab),
		},
	},
	{
		Name: "a shelter is away when a child comes and goes", Settings: Settings{Beds: 1}, Children: 1,
		Begin: func(w *World, s State) State {
			return w.Make(w.Rest(Submit(w, s, punjab)), Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true))
		},
		Moves: []Move{Welcome(1, punjab), Complete(1, punjab), LoseAnswer(1), CompareBeds(2, punjab)},
	},
	{
		Name: "a shelter is restored", Settings: Settings{Beds: 1, Keeps: true}, Children: 2,
		Begin: func(w *World, s State) State { return w.Rest(bed(w, s)) },
		Moves: []Move{Accept(2, punjab, false), Save(Shelter(punjab)), Restore(1, Shelter(punjab))},
	},
	{
		Name: "a shelter is restored to when a bed was held", Settings: Settings{Beds: 1, Keeps: true}, Children: 2,
		Begin: func(w *World, s State) State {
			s = w.Rest(bed(w, s))
			s = w.shelterWorks(w.First(s, Accept(1, punjab, false)), punjab)
			return w.First(s, Save(Shelter(punjab)))
		},
		Moves: []Move{TakeBack(1, punjab), EndHold(1, punjab), Accept(1, punjab, false), Restore(1, Shelter(punjab))},
	},
	{
		Name: "a shelter is restored, and the child there", Settings: Settings{Beds: 1, Keeps: true}, Children: 1, Begin: submitTo(punjab),
		Moves: []Move{
			Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, false), Welcome(1, punjab),
			Save(Shelter(punjab)), Restore(1, Shelter(punjab)),
		},
	},
}

// Scenarios in which referral services lose what they knew.
func init() {
	scenarios = append(scenarios,
		Scenario{
			Name: "the origin is restored", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab), Recovers: true,
			Moves: []Move{Accept(1, punjab, false), Dispatch(1, balochistan), Save(Referral(balochistan)), Restore(1, Referral(balochistan))},
		},
		Scenario{
			Name: "the destination is restored", Settings: Settings{Beds: 1}, Children: 1, Begin: submitTo(punjab), Recovers: true, Deep: true,
			Moves: []Move{Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab), Save(Referral(punjab)), Restore(1, Referral(punjab))},
		},
		Scenario{
			Name: "the origin is restored twice", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				return w.First(w.Rest(Submit(w, s, punjab)), Save(Referral(balochistan)))
			},
			Moves: []Move{Accept(1, punjab, false), Withdraw(1, balochistan, punjab), Offer(1, balochistan, sindh), Cancel(1, balochistan), Restore(2, Referral(balochistan))},
		},
		Scenario{
			Name: "the origin is restored, and old parcels come", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				return w.First(w.Rest(Submit(w, s, punjab)), Save(Referral(balochistan)))
			},
			Moves: []Move{Accept(1, punjab, false), Cancel(1, balochistan), Restore(1, Referral(balochistan)), KeepCopy(1), Again(1)},
		},
		Scenario{
			Name: "both are restored", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				s = w.First(w.Rest(Submit(w, s, punjab)), Save(Referral(balochistan)))
				return w.shelterWorks(w.First(s, Accept(1, punjab, false)), punjab)
			},
			Moves: []Move{
				Cancel(1, balochistan), Save(Referral(punjab)), Restore(1, Referral(balochistan)), Restore(1, Referral(punjab)),
			},
		},
		Scenario{
			Name: "both are restored, and old parcels come", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				return w.First(w.First(w.Rest(Submit(w, s, punjab)), Save(Referral(balochistan))), Save(Referral(punjab)))
			},
			Moves: []Move{
				Cancel(1, balochistan), Restore(1, Referral(balochistan)), Restore(1, Referral(punjab)), KeepCopy(1), Again(1),
			},
		},
		Scenario{
			Name: "a promise that the origin took back and forgot", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				s = w.First(w.Make(w.Rest(Submit(w, s, punjab)), Accept(1, punjab, false)), Save(Referral(balochistan)))
				return w.Rest(w.First(w.Make(s, Withdraw(1, balochistan, punjab)), Restore(1, Referral(balochistan))))
			},
			Moves: []Move{Dispatch(1, balochistan), GrantRelease(1, balochistan, punjab), Travel(1, punjab, true), Welcome(1, punjab)},
		},
		Scenario{
			Name: "a handover of a lost life", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				s = w.First(w.Rest(Submit(w, s, punjab)), Save(Referral(balochistan)))
				s = w.Make(s, Accept(1, punjab, false), Withdraw(1, balochistan, punjab), Offer(1, balochistan, punjab))
				s = w.First(w.Make(s, Accept(2, punjab, false)), Save(Referral(punjab)))
				s = w.First(w.First(s, Dispatch(1, balochistan)), KeepCopy(1))
				return w.Rest(w.First(s, Restore(1, Referral(balochistan))))
			},
			Moves: []Move{Withdraw(1, balochistan, punjab), Dispatch(1, balochistan), Restore(1, Referral(punjab)), Again(1)},
		},
		Scenario{
			Name: "who has promised is restored", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				return w.Make(w.First(w.Rest(Submit(w, s, punjab)), Save(Referral(punjab))), Accept(1, punjab, false))
			},
			Moves: []Move{Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab), Restore(1, Referral(punjab))},
		},
		Scenario{
			Name: "the destination is restored, and the child comes first", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State { return w.Rest(Submit(w, s, punjab)) },
			Moves: []Move{
				Accept(1, punjab, false), Travel(1, punjab, false), Welcome(1, punjab), Cancel(1, balochistan), Save(Referral(punjab)), Restore(1, Referral(punjab)),
			},
		},
		Scenario{
			Name: "restored in the middle of a return", Settings: Settings{Beds: 1}, Children: 1, Recovers: true,
			Begin: func(w *World, s State) State {
				return w.Make(w.Rest(Submit(w, s, punjab)), Accept(1, punjab, false), Dispatch(1, balochistan), Travel(1, punjab, true), Welcome(1, punjab))
			},
			Moves: []Move{
				AskBack(1), Confirm(1, punjab, balochistan), Dispatch(1, punjab), Travel(1, balochistan, true), Welcome(1, balochistan), IsBack(1, balochistan),
				Save(Referral(balochistan)), Restore(1, Referral(balochistan)),
			},
		},
		Scenario{
			Name: "the origin of siblings is restored", Settings: Settings{Beds: 2}, Children: 2, Begin: together, Recovers: true,
			Moves: []Move{Accept(1, punjab, false), Dispatch(1, balochistan), Save(Referral(balochistan)), Restore(1, Referral(balochistan))},
		},
	)
}

// bed is what two children want, of two nodes, at the third.
func bed(w *World, s State) State { return SubmitAlso(w, Submit(w, s, punjab), sindh, punjab) }

// usual is how many states of a scenario are explored at most until each mutant is found, restored of one in which referral services are
// restored, which cost more; of healed states one is healed. `make test` explores a share of them, a soak as many times more, and heals each.
const (
	usual, restored = 10000, 6000
	healed, share   = 10, 2
)

// bound bounds a scenario as far as a mutant is looked for.
func (sc Scenario) bound() Scenario {
	sc.Most, sc.HealEvery = usual, healed
	if sc.Recovers {
		sc.Most = restored
	}
	return sc
}

// Every state of each scenario, within its bound: all invariants hold there, and from there healing leads to agreement.
func TestExplore(t *testing.T) {
	hurried := testing.Short() || soaktest.Alone(false, true)
	for _, sc := range scenarios {
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			sc = sc.bound()
			switch {
			case hurried:
				sc.Most = 60
			case soaktest.Soak():
				sc.Most *= share
				sc.HealEvery = 1
			case !sc.Deep:
				sc.Most /= share
				sc.HealEvery *= share
			}
			r := Explore(t, sc)
			t.Logf("%s: at most %d states, 1 of %d healed: %v", sc.Name, sc.Most, sc.HealEvery, r)
			r.judge(t, sc, hurried)
		})
	}
}

func (r Report) judge(t *testing.T, sc Scenario, hurried bool) {
	t.Helper()
	if r.Broken != "" {
		t.Errorf("%s\n%s", r.Broken, r.Trace)
		return
	}
	for i, m := range sc.Moves {
		if r.Happened[i] > 0 && m.Refused {
			t.Errorf("%q is to be refused, and happened %d times", m.Name, r.Happened[i])
		}
		if r.Happened[i] == 0 && !m.Refused && !hurried {
			t.Errorf("%q never happened", m.Name)
		}
	}
}
