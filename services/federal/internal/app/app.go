// Package app holds the federal service's use cases, one a file.
package app

import (
	"context"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

// Post queues letters in the transaction of the state they report.
type Post interface {
	Queue(tx *kitstore.Tx, o post.Outgoing) error
}

// App has the use cases. All fields are needed.
type App struct {
	// DB is the service's store, with store.Schema.
	DB *kitstore.DB
	// Node is this node's name.
	Node string
	// Member says whether the newest roster names a node.
	Member func(node string) bool
	// Tellers are the services of active nodes that tell facts.
	Tellers func() []*postv1.Address
	// Province is that of a node, ISO 3166-2; empty for none.
	Province func(node string) string
	// Now is the clock by which people work.
	Now func() time.Time
	// Opened is when the service was opened, by Now.
	Opened time.Time
	// Clock is that of the machine, by which links are told.
	Clock func() time.Time
	// Tokens makes page tokens.
	Tokens *paging.Tokens
	// Post sends letters.
	Post Post
	// OwnLinks are this service's own links as they stand.
	OwnLinks func(ctx context.Context) (*federalv1.LinkStates, error)
}

// Handlers take in what nodes write.
func (a *App) Handlers() map[string]post.Handler {
	return map[string]post.Handler{
		flow.FactsKind: a.TakeFacts, OldFlowKind: a.TakeOldFact, flow.DaysKind: a.TakeDays, flow.SheltersKind: a.TakeShelters,
		flow.LinksKind: a.TakeLinks, late.Kind: a.TakeLate,
	}
}
