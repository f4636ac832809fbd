package app

import (
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

const (
	// refusedShelters says that beds are not told as they should be, refusedLinks the same of links.
	refusedShelters = "invalid-shelters"
	refusedLinks    = "invalid-links"
)

// TakeShelters is the post's handler of [flow.SheltersKind]: of each day it keeps what was counted last. None is newer than now.
func (a *App) TakeShelters(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	day := &federalv1.ShelterDay{}
	if err := a.open(from, letter, day, refusedShelters); err != nil {
		return err
	}
	if !rules.FitsDay(day.GetDay()) || !rules.FitsShelters(day) || from.GetService() != "shelter" {
		return post.Refuse(refusedShelters)
	}
	// Where a clock had run ahead there, what it said then would stand for its beds until that day has come.
	now := a.Now()
	if day.GetCountTime().AsTime().After(now) {
		day.CountTime = timestamppb.New(now)
	}
	day.Day = min(day.GetDay(), facts.Day(now))
	key := kitstore.K(from.GetNode(), day.GetDay())
	known, err := store.Shelters.Get(tx, key)
	switch {
	case err == nil && known.GetDay().GetCountTime().AsTime().After(day.GetCountTime().AsTime()):
		return nil
	case err != nil && !errors.Is(err, kitstore.ErrNotFound):
		return err
	}
	return store.Shelters.Put(tx, key, &federalv1.ShelterRecord{Node: from.GetNode(), Day: day})
}

// TakeLinks is the post's handler of [flow.LinksKind]: it keeps the newest of each service. None is newer than now.
func (a *App) TakeLinks(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	states := &federalv1.LinkStates{}
	if err := a.open(from, letter, states, refusedLinks); err != nil {
		return err
	}
	if !states.GetLookTime().IsValid() {
		return post.Refuse(refusedLinks)
	}
	if now := a.Clock(); states.GetLookTime().AsTime().After(now) {
		states.LookTime = timestamppb.New(now)
	}
	key := kitstore.K(from.GetNode(), from.GetService())
	known, err := store.Links.Get(tx, key)
	switch {
	case err == nil && known.GetStates().GetLookTime().AsTime().After(states.GetLookTime().AsTime()):
		return nil
	case err != nil && !errors.Is(err, kitstore.ErrNotFound):
		return err
	}
	return store.Links.Put(tx, key, &federalv1.LinkRecord{Node: from.GetNode(), Service: from.GetService(), States: states})
}
