package store

import (
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

func restoredKey(incarnation uint64) store.Key { return store.K("restored", incarnation) }

// NoteRestored notes, once, when a store first ran that was restored from an older copy.
func NoteRestored(tx *store.Tx, incarnation uint64, now time.Time) error {
	err := Fences.Insert(tx, restoredKey(incarnation), wrapperspb.UInt64(uint64(now.UnixNano())))
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// restoredAt is when NoteRestored noted that this incarnation began with a restore; false where it did not.
func restoredAt(r store.Reader, incarnation uint64) (time.Time, bool, error) {
	row, err := Fences.Get(r, restoredKey(incarnation))
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, false, nil
	}
	return time.Unix(0, int64(row.GetValue())), err == nil, err
}

func suspendedKey(incarnation uint64, shelter string) store.Key {
	return store.K("suspended", incarnation, shelter)
}

// NoteSuspended notes that somebody has said since a store was restored that a shelter is suspended.
func NoteSuspended(tx *store.Tx, incarnation uint64, shelter string) error {
	return Fences.Put(tx, suspendedKey(incarnation, shelter), wrapperspb.UInt64(1))
}

// SuspendedSince says that a shelter is suspended, and that somebody has said so since the store was restored. By the word of the copy alone it may
// have been reopened: whoever was promised a place in it after that copy shows that it was.
func SuspendedSince(r store.Reader, incarnation uint64, s *shelterv1.Shelter) (bool, error) {
	if s.GetState() != shelterv1.Shelter_STATE_SUSPENDED {
		return false, nil
	}
	return Fences.Has(r, suspendedKey(incarnation, s.GetName()))
}

func countedKey(incarnation uint64, shelter string) store.Key {
	return store.K("counted", incarnation, shelter)
}

// HeadcountWanted says that a shelter was there when the store was restored, and that nobody has counted all its groups since: who came in at
// the door, and who left, in the time that is lost stands nowhere else.
func HeadcountWanted(r store.Reader, incarnation uint64, s *shelterv1.Shelter) (bool, error) {
	since, restored, err := restoredAt(r, incarnation)
	if err != nil || !restored || s.GetCreateTime().AsTime().After(since) {
		return false, err
	}
	counted, err := Fences.Has(r, countedKey(incarnation, s.GetName()))
	return !counted, err
}

// NoteCounted notes that all groups of a shelter have been counted since the store was restored, by one headcount or by several.
func NoteCounted(tx *store.Tx, incarnation uint64, shelter string) error {
	since, restored, err := restoredAt(tx, incarnation)
	if err != nil || !restored {
		return err
	}
	if counted, err := Fences.Has(tx, countedKey(incarnation, shelter)); err != nil || counted {
		return err
	}
	groups := map[string]bool{}
	err = Headcounts.Scan(tx, store.Range{Prefix: store.K(shelter), Reverse: true}, func(_ store.Key, h *shelterv1.Headcount) error {
		if h.GetCreateTime().AsTime().Before(since) {
			return store.Stop
		}
		for _, c := range h.GetCounts() {
			groups[shelter+"/groups/"+c.GetGroup()] = true
		}
		return nil
	})
	all := true
	if err == nil {
		err = Groups.Scan(tx, store.Range{Prefix: store.K(shelter)}, func(_ store.Key, g *shelterv1.Group) error {
			all = all && groups[g.GetName()]
			return nil
		})
	}
	if err != nil || !all {
		return err
	}
	return Fences.Put(tx, countedKey(incarnation, shelter), wrapperspb.UInt64(1))
}

// Status adds to the service's status in how many shelters a headcount is wanted. The incarnation is there already.
func Status(r store.Reader, into *statusv1.Status) error {
	return Shelters.ScanPublic(r, store.Range{}, func(row privacy.Row[*shelterv1.Shelter]) error {
		wanted, err := HeadcountWanted(r, into.GetIncarnation(), row.Value)
		if wanted {
			into.UncountedShelters++
		}
		return err
	})
}
