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

// Fallen are the units that fell out for a person in the events of a chain from the nth on, counted from 0: the offer there was taken
// back, declined, or ended in another way. Nobody goes alone: the others' offers to these units are taken back too.
func Fallen(c *Chain, n int) (units []string) {
	for _, l := range c.links[n:] {
		hash := OfferOf(l.Event)
		if recorded := l.Event.GetReplyRecorded(); recorded != nil {
			if r, err := decodeReply(recorded.GetReply()); err == nil {
				hash = r.GetOffer()
			}
		}
		if o := c.state.Offer(hash); o != nil && !o.Live() {
			units = append(units, o.Offered.GetToUnit())
		}
	}
	return units
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
