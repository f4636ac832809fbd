package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/store"
)

// tellEvery is how often the federal cell is told what this node's shelters have, where it has changed or a day has begun.
const tellEvery = time.Hour

// Post queues letters in the transaction of the state they report.
type Post interface {
	Queue(tx *kitstore.Tx, o post.Outgoing) error
}

// FederalTeller tells the federal cell how many beds this node's shelters have and how many are taken: sums over all shelters, nothing of any
// one of them and nothing of who is there. All fields are needed.
type FederalTeller struct {
	App *App
	// Federal is the name of the federal node.
	Federal string
	Post    Post
}

// Report tells what there is to tell now, and answers when there is more at the latest. A store that was restored may take for free what is
// promised, and tells nothing before that is settled.
func (t *FederalTeller) Report(ctx context.Context) (next time.Time, err error) {
	now := t.App.Now()
	if t.App.Gate.Closed() != nil {
		return now.Add(tellEvery), nil
	}
	err = t.App.DB.Update(ctx, func(tx *kitstore.Tx) error {
		told, err := store.ToldShelters.Get(tx, store.ToldSheltersKey)
		if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
			return err
		}
		// What was told in a future that a clock had run into is not waited for.
		if since := now.Sub(told.GetCountTime().AsTime()); told != nil && since >= 0 && since < tellEvery {
			next = told.GetCountTime().AsTime().Add(tellEvery)
			return nil
		}
		next = now.Add(tellEvery)
		day, err := t.App.count(tx, now)
		if err != nil {
			return err
		}
		same := proto.CloneOf(day)
		same.CountTime = told.GetCountTime()
		if proto.Equal(same, told) {
			return nil
		}
		if err := store.ToldShelters.Put(tx, store.ToldSheltersKey, day); err != nil {
			return err
		}
		return t.Post.Queue(tx, post.Outgoing{
			To: &postv1.Address{Node: t.Federal, Service: "federal"}, Lane: postv1.Lane_LANE_BULK, Kind: flow.SheltersKind, Body: day,
		})
	})
	return post.OnceThere(now, next, err)
}

// count sums over all groups of the node.
func (a *App) count(r kitstore.Reader, now time.Time) (*federalv1.ShelterDay, error) {
	day := &federalv1.ShelterDay{Day: facts.Day(now), CountTime: timestamppb.New(now)}
	shelters, err := store.Shelters.Count(r)
	if err != nil {
		return nil, err
	}
	day.Shelters = int64(shelters)
	for span := (kitstore.Range{}); ; {
		rows, next, err := store.Groups.Page(r, span, 500)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			taken, err := count(r, row.Value.GetName())
			if err != nil {
				return nil, err
			}
			day.Total += int64(row.Value.GetTotal())
			day.OutOfService += int64(taken.Out)
			day.Occupied += int64(taken.Occupied)
			day.Held += int64(taken.Held)
		}
		if span.After = next; next == nil {
			return day, nil
		}
	}
}
