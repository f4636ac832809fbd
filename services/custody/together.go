package custody

import "fmt"

// Together are the chains of people who are not parted: brothers and sisters, or a mother and her children (Submitted.together).
// Their owner confirms them, falls back with them and dispatches them in one transaction, all or none.
type Together []*Chain

// Confirmable answers the offers to confirm so that all go to one place (Offer.Place): one acceptance of it in every chain. The error says
// what is missing.
func (t Together) Confirmable(place string) ([]*Offer, error) {
	return t.each(func(s *State) (*Offer, error) {
		for _, o := range s.LiveOffers() {
			if o.Place() == place && o.State == offerAccepted {
				return o, nil
			}
		}
		return nil, fmt.Errorf("%s has no acceptance there", s.Submitted.GetReference())
	})
}

// Ready answers the promised offers, of one place in every chain. The error says who has none yet.
func (t Together) Ready() ([]*Offer, error) {
	place := ""
	return t.each(func(s *State) (*Offer, error) {
		chosen := s.Chosen()
		switch {
		case s.State != isReady || chosen == nil:
			return nil, fmt.Errorf("%s is %s", s.Submitted.GetReference(), StateName(s.State))
		case place != "" && chosen.Place() != place:
			return nil, fmt.Errorf("%s is promised a place elsewhere", s.Submitted.GetReference())
		}
		place = chosen.Place()
		return chosen, nil
	})
}

// Fallen are the places (Offer.Place) that fell out for a person in the events of a chain from the nth on, counted from 0: the offer there
// was taken back, declined, or ended in another way. Nobody goes alone: the others' offers to these places are taken back too.
func Fallen(c *Chain, n int) (places []string) {
	for _, l := range c.links[n:] {
		hash := OfferOf(l.Event)
		if recorded := l.Event.GetReplyRecorded(); recorded != nil {
			if r, err := decodeReply(recorded.GetReply()); err == nil {
				hash = r.GetOffer()
			}
		}
		if entered := l.Event.GetExternalAnswered(); entered != nil {
			hash = entered.GetOffer()
		}
		if o := c.state.Offer(hash); o != nil && !o.Live() {
			places = append(places, o.Place())
		}
	}
	return places
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
