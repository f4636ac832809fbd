package app

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/referral/internal/rules"
)

// expire ends what has ended by itself at its owner: offers at their answer time, of which the units hear, or a referral that
// nobody took. Who is overdue with an answer is not waited for; another unit can be asked.
func (w *work) expire() error {
	offers, whole := rules.Expired(w.chain.State(), w.now, w.Limits)
	for _, o := range offers {
		_, err := w.append(w.self(), nil, &custodyv1.Event{Body: &custodyv1.Event_OfferExpired{
			OfferExpired: &custodyv1.OfferExpired{Offer: o.Hash.Bytes()},
		}})
		if err != nil {
			return err
		}
	}
	if whole {
		if _, err := w.append(w.self(), nil, &custodyv1.Event{Body: &custodyv1.Event_Expired{Expired: &custodyv1.Expired{}}}); err != nil {
			return err
		}
	}
	return w.close()
}
