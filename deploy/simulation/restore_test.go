package simulation

import (
	"context"
	"time"

	"amanat.example/services/kit/store"
)

// Save keeps a copy of a service's store.
func Save(p Place) Move {
	return Move{Name: "a copy is kept", Most: 1, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		if s.Saved == 0 {
			s.Saved = s.At[p]
			next("a copy of "+p.String()+" is kept", s)
		}
	}}
}

// Restore brings a service back from its copy, a second later. What it has become since is lost, and the copy is used up.
func Restore(p Place) Move {
	return Move{Name: "the copy is restored", Most: 1, Do: func(w *World, s State, _ uint8, next func(string, State)) {
		if s.Saved == 0 || w.states[s.Saved].place != p {
			return
		}
		s.Now = w.timeOf(w.times[s.Now].Add(time.Second))
		s.At[p], s.Saved = w.restore(s.Saved, s.Now), 0
		next(p.String()+" is restored from its copy", s)
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
		return outcome{at: w.openEngine(s.place, engine, now, nil, "restored").done()}
	}).at
}
