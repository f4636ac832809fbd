package simulation

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	most     = 24 // moves of a scenario that are counted
	children = 2
	carried  = 2 // messages that the network may keep
	copies   = 2 // of stores
)

// State is a state of the whole world.
type State struct {
	At    [places]ID
	Late  [carried]ID // messages that the network has kept, ascending
	Saved [copies]ID  // old copies of services' stores; 0: none
	// Restored: a store was restored, so that beds are compared; Recovers: one of a referral service, so that marks are compared too,
	// and what was lost is asked for.
	Restored, Recovers bool
	Child              [children]uint8 // the node at which each child is
	Now                uint16
	Used               [most]uint8 // how often each counted move was made
}

// Move is something that may happen. It answers the states it may lead to; a state that is the same as before is no move.
type Move struct {
	Name string
	// Most is how often it may happen.
	Most uint8
	Do   func(w *World, s State, used uint8, next func(name string, to State))
	// Refused: the rules let nobody do it.
	Refused bool
}

func refused(m Move) Move { m.Refused = true; return m }

// Scenario is a bounded part of all that may happen.
type Scenario struct {
	Name     string
	Settings Settings
	Children int
	// Begin brings the world to where the exploration begins.
	Begin func(w *World, s State) State
	Moves []Move
	// Most states to explore; 0: all.
	Most int
	// Recovers: referral services are restored, so that what was told may have to be asked for.
	Recovers bool
	// Deep: some of its moves happen late, so that no less is explored of it in `make test`.
	Deep bool
	// HealEvery of the states is healed: 1 is each of them. Which are, their number decides.
	HealEvery int
}

// reached is how a state was reached first.
type reached struct {
	state State
	from  int32
	by    string
}

// Report is what an exploration found.
type Report struct {
	States, Moves, Healed int
	Exhausted             bool
	Deepest               int
	Ran, Asked            int
	Took                  time.Duration
	// Happened counts how often each move of the scenario led somewhere.
	Happened [most]int
	// Broken is the first invariant that does not hold, with the shortest way there; empty for none.
	Broken, Trace string
}

func (r Report) String() string {
	end := "exhausted"
	if !r.Exhausted {
		end = "bounded"
	}
	return fmt.Sprintf("%d states, %d moves, %d healed, %s, deepest %d; the services ran %d times for %d inputs; %.1fs, %.0f moves/s",
		r.States, r.Moves, r.Healed, end, r.Deepest, r.Ran, r.Asked, r.Took.Seconds(), float64(r.Moves)/r.Took.Seconds())
}

// Explore goes through a scenario breadth-first.
func Explore(t testing.TB, sc Scenario) Report {
	begin := time.Now()
	w := NewWorld(t, sc.Settings)
	first := w.hear(sc.Begin(w, w.Start()))
	x := &exploration{w: w, sc: sc, seen: map[State]int32{first: 0}, all: []reached{{state: first, from: -1}}, depth: []uint16{0}, sound: map[State]bool{}}
	x.run()
	x.report.States, x.report.Ran, x.report.Asked, x.report.Took = len(x.all), w.Ran, w.Asked, time.Since(begin)
	x.report.Deepest = int(slices.Max(x.depth))
	return x.report
}

type exploration struct {
	w      *World
	sc     Scenario
	seen   map[State]int32
	all    []reached
	depth  []uint16
	sound  map[State]bool // states from which healing was seen to end well
	report Report
}

func (x *exploration) run() {
	for at := 0; at < len(x.all); at++ {
		s := x.all[at].state
		if broken := x.w.Broken(s, x.sc.Children); broken != "" {
			x.fail(at, broken, nil)
			return
		}
		if x.sc.HealEvery > 0 && at%x.sc.HealEvery == 0 {
			x.report.Healed++
			if broken, steps := x.heal(s); broken != "" {
				x.fail(at, broken, steps)
				return
			}
		}
		if x.sc.Most > 0 && len(x.all) >= x.sc.Most {
			continue // what was reached is still checked
		}
		x.moves(s, func(name string, to State) {
			to = x.w.hear(to)
			x.report.Moves++
			if _, ok := x.seen[to]; ok {
				return
			}
			x.seen[to] = int32(len(x.all))
			x.all = append(x.all, reached{to, int32(at), name})
			x.depth = append(x.depth, x.depth[at]+1)
		})
		if x.w.stuck != "" {
			x.fail(at, x.w.stuck, nil)
			return
		}
	}
	x.report.Exhausted = x.sc.Most == 0 || len(x.all) < x.sc.Most
}

// fail notes what is broken and the way there.
func (x *exploration) fail(at int, broken string, healing []string) {
	var steps []string
	for i := at; x.all[i].from >= 0; i = int(x.all[i].from) {
		steps = append(steps, x.all[i].by)
	}
	slices.Reverse(steps)
	x.report.Broken = broken
	for i, step := range steps {
		x.report.Trace += fmt.Sprintf("  %2d. %s\n", i+1, step)
	}
	if len(healing) > 0 {
		x.report.Trace += "  then all is delivered and done:\n"
		for _, step := range healing {
			x.report.Trace += "      " + step + "\n"
		}
	}
}

// moves are all that may happen next.
func (x *exploration) moves(s State, next func(name string, to State)) {
	x.w.network(s, next)
	for i, m := range x.sc.Moves {
		if s.Used[i] >= m.Most {
			continue
		}
		m.Do(x.w, s, s.Used[i], func(name string, to State) {
			if to == s {
				return
			}
			to.Used[i]++
			x.report.Happened[i]++
			next(name, to)
		})
	}
}

// hear lets referral services take in events of their shelters that mean nothing to them, so that it does not matter when they do.
func (w *World) hear(s State) State {
	for node := range Nodes {
		p := Referral(node)
		if to := w.Follow(s.At[p], s.At[Shelter(node)], s.Now); w.states[to].bare == w.states[s.At[p]].bare {
			s.At[p] = to
		}
	}
	return s
}

// network is what happens by itself, in any order, early or late: a parcel comes, the shelter service carries out a command, its
// events come, what is due happens.
func (w *World) network(s State, next func(name string, to State)) {
	for node := range Nodes {
		at := s.At[Referral(node)]
		for _, m := range w.Parcels(at) {
			next(w.carry(s, m))
		}
		for _, c := range w.Commands(at) {
			to := s
			to.At[Referral(node)], to.At[Shelter(node)] = w.Command(at, s.At[Shelter(node)], c, false, s.Now)
			if to != s {
				next("the shelter of "+Nodes[node]+" carries out "+short(c), to)
			}
		}
		to := s
		if to.At[Referral(node)] = w.Follow(at, s.At[Shelter(node)], s.Now); to != s {
			next(Nodes[node]+" hears of its shelter's events", to)
		}
	}
	if s.Restored {
		w.recover(s, next)
	}
	w.due(s, next)
}

// due lets happen what is due now.
func (w *World) due(s State, next func(name string, to State)) {
	for p := range Place(places) {
		if at := w.Facts(s.At[p]).due; !at.IsZero() && !at.After(w.times[s.Now]) {
			to := s
			if to.At[p] = w.Fire(s.At[p], s.Now); to != s {
				next(p.String()+" does what is due", to)
			}
		}
	}
}

// carry takes a parcel to its receiver and the receipt back.
func (w *World) carry(s State, message ID) (name string, to State) {
	m := w.messages[message]
	to = s
	after, receipt, err := w.Deliver(s.At[m.to], message, s.Now)
	to.At[m.to] = after
	if receipt != 0 {
		var failed error
		to.At[m.from], _, failed = w.Deliver(s.At[m.from], receipt, s.Now)
		err = errors.Join(err, failed)
	}
	if err != nil {
		w.stuck = fmt.Sprintf("STUCK (letter): %s: %v", w.tell(m), err)
	}
	return w.tell(m), to
}

// tell says what a message brings.
func (w *World) tell(m mail) string {
	text := Nodes[m.from.Node()] + " to " + Nodes[m.to.Node()] + ":"
	for _, l := range m.letters {
		text += " " + tellLetter(l)
	}
	return text
}

func short(command string) string {
	if len(command) > 24 {
		return command[:24] + "…"
	}
	return command
}
