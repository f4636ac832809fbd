package process

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// statusServer tells the operator how the service stands. What a service does not have is nil.
type statusServer struct {
	statusv1.UnsafeStatusServiceServer
	process *Process
	began   time.Time
	own     func(r store.Reader, into *statusv1.Status) error
	links   func(ctx context.Context) ([]post.LinkStatus, error)
	reached func() bool
}

// GetStatus reads what stands in the store and in memory, and changes nothing.
func (s *statusServer) GetStatus(ctx context.Context, _ *statusv1.GetStatusRequest) (*statusv1.Status, error) {
	p := s.process
	status := &statusv1.Status{
		StartTime: timestamppb.New(s.began), Incarnation: p.DB.Incarnation(), RosterVersion: p.Identity.Roster().Version(),
	}
	if err := p.Server.Readiness(); err != nil {
		status.NotReady = err.Error()
	}
	if s.reached != nil {
		status.HubReached = proto.Bool(s.reached())
	}
	if s.own != nil {
		if err := p.DB.View(ctx, func(r store.Reader) error { return s.own(r, status) }); err != nil {
			return nil, err
		}
	}
	if s.links == nil {
		return status, nil
	}
	links, err := s.links(ctx)
	for _, l := range links {
		if shown := s.link(l); shown != nil {
			status.Links = append(status.Links, shown)
		}
	}
	return status, err
}

// link shows one end of a link; nil for letters to oneself, which take no way that could be cut.
func (s *statusServer) link(l post.LinkStatus) *statusv1.LinkStatus {
	peer := l.Link.GetFrom()
	if l.Outgoing {
		peer = l.Link.GetTo()
	}
	own := &postv1.Address{Node: s.process.Config.Node, Service: s.process.Identity.Name()}
	if proto.Equal(peer, own) {
		return nil
	}
	return &statusv1.LinkStatus{
		Peer: peer, Lane: l.Link.GetLane(), Outgoing: l.Outgoing, Mark: l.Mark, HeardTime: moment(l.Heard),
		QueuedLetters: l.Gap, OldestQueueTime: moment(l.Oldest), QuarantinedLetters: l.Quarantined, Overtaken: l.Overtaken,
	}
}

// moment is a time as it travels; zero is none.
func moment(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
