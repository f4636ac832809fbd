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
	if fallen := w.fallen(); len(fallen) > 0 {
		if err := w.fallTogether(fallen); err != nil {
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

func (w *work) fallTogether(places []string) error {
	group, err := w.rest()
	if err != nil {
		return err
	}
	for _, other := range group {
		for _, o := range other.chain.State().LiveOffers() {
			if !slices.Contains(places, o.Place()) {
				continue
			}
			if err := other.withdraw(w.self(), o, nil, codes.WithdrawalTogether); err != nil {
				return err
			}
		}
	}
	return nil
}

// fallen are the places that fell out for this referral in this transaction, where others go together with it.
func (w *work) fallen() []string {
	s := w.chain.State()
	if mutant.Off("both") || len(s.Submitted.GetTogether()) == 0 || s.Owner != w.Node || !s.Leaves() && !s.Terminal() {
		return nil
	}
	return custody.Fallen(w.chain, w.stored)
}
