package custody

import "fmt"

// Together are the chains of people who are not parted: brothers and sisters, or a mother and her children (Submitted.together).
// Their owner confirms them, falls back with them and dispatches them in one transaction, all or none.
type Together []*Chain

// Confirmable answers the offers to confirm so that all go to one unit: one acceptance of it in every chain. The error says what
// is missing.
func (t Together) Confirmable(unit string) ([]*Offer, error) {
	return t.each(func(s *State) (*Offer, error) {
		for _, o := range s.LiveOffers() {
			if o.Offered.GetToUnit() == unit && o.State == offerAccepted {
				return o, nil
			}
		}
		return nil, fmt.Errorf("%s has no acceptance by that unit", s.Submitted.GetReference())
	})
}

// Ready answers the promised offers, of one unit in every chain. The error says who has none yet.
func (t Together) Ready() ([]*Offer, error) {
	unit := ""
	return t.each(func(s *State) (*Offer, error) {
		chosen := s.Chosen()
		switch {
		case s.State != isReady || chosen == nil:
			return nil, fmt.Errorf("%s is %s", s.Submitted.GetReference(), StateName(s.State))
		case unit != "" && chosen.Offered.GetToUnit() != unit:
			return nil, fmt.Errorf("%s is promised a place elsewhere", s.Submitted.GetReference())
		}
		unit = chosen.Offered.GetToUnit()
		return chosen, nil
	})
}

// Fallen answers the offers of the others that must be taken back because one of the chosen ones fell: nobody goes alone.
func (t Together) Fallen() (chosen []*Offer) {
	live := 0
	for _, c := range t {
		if o := c.state.Chosen(); o != nil && o.Live() {
			chosen, live = append(chosen, o), live+1
		} else {
			chosen = append(chosen, nil)
		}
	}
	if live == 0 || live == len(t) {
		return make([]*Offer, len(t))
	}
	return chosen
}

func (t Together) each(find func(s *State) (*Offer, error)) ([]*Offer, error) {
	var all []*Offer
	for _, c := range t {
		o, err := find(&c.state)
		if err != nil {
			return nil, &Illegal{why: "those who go together cannot go: " + err.Error()}
		}
		all = append(all, o)
	}
	return all, nil
}
