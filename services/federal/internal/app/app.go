// Package app holds the federal service's use cases, one a file.
package app

import (
	"time"

	"amanat.example/services/kit/paging"
	kitstore "amanat.example/services/kit/store"
)

// App has the use cases. All fields are needed.
type App struct {
	// DB is the service's store, with store.Schema.
	DB *kitstore.DB
	// Member says whether the newest roster names a node.
	Member func(node string) bool
	// Now is the clock.
	Now func() time.Time
	// Tokens makes page tokens.
	Tokens *paging.Tokens
}
