package post

import (
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/store"
)

// Told are handlers of which each success is told when it is committed; with nobody to tell, the same as given. For simulations.
func Told(all map[string]Handler, told func(from *postv1.Address, letter *postv1.Letter)) map[string]Handler {
	if told == nil {
		return all
	}
	for kind, apply := range all {
		all[kind] = func(tx *store.Tx, from *postv1.Address, letter *postv1.Letter) error {
			tx.AfterCommit(func() { told(from, letter) })
			return apply(tx, from, letter)
		}
	}
	return all
}
