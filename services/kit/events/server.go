package events

import (
	"context"
	"errors"
	"sync"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/store"
)

// ListEventsMethod is the method a policy row is for: the services that follow this one.
const ListEventsMethod = eventsv1.EventService_ListEvents_FullMethodName

var errRolledBack = fault.New(fault.Unavailable, "The store was put back to an older copy than the caller has read. The service begins a new life; read again.")

// Server answers EventService from a log.
type Server struct {
	eventsv1.UnsafeEventServiceServer
	db         *store.DB
	log        *Log
	rolledBack func(above uint64)
	ahead      sync.Once // a life that no clock has seen is told once
}

// NewServer serves a log that is kept in db. rolledBack is called when somebody has read an event that the store does not hold, or a life
// of it that is yet to come: it was put back to an older copy without a word, and its service has to begin an incarnation greater than above.
// Until it does, nobody reads.
func NewServer(db *store.DB, log *Log, rolledBack func(above uint64)) *Server {
	return &Server{db: db, log: log, rolledBack: rolledBack}
}

// ListEvents lists committed events after a position, oldest first. A page may be shorter than
// asked for; the caller is at the end when it has last_position.
func (s *Server) ListEvents(ctx context.Context, request *eventsv1.ListEventsRequest) (*eventsv1.ListEventsResponse, error) {
	limit := int(request.GetPageSize())
	if limit <= 0 {
		limit = defaultPage
	}
	reply := &eventsv1.ListEventsResponse{StoreId: StoreID(s.db)}
	own, named := s.db.Incarnation(), lifeOf(s.db, request.GetStoreId())
	ahead := named > own && !s.db.MayHaveLived(named)
	err := s.db.View(ctx, func(r store.Reader) (err error) {
		switch {
		case named > own && !ahead:
			return errRolledBack
		case named == own:
			if holds, err := s.log.holds(r, request.GetAfter(), request.GetAfterDigest()); err != nil {
				return err
			} else if !holds {
				return errRolledBack
			}
		}
		reply.Events, reply.LastPosition, err = s.log.read(r, reply.StoreId, request.GetAfter(), min(limit, maxPage))
		return err
	})
	switch {
	case errors.Is(err, errRolledBack):
		s.rolledBack(max(own, named))
	case ahead: // that life began by a clock that was wrong: the caller reads the next one from its start
		s.ahead.Do(func() { s.rolledBack(own) })
	}
	if err != nil {
		return nil, err
	}
	return reply, nil
}
