package events

import (
	"context"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/store"
)

// ListEventsMethod is the method a policy row is for: the services that follow this one.
const ListEventsMethod = eventsv1.EventService_ListEvents_FullMethodName

// Server answers EventService from a log.
type Server struct {
	eventsv1.UnsafeEventServiceServer
	db  *store.DB
	log *Log
}

// NewServer serves a log that is kept in db.
func NewServer(db *store.DB, log *Log) *Server { return &Server{db: db, log: log} }

// ListEvents lists committed events after a position, oldest first. A page may be shorter than
// asked for; the caller is at the end when it has last_position.
func (s *Server) ListEvents(ctx context.Context, request *eventsv1.ListEventsRequest) (*eventsv1.ListEventsResponse, error) {
	limit := int(request.GetPageSize())
	if limit <= 0 {
		limit = defaultPage
	}
	reply := &eventsv1.ListEventsResponse{StoreId: StoreID(s.db)}
	err := s.db.View(ctx, func(r store.Reader) (err error) {
		reply.Events, reply.LastPosition, err = s.log.read(r, reply.StoreId, request.GetAfter(), min(limit, maxPage))
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}
