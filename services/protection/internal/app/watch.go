package app

import (
	"context"
	"strings"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/events"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// NewFeed tells what happens to cases, from the events of a store.
func NewFeed(db *kitstore.DB) *events.Feed[*protectionv1.CaseNews] {
	return events.NewFeed(events.FeedConfig[*protectionv1.CaseNews]{
		DB: db, Log: store.Events, Tell: news,
		Anew: func(id string) *protectionv1.CaseNews { return &protectionv1.CaseNews{Position: id, ReadAnew: true} },
	})
}

// WatchCases tells what happens to cases here until ctx ends or send fails.
func (a *App) WatchCases(ctx context.Context, request *protectionv1.WatchCasesRequest, send func(*protectionv1.CaseNews) error) error {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return err
	}
	return a.Feed.Follow(ctx, request.GetAfter(), send)
}

// news is what is told of an event of a case; others are none. What is sealed of the case is not looked at.
func news(r kitstore.Reader, e *eventsv1.Event) (*protectionv1.CaseNews, bool, error) {
	if !strings.HasPrefix(e.GetType(), "protection.case.") {
		return nil, false, nil
	}
	row, err := store.Cases.Row(r, nil, kitstore.K(e.GetSubject()))
	if err != nil { // Cases are never deleted.
		return nil, false, err
	}
	return &protectionv1.CaseNews{
		Position: e.GetId(), EventTime: e.GetTime(), EventType: e.GetType(),
		Case: e.GetSubject(), State: row.Value.GetCase().GetState(), Etag: etag(row.Version),
	}, true, nil
}
