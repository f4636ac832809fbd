package app

import (
	"amanat.example/services/custody"
	"amanat.example/services/kit/flow"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// Flows tells the federal cell what happens to referrals.
func (a *App) Flows() *flow.Teller {
	return &flow.Teller{DB: a.DB, Tables: store.Flows, Node: a.Node, Service: "referral", Federal: a.Federal, Now: a.Now, Post: a.Post}
}

// tellFederal tells what this node's own events say of their flow, also those that it lost in a restore and has again.
func (w *work) tellFederal(links []custody.Link, caseFlow []byte) error {
	for _, l := range links {
		if l.Event.GetOwner() != w.Node {
			continue
		}
		if err := w.Flows().Tell(w.tx, rules.Facts(l, w.chain.Links(), w.chain.State(), caseFlow)...); err != nil {
			return err
		}
	}
	return nil
}
