// Package store is the shelter service's schema: every table, key and index of its file.
package store

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Schema of the file. Version 1 is the first.
var Schema = store.NewSchema("shelter", 1)

// Tables. A key is the resource name unless said otherwise.
var (
	// Shelters: without their groups. The address lies sealed under the shelter's own key.
	Shelters = privacy.NewSealedTable(Schema, "shelters", func(s *shelterv1.Shelter) string { return KeyName(s.GetName()) })
	// Groups: (shelter, last part of the name), without what is derived from holds, stays and outages.
	Groups = store.NewTable[*shelterv1.Group](Schema, "groups")
	// Holds: every hold there ever was, since its request id is remembered for ever.
	Holds = store.NewTable[*shelterv1.HoldRecord](Schema, "holds")
	// Stays: people in beds.
	Stays = store.NewTable[*shelterv1.Stay](Schema, "stays")
	// Outages: (shelter, group, last part of the name).
	Outages = store.NewTable[*shelterv1.Outage](Schema, "outages")
	// Headcounts: (shelter, last part of the name).
	Headcounts = store.NewTable[*shelterv1.Headcount](Schema, "headcounts")
	// Waitlist: every entry there ever was.
	Waitlist = store.NewTable[*shelterv1.WaitlistEntry](Schema, "waitlist")
	// Requests: (request id) → what a call made, but for holds, which keep their own.
	Requests = store.NewTable[*shelterv1.RequestRecord](Schema, "requests")
	// Adverts: what other nodes last said of their shelters, as they signed it.
	Adverts = store.NewTable[*shelterv1.AdvertRecord](Schema, "adverts")
	// Fences: the number of the last hold, under FenceKey, the incarnation that was compared with the live offers last, under
	// ReconciledKey, and for each incarnation that began with a restore when that was, and which shelters were counted since.
	Fences = store.NewTable[*wrapperspb.UInt64Value](Schema, "fences")
)

// Logs of the service.
var (
	// Events: what happened, ids and codes only.
	Events = events.Declare(Schema, "shelter", events.Catalogue{
		"shelter.shelter.created.v1":        &shelterv1.ShelterCreated{},
		"shelter.shelter.updated.v1":        &shelterv1.ShelterChanged{},
		"shelter.shelter.suspended.v1":      &shelterv1.ShelterChanged{},
		"shelter.shelter.reopened.v1":       &shelterv1.ShelterChanged{},
		"shelter.shelter.declared-full.v1":  &shelterv1.ShelterChanged{},
		"shelter.shelter.withdrawn-full.v1": &shelterv1.ShelterChanged{},
		"shelter.group.created.v1":          &shelterv1.GroupChanged{},
		"shelter.group.updated.v1":          &shelterv1.GroupChanged{},
		"shelter.outage.started.v1":         &shelterv1.GroupChanged{},
		"shelter.outage.ended.v1":           &shelterv1.GroupChanged{},
		"shelter.stay.admitted.v1":          &shelterv1.StayChanged{},
		"shelter.stay.moved.v1":             &shelterv1.StayChanged{},
		"shelter.stay.absent.v1":            &shelterv1.StayChanged{},
		"shelter.stay.returned.v1":          &shelterv1.StayChanged{},
		"shelter.stay.discharged.v1":        &shelterv1.StayChanged{},
		"shelter.headcount.recorded.v1":     &shelterv1.HeadcountChanged{},
		"shelter.headcount.explained.v1":    &shelterv1.HeadcountChanged{},
		"shelter.waitlist.entered.v1":       &shelterv1.WaitlistChanged{},
		"shelter.waitlist.reviewed.v1":      &shelterv1.WaitlistChanged{},
		"shelter.waitlist.review-due.v1":    &shelterv1.WaitlistChanged{},
		"shelter.waitlist.closed.v1":        &shelterv1.WaitlistChanged{},
		"shelter.hold.placed.v1":            &shelterv1.HoldChanged{},
		"shelter.hold.renewed.v1":           &shelterv1.HoldChanged{},
		"shelter.hold.confirmed.v1":         &shelterv1.HoldChanged{},
		"shelter.hold.occupied.v1":          &shelterv1.HoldChanged{},
		"shelter.hold.released.v1":          &shelterv1.HoldChanged{},
		"shelter.hold.expired.v1":           &shelterv1.HoldChanged{},
		"shelter.advert.changed.v1":         &shelterv1.AdvertChanged{},
	})
	// Audit: who read an address.
	Audit = audit.Declare(Schema)
	// Letters to the federal cell.
	Letters = post.Declare(Schema)
	// ToldShelters: one row, what the federal cell was told last, under ToldSheltersKey.
	ToldShelters = store.NewTable[*federalv1.ShelterDay](Schema, "told_shelters")
)

// ToldSheltersKey is the key of ToldShelters' row.
var ToldSheltersKey = store.K("told")

// The keys of Fences.
var (
	FenceKey      = store.K("last")
	ReconciledKey = store.K("reconciled")
)

// Indexes.
var (
	// HeldBeds: (group, n) for each bed that a live hold takes, so that counting reads no row.
	HeldBeds = store.NewIndex(Holds, "beds_held", func(r *shelterv1.HoldRecord) (keys []store.Key) {
		if !Live(r.GetHold()) {
			return nil
		}
		taken := map[string]int32{}
		for _, part := range Parts(r.GetHold()) {
			keys = append(keys, beds(part.GetGroup(), taken[part.GetGroup()], part.GetQuantity())...)
			taken[part.GetGroup()] += part.GetQuantity()
		}
		return keys
	})
	// LiveHolds: (shelter, name) of holds that take beds.
	LiveHolds = store.NewIndex(Holds, "holds_live", func(r *shelterv1.HoldRecord) []store.Key {
		if !Live(r.GetHold()) {
			return nil
		}
		return []store.Key{store.K(ShelterOf(r.GetHold().GetGroup()), r.GetHold().GetName())}
	})
	// ExpiringHolds: (expire time, name) of tentative holds.
	ExpiringHolds = store.NewIndex(Holds, "holds_expiring", func(r *shelterv1.HoldRecord) []store.Key {
		if h := r.GetHold(); h.GetState() == shelterv1.Hold_STATE_HELD {
			return []store.Key{store.K(h.GetExpireTime().AsTime(), h.GetName())}
		}
		return nil
	})
	// HoldsByOffer: (offer) of holds that take beds for one.
	HoldsByOffer = store.NewIndex(Holds, "holds_by_offer", func(r *shelterv1.HoldRecord) []store.Key {
		if h := r.GetHold(); Live(h) && h.GetOffer() != "" {
			return []store.Key{store.K(h.GetOffer())}
		}
		return nil
	})
	// HoldsByRequest: the key of the call that placed a hold.
	HoldsByRequest = store.NewIndex(Holds, "holds_by_request", func(r *shelterv1.HoldRecord) []store.Key {
		return []store.Key{store.K(r.GetHold().GetRequestId())}
	}, store.Unique)
	// OccupiedBeds: (group, n) for each bed that a stay takes, absent or not.
	OccupiedBeds = store.NewIndex(Stays, "beds_occupied", func(s *shelterv1.Stay) []store.Key {
		if !Current(s) {
			return nil
		}
		return beds(s.GetGroup(), 0, s.GetQuantity())
	})
	// AbsentBeds: (group, n) for each bed whose person is away.
	AbsentBeds = store.NewIndex(Stays, "beds_absent", func(s *shelterv1.Stay) []store.Key {
		if s.GetState() != shelterv1.Stay_STATE_ABSENT {
			return nil
		}
		return beds(s.GetGroup(), 0, s.GetQuantity())
	})
	// CurrentStays: (shelter, name) of stays that have not ended.
	CurrentStays = store.NewIndex(Stays, "stays_current", func(s *shelterv1.Stay) []store.Key {
		if !Current(s) {
			return nil
		}
		return []store.Key{store.K(ShelterOf(s.GetGroup()), s.GetName())}
	})
	// OutBeds: (group, n) for each bed that is out of service.
	OutBeds = store.NewIndex(Outages, "beds_out", func(o *shelterv1.Outage) []store.Key {
		if o.GetEndTime() != nil {
			return nil
		}
		return beds(GroupOf(o.GetName()), 0, o.GetQuantity())
	})
	// EndingOutages: (until, name) of outages that last and have an end.
	EndingOutages = store.NewIndex(Outages, "outages_ending", func(o *shelterv1.Outage) []store.Key {
		if o.GetEndTime() != nil || o.GetUntilTime() == nil {
			return nil
		}
		return []store.Key{store.K(o.GetUntilTime().AsTime(), o.GetName())}
	})
	// OpenHeadcounts: (shelter, name) of headcounts that differ and are not explained.
	OpenHeadcounts = store.NewIndex(Headcounts, "headcounts_open", func(h *shelterv1.Headcount) []store.Key {
		if !h.GetOpen() {
			return nil
		}
		return []store.Key{HeadcountKey(h.GetName())}
	})
	// Waiting: (shelter, entry time, name) of entries that wait.
	Waiting = store.NewIndex(Waitlist, "waitlist_waiting", func(e *shelterv1.WaitlistEntry) []store.Key {
		if e.GetState() != shelterv1.WaitlistEntry_STATE_WAITING {
			return nil
		}
		return []store.Key{store.K(ShelterOf(e.GetName()), e.GetCreateTime().AsTime())}
	})
	// WaitlistByShelter: (shelter, entry time, name) of all entries.
	WaitlistByShelter = store.NewIndex(Waitlist, "waitlist_by_shelter", func(e *shelterv1.WaitlistEntry) []store.Key {
		return []store.Key{store.K(ShelterOf(e.GetName()), e.GetCreateTime().AsTime())}
	})
	// DueReviews: (review time) of entries that wait and that nobody has been told of.
	DueReviews = store.NewIndex(Waitlist, "waitlist_due", func(e *shelterv1.WaitlistEntry) []store.Key {
		if e.GetState() != shelterv1.WaitlistEntry_STATE_WAITING || e.GetOverdue() {
			return nil
		}
		return []store.Key{store.K(e.GetReviewTime().AsTime())}
	})
	// AdvertsByNode: (node).
	AdvertsByNode = store.NewIndex(Adverts, "adverts_by_node", func(r *shelterv1.AdvertRecord) []store.Key {
		return []store.Key{store.K(Advert(r).GetNode())}
	})
	// AdvertsByDistrict: (district).
	AdvertsByDistrict = store.NewIndex(Adverts, "adverts_by_district", func(r *shelterv1.AdvertRecord) []store.Key {
		return []store.Key{store.K(Advert(r).GetDistrict())}
	})
)

// Advert is what a record holds; nil for no record. What was verified before it was stored can be read again.
func Advert(r *shelterv1.AdvertRecord) *shelterv1.Advert {
	if r == nil {
		return nil
	}
	a := &shelterv1.Advert{}
	if proto.Unmarshal(r.GetSigned().GetAdvert(), a) != nil {
		return &shelterv1.Advert{}
	}
	return a
}

// Live says that a hold takes beds.
func Live(h *shelterv1.Hold) bool {
	return h.GetState() == shelterv1.Hold_STATE_HELD || h.GetState() == shelterv1.Hold_STATE_CONFIRMED
}

// Current says that a stay takes beds. One written before stays had states is in the bed.
func Current(s *shelterv1.Stay) bool { return s.GetState() != shelterv1.Stay_STATE_DISCHARGED }

// Parts is all that a hold takes; a hold of one group may have none listed.
func Parts(h *shelterv1.Hold) []*shelterv1.Part {
	if len(h.GetParts()) > 0 {
		return h.GetParts()
	}
	return []*shelterv1.Part{{Group: h.GetGroup(), Quantity: h.GetQuantity()}}
}

func beds(group string, from, quantity int32) []store.Key {
	keys := make([]store.Key, quantity)
	for i := range keys {
		keys[i] = store.K(group, uint32(from)+uint32(i))
	}
	return keys
}

// ShelterOf is the shelter of a group's name, or of a name below one.
func ShelterOf(group string) string {
	shelter, _, _ := strings.Cut(group, "/groups/")
	return shelter
}

// ShelterOfKey is the shelter's name in a key of Shelters: a text, which two bytes end.
func ShelterOfKey(key store.Key) string { return string(key[:max(0, len(key)-2)]) }

// GroupOf is the group of an outage's or a waitlist entry's name.
func GroupOf(name string) string {
	parts := strings.SplitN(name, "/", 7)
	return strings.Join(parts[:min(len(parts), 6)], "/")
}

// HeadcountKey is a headcount's key.
func HeadcountKey(name string) store.Key {
	shelter, id, _ := strings.Cut(name, "/headcounts/")
	return store.K(shelter, id)
}

// OutageKey is an outage's key.
func OutageKey(name string) store.Key {
	group := GroupOf(name)
	shelter, id, _ := strings.Cut(group, "/groups/")
	return store.K(shelter, id, name[strings.LastIndex(name, "/")+1:])
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
