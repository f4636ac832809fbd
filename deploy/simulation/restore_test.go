package simulation

import (
	"context"
	"time"

	"amanat.example/services/kit/store"
)

// Save keeps a copy of a service's store.
func Save(p Place) Move {
	return Move{Name: "a copy is kept", Most: 1, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		for i, saved := range s.Saved {
			switch {
			case saved == 0:
				s.Saved[i] = s.At[p]
				next("a copy of "+p.String()+" is kept", s)
				return
			case w.states[saved].place == p:
				return
			}
		}
	}}
}

// Restore brings a service back from its copy, a second later. What it has become since is lost.
func Restore(most uint8, p Place) Move {
	return Move{Name: "the copy is restored", Most: most, Do: func(w *World, s State, used uint8, next func(string, State)) {
		for i, saved := range s.Saved {
			if saved == 0 || w.states[saved].place != p || saved == s.At[p] {
				continue
			}
			if used+1 >= most {
				s.Saved[i] = 0
			}
			s.Now = w.timeOf(w.times[s.Now].Add(time.Second))
			s.At[p], s.Restored = w.restore(saved, s.Now), true
			s.Recovers = s.Recovers || int(p) < len(Nodes)
			next(p.String()+" is restored from its copy", s)
			return
		}
	}}
}

func (w *World) restore(id ID, now uint16) ID {
	return w.once(input{at: id, what: "restore", now: now}, func() outcome {
		s, engine := w.open(id, now, nil, "restore"), store.NewMemory()
		clock := func() time.Time { return s.now }
		var err error
		if s.referral != nil {
			err = s.referral.RestoreTo(context.Background(), engine, clock)
		} else {
			err = s.shelter.RestoreTo(context.Background(), engine, clock)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		return outcome{at: w.openEngine(s.place, engine, now, nil, "restored", w.times[now].Format(time.RFC3339)).done()}
	}).at
}

// recover is what services do once one of them was restored: they compare marks, ask what was lost, and answer, and compare
// live offers with holds.
func (w *World) recover(s State, next func(name string, to State)) {
	for node := range Nodes {
		p := Referral(node)
		to := s
		if to.At[p], to.At[Shelter(node)] = w.Compare(s.At[p], s.At[Shelter(node)], s.Now); to != s {
			next(Nodes[node]+" compares live offers with holds", to)
		}
		if !s.Recovers {
			continue
		}
		for _, m := range w.Greetings(s.At[p]) {
			if name, to := w.carry(s, m); to != s {
				next(name+" marks", to)
			}
		}
		to = s
		if to.At[p] = w.Recover(s.At[p], s.Now); to != s {
			next(Nodes[node]+" does what recovery asks", to)
		}
	}
}

// Recover has a referral service do what is to be done for restored nodes.
func (w *World) Recover(id ID, now uint16) ID {
	return w.once(input{at: id, what: "recover", now: now}, func() outcome {
		s := w.open(id, now, nil, "recover", w.times[now].Format(time.RFC3339))
		if _, err := s.referral.Recover(context.Background()); err != nil {
			w.t.Fatal(err)
		}
		return outcome{at: s.done()}
	}).at
}
