package app

import (
	"amanat.example/services/kit/flow"
	"amanat.example/services/protection/internal/store"
)

// Flows tells the federal cell who was identified; never who it is.
func (a *App) Flows() *flow.Teller {
	return &flow.Teller{DB: a.DB, Tables: store.Flows, Node: a.Node, Service: "protection", Federal: a.Federal, Now: a.Now, Post: a.Post}
}
