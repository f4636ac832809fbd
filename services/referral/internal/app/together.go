package app

import (
	"slices"

	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
)

// bound are those who go together with a referral in this transaction, itself the first: brothers and sisters, or a mother and her
// children, none of whom was handed over yet. Whoever left, or whose referral is over, is not among them.
func (w *work) bound() ([]*work, error) {
	if w.group != nil {
		return w.group, nil
	}
	if !w.leaves() || mutant.Off("both") {
		w.group = []*work{w}
		return w.group, nil
	}
	_, err := w.rest()
	return w.group, err
}

// rest are the others of bound, also of a referral that is over by now. One that nobody has any more since this node was restored is not
// among them: its case is referred anew, and the others do not wait for what does not come.
func (w *work) rest() ([]*work, error) {
	if w.group == nil {
		group := []*work{w}
		for _, name := range w.chain.State().Submitted.GetTogether() {
			other, err := w.begin(w.tx, name)
			switch {
			case fault.ReasonOf(err) == fault.Missing:
				w.Log.Warn("a referral that goes together with another is lost", logging.Referral(name))
				continue
			case err != nil:
				return nil, err
			}
			if other.leaves() {
				other.group = []*work{other}
				group = append(group, other)
			}
		}
		w.group = group
	}
	return w.group[1:], nil
}

// leaves says that the person still has to leave this node, where the referral began.
func (w *work) leaves() bool {
	s := w.chain.State()
	return s.Owner == w.Node && s.Leaves()
}

// chainsOf are the chains of a group.
func chainsOf(group []*work) (all custody.Together) {
	for _, w := range group {
		all = append(all, w.chain)
	}
	return all
}

// namesOf are the referrals of a group but one.
func namesOf(group []*work, but *work) (names []string) {
	for _, w := range group {
		if w != but {
			names = append(names, w.chain.State().Referral)
		}
	}
	return names
}

// keepTogether takes the others' offers back at places that fell out for one of them, because nobody goes alone, and stores what
// became of the others. It does nothing where a person is handed over: who travelled first has gone.
func (w *work) keepTogether() error {
	if fallen := w.fallen(w.stored); len(fallen) > 0 {
		still, err := w.still()
		switch {
		case err != nil:
		case still:
			err = w.wait() // see fallAgain
		default:
			err = w.fallTogether(fallen)
		}
		if err != nil {
			return err
		}
	}
	if len(w.group) < 2 {
		return nil
	}
	for _, other := range w.group[1:] {
		if len(other.chain.Links()) == other.stored {
			continue
		}
		if err := other.close(); err != nil {
			return err
		}
	}
	return nil
}

// fallTogether takes the others' offers at places back. One that stands still does it itself when it goes on.
func (w *work) fallTogether(places []string) error {
	group, err := w.rest()
	if err != nil {
		return err
	}
	for _, other := range group {
		still, err := other.still()
		if err != nil {
			return err
		}
		if still {
			continue
		}
		if err := other.fall(places); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) fall(places []string) error {
	for _, o := range w.chain.State().LiveOffers() {
		if !slices.Contains(places, o.Place()) {
			continue
		}
		if err := w.withdraw(w.self(), o, nil, codes.WithdrawalTogether); err != nil {
			return err
		}
	}
	return nil
}

// fallAgain does, when a referral goes on that stood still, what was put off: what fell out for one of those who go together falls for all.
func (w *work) fallAgain() error {
	if !w.leaves() && !w.chain.State().Terminal() {
		return nil
	}
	group, err := w.rest()
	if err != nil {
		return err
	}
	if w.leaves() {
		for _, other := range group {
			if err := w.fall(other.fallen(0)); err != nil {
				return err
			}
		}
	}
	return w.fallTogether(w.fallen(0))
}

// fallen are the places that fell out for this referral in its events from the nth on, and at which it has not asked again, where others go
// together with it. For who has left, and came back, none did.
func (w *work) fallen(n int) []string {
	s := w.chain.State()
	if mutant.Off("both") || len(s.Submitted.GetTogether()) == 0 || s.Owner != w.Node || !s.Leaves() && (!s.Terminal() || s.Dispatched != nil) {
		return nil
	}
	return slices.DeleteFunc(custody.Fallen(w.chain, n), func(place string) bool {
		return slices.ContainsFunc(s.LiveOffers(), func(o *custody.Offer) bool { return o.Place() == place })
	})
}
