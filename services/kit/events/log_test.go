package events_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/store"
)

func list(t *testing.T, db *store.DB, after uint64, size int32) *eventsv1.ListEventsResponse {
	t.Helper()
	page, err := events.NewServer(db, ownerLog, func(uint64) {}).ListEvents(t.Context(), &eventsv1.ListEventsRequest{After: after, PageSize: size})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestPositionsAreContiguousWhateverFails(t *testing.T) {
	db := openFile(t, ownerSchema)
	refuse := errors.New("refused")
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				for range 3 {
					if err := ownerLog.Append(tx, held, name(i), start, &shelterv1.HoldChanged{Hold: name(i)}); err != nil {
						return err
					}
				}
				if i%2 == 0 {
					return refuse
				}
				return nil
			})
			if (i%2 == 0) != errors.Is(err, refuse) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	page := list(t, db, 0, 1000)
	if len(page.GetEvents()) != 96 || page.GetLastPosition() != 96 {
		t.Fatalf("%d events, last %d", len(page.GetEvents()), page.GetLastPosition())
	}
	for i, event := range page.GetEvents() {
		if event.GetPosition() != uint64(i+1) || event.GetId() != fmt.Sprintf("%s-%d", page.GetStoreId(), i+1) {
			t.Errorf("event %d: position %d, id %s", i, event.GetPosition(), event.GetId())
		}
	}
}

func TestPages(t *testing.T) {
	db := openFile(t, ownerSchema)
	add(t, db, 1, 5)
	if page := list(t, db, 2, 2); len(page.GetEvents()) != 2 || page.GetEvents()[0].GetSubject() != name(3) || page.GetLastPosition() != 5 {
		t.Errorf("got %v", page)
	}
	if page := list(t, db, 5, 0); len(page.GetEvents()) != 0 || page.GetLastPosition() != 5 {
		t.Errorf("at the end: %v", page)
	}
	event := list(t, db, 0, 1).GetEvents()[0]
	data := &shelterv1.HoldChanged{}
	if err := event.GetData().UnmarshalTo(data); err != nil || data.GetHold() != name(1) || event.GetType() != held || !event.GetTime().AsTime().Equal(start) {
		t.Errorf("got %v, %v", event, err)
	}
}

func TestAPageFitsAMessage(t *testing.T) {
	db := openFile(t, ownerSchema)
	long := strings.Repeat("x", events.MaxEventBytes-200)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for range 100 {
			if err := ownerLog.Append(tx, held, "s", start, &shelterv1.HoldChanged{Hold: long}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page := list(t, db, 0, 1000)
	if size := proto.Size(page); size > 1<<20 || len(page.GetEvents()) < 20 {
		t.Errorf("%d events, %d bytes", len(page.GetEvents()), size)
	}
}

func TestAppendRefuses(t *testing.T) {
	db := openFile(t, ownerSchema)
	for name, c := range map[string]struct {
		typ  string
		data proto.Message
		want string
	}{
		"a type that was not declared": {"shelter.hold.lost.v1", &shelterv1.HoldChanged{}, "not in the catalogue"},
		"data of another type":         {held, &shelterv1.ShelterCreated{}, "should be a amanat.shelter.v1.HoldChanged"},
		"a person's data":              {held, &protectionv1.Worker{}, "should be"},
	} {
		err := db.Update(t.Context(), func(tx *store.Tx) error { return ownerLog.Append(tx, c.typ, "s", start, c.data) })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		return ownerLog.Append(tx, held, "s", start, &shelterv1.HoldChanged{Hold: strings.Repeat("x", events.MaxEventBytes)})
	})
	if fault.ReasonOf(err) != fault.TooLarge {
		t.Errorf("too large: %v", err)
	}
	if page := list(t, db, 0, 0); page.GetLastPosition() != 0 {
		t.Errorf("something was appended: %v", page)
	}
}

func TestDeclareRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		typ  string
		data proto.Message
		want string
	}{
		"marked data":          {"shelter.worker.made.v1", &protectionv1.Worker{}, "could carry a person's data"},
		"data that holds any":  {"shelter.event.made.v1", &eventsv1.Event{}, "could carry a person's data"},
		"another's type":       {"referral.hold.held.v1", &shelterv1.HoldChanged{}, "is not shelter."},
		"a type with no order": {"shelter.hold.held", &shelterv1.HoldChanged{}, "is not shelter."},
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, c.want) {
					t.Errorf("got %s", said)
				}
			}()
			events.Declare(store.NewSchema("shelter", 1), "shelter", events.Catalogue{c.typ: c.data})
		})
	}
}

func TestAnotherLifeOfTheStoreHasAnotherName(t *testing.T) {
	db := openFile(t, ownerSchema)
	before := events.StoreID(db)
	if err := db.RaiseIncarnation(t.Context(), db.Incarnation()); err != nil {
		t.Fatal(err)
	}
	if events.StoreID(db) == before {
		t.Error("the name is the same")
	}
}
