package flow

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

// tellLinks is how often links are told. What is told of the link to the federal cell itself comes by that link: how long it has been silent says
// the rest.
const tellLinks = time.Hour

// LinkTeller tells the federal cell how a service's links stand: at the start, and every hour. All fields are needed.
type LinkTeller struct {
	// DB is the service's store.
	DB *store.DB
	// Links are its links.
	Links func(context.Context) ([]post.LinkStatus, error)
	// Federal is the name of the federal node.
	Federal string
	// Now is the machine's clock.
	Now func() time.Time
	// Post sends letters.
	Post Post

	told time.Time
}

// Report tells what there is to tell now, and answers when there is more. One caller at a time.
func (t *LinkTeller) Report(ctx context.Context) (next time.Time, err error) {
	now := t.Now()
	if next := t.told.Add(tellLinks); now.Before(next) && !now.Before(t.told) {
		return next, nil
	}
	links, err := t.Links(ctx)
	if err != nil {
		return time.Time{}, err
	}
	err = t.DB.Update(ctx, func(tx *store.Tx) error {
		return t.Post.Queue(tx, post.Outgoing{
			To: &postv1.Address{Node: t.Federal, Service: "federal"}, Lane: postv1.Lane_LANE_BULK, Kind: LinksKind, Body: States(links, now),
		})
	})
	if err != nil { // It is tried again, and not in an hour.
		return post.OnceThere(now, time.Time{}, err)
	}
	t.told = now
	return now.Add(tellLinks), nil
}

// States are links as they are told. Letters to one's own node take no way.
func States(links []post.LinkStatus, now time.Time) *federalv1.LinkStates {
	states := &federalv1.LinkStates{LookTime: timestamppb.New(now)}
	for _, l := range links {
		if l.Link.GetFrom().GetNode() == l.Link.GetTo().GetNode() {
			continue
		}
		peer := l.Link.GetFrom()
		if l.Outgoing {
			peer = l.Link.GetTo()
		}
		states.Links = append(states.Links, &federalv1.LinkState{
			Node: peer.GetNode(), Service: peer.GetService(), Urgent: l.Link.GetLane() == postv1.Lane_LANE_URGENT, Outgoing: l.Outgoing,
			Mark: l.Mark, Gap: l.Gap, OldestTime: moment(l.Oldest), HearTime: moment(l.Heard), Quarantined: l.Quarantined,
		})
	}
	return states
}

// moment is absent for the zero time.
func moment(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
