// Package store is the shelter service's schema: every table, key and index of its file.
package store

import (
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Schema of the file. Version 1 is the first.
var Schema = store.NewSchema("shelter", 1)

// Tables. A key is the resource name unless said otherwise.
var (
	// Shelters: without their groups. The address lies sealed under the shelter's own key.
	Shelters = privacy.NewSealedTable(Schema, "shelters", func(s *shelterv1.Shelter) string { return KeyName(s.GetName()) })
	// Groups: (shelter, last part of the name), without what is derived from holds and stays.
	Groups = store.NewTable[*shelterv1.Group](Schema, "groups")
	// Holds: every hold there ever was, since its request id is remembered for ever.
	Holds = store.NewTable[*shelterv1.HoldRecord](Schema, "holds")
	// Stays: people in beds.
	Stays = store.NewTable[*shelterv1.Stay](Schema, "stays")
	// Fences: one row, the number of the last hold, under FenceKey.
	Fences = store.NewTable[*wrapperspb.UInt64Value](Schema, "fences")
)

// Logs of the service.
var (
	// Events: what happened, ids and codes only.
	Events = events.Declare(Schema, "shelter", events.Catalogue{
		"shelter.shelter.created.v1": &shelterv1.ShelterCreated{},
		"shelter.hold.placed.v1":     &shelterv1.HoldChanged{},
		"shelter.hold.confirmed.v1":  &shelterv1.HoldChanged{},
		"shelter.hold.occupied.v1":   &shelterv1.HoldChanged{},
		"shelter.hold.released.v1":   &shelterv1.HoldChanged{},
		"shelter.hold.expired.v1":    &shelterv1.HoldChanged{},
	})
	// Audit: who read an address.
	Audit = audit.Declare(Schema)
)

// FenceKey is the one key of Fences.
var FenceKey = store.K("last")

// Indexes.
var (
	// HeldBeds: (group, n) for each bed that a live hold takes, so that counting reads no row.
	HeldBeds = store.NewIndex(Holds, "beds_held", func(r *shelterv1.HoldRecord) []store.Key {
		h := r.GetHold()
		switch h.GetState() {
		case shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_CONFIRMED:
			return beds(h.GetGroup(), h.GetQuantity())
		}
		return nil
	})
	// ExpiringHolds: (expire time, name) of tentative holds.
	ExpiringHolds = store.NewIndex(Holds, "holds_expiring", func(r *shelterv1.HoldRecord) []store.Key {
		if h := r.GetHold(); h.GetState() == shelterv1.Hold_STATE_HELD {
			return []store.Key{store.K(h.GetExpireTime().AsTime(), h.GetName())}
		}
		return nil
	})
	// HoldsByRequest: the key of the call that placed a hold.
	HoldsByRequest = store.NewIndex(Holds, "holds_by_request", func(r *shelterv1.HoldRecord) []store.Key {
		return []store.Key{store.K(r.GetHold().GetRequestId())}
	}, store.Unique)
	// OccupiedBeds: (group, n) for each bed that a stay takes.
	OccupiedBeds = store.NewIndex(Stays, "beds_occupied", func(s *shelterv1.Stay) []store.Key {
		return beds(s.GetGroup(), s.GetQuantity())
	})
)

func beds(group string, quantity int32) []store.Key {
	keys := make([]store.Key, quantity)
	for i := range keys {
		keys[i] = store.K(group, uint32(i))
	}
	return keys
}

// ShelterOf is the shelter of a group's name.
func ShelterOf(group string) string {
	shelter, _, _ := strings.Cut(group, "/groups/")
	return shelter
}

// GroupKey is a group's key.
func GroupKey(name string) store.Key {
	shelter, id, _ := strings.Cut(name, "/groups/")
	return store.K(shelter, id)
}

// KeyName is the name of the key that seals a shelter's address, such as `shelters/lahore-girls`.
func KeyName(shelter string) string {
	return shelter[strings.LastIndex(shelter, "shelters/"):]
}
