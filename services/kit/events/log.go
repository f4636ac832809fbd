package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// Limits of a log.
const (
	// MaxEventBytes is the largest event, marshalled: ids and codes need no more.
	MaxEventBytes = 16 << 10
	// pageBytes is about how much one page of events holds; one event more still fits a message.
	pageBytes = 512 << 10
	// defaultPage and maxPage are how many events a page has.
	defaultPage, maxPage = 256, 1000
)

// Catalogue names the events of a service: by type, such as `referral.offer.accepted.v1`, the
// message that is its data.
type Catalogue map[string]proto.Message

// Log is a service's committed events, in its own store. It holds no state besides, so one
// declaration serves all stores of its schema.
type Log struct {
	service string
	types   map[string]protoreflect.MessageDescriptor
	events  *store.Table[*eventsv1.Event]
	marks   *store.Table[*eventsv1.EventMark]
}

var typeName = regexp.MustCompile(`^[a-z]{3,20}(\.[a-z][a-z0-9-]*)+\.v[1-9][0-9]*$`)

// Declare adds the log's tables (`events`, `event_marks`) to a service's schema. A type that is
// not `<service>.<thing>.<event>.v<n>`, or data that can hold a field that identifies a person,
// is a mistake of the program: it panics at start, as the schema's own declarations do.
func Declare(schema *store.Schema, service string, catalogue Catalogue) *Log {
	l := &Log{
		service: service,
		types:   make(map[string]protoreflect.MessageDescriptor, len(catalogue)),
		events:  store.NewTable[*eventsv1.Event](schema, "events"),
		marks:   store.NewTable[*eventsv1.EventMark](schema, "event_marks"),
	}
	for name, data := range catalogue {
		if !typeName.MatchString(name) || !strings.HasPrefix(name, service+".") {
			panic(fmt.Sprintf("events: the type %q is not %s.<thing>.<event>.v<n>", name, service))
		}
		descriptor := data.ProtoReflect().Descriptor()
		if err := privacy.CheckUnmarked(descriptor); err != nil {
			panic(fmt.Sprintf("events: the data of %s could carry a person's data: %v", name, err))
		}
		l.types[name] = descriptor
	}
	return l
}

// Append adds an event to the transaction that makes it true. subject is the resource name of
// what it happened to. A type that is not in the catalogue, or data of another type than the
// catalogue's, is an error, and so the transaction fails.
func (l *Log) Append(tx *store.Tx, typ, subject string, now time.Time, data proto.Message) error {
	declared, ok := l.types[typ]
	if !ok {
		return fmt.Errorf("events: the type %s is not in the catalogue of %s", typ, l.service)
	}
	if got := data.ProtoReflect().Descriptor(); got != declared {
		return fmt.Errorf("events: the data of %s is a %s and should be a %s", typ, got.FullName(), declared.FullName())
	}
	packed, err := anypb.New(data)
	if err != nil {
		return fmt.Errorf("events: the data of %s: %w", typ, err)
	}
	event := &eventsv1.Event{Type: typ, Subject: subject, Time: timestamppb.New(now), Data: packed}
	if size := proto.Size(event); size > MaxEventBytes {
		return fault.New(fault.TooLarge, fmt.Sprintf("An event of type %s has %d bytes; it may have %d.", typ, size, MaxEventBytes))
	}
	// Events are never deleted, so their number is the last position.
	last, err := l.events.Count(tx)
	if err != nil {
		return err
	}
	return l.events.Insert(tx, positionKey(last+1), event)
}

// holds says whether an event stands at a position, and says what somebody has read there.
func (l *Log) holds(r store.Reader, position uint64, said []byte) (bool, error) {
	if position == 0 {
		return true, nil
	}
	event, err := l.events.Get(r, positionKey(position))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && (len(said) == 0 || bytes.Equal(digest(event), said)), err
}

func positionKey(position uint64) store.Key { return store.K(position) }

// StoreID names one life of a store: its id and its incarnation. A store that was restored may
// hold other events at the same positions, so it has another name.
func StoreID(db *store.DB) string {
	return db.ID() + "." + strconv.FormatUint(db.Incarnation(), 36)
}

// lifeOf is the incarnation in the name of a life of this store; zero in a name of another.
func lifeOf(db *store.DB, storeID string) uint64 {
	life, own := strings.CutPrefix(storeID, db.ID()+".")
	incarnation, err := strconv.ParseUint(life, 36, 64)
	if !own || err != nil {
		return 0
	}
	return incarnation
}

// read gives up to limit events after a position, complete with position and id, and the last
// position there is.
func (l *Log) read(r store.Reader, storeID string, after uint64, limit int) (found []*eventsv1.Event, last uint64, err error) {
	if last, err = l.events.Count(r); err != nil {
		return nil, 0, err
	}
	size := 0
	err = l.events.Scan(r, store.Range{After: positionKey(after)}, func(key store.Key, event *eventsv1.Event) error {
		if len(found) >= limit || size >= pageBytes {
			return store.Stop
		}
		event.Position = binary.BigEndian.Uint64(key)
		event.Id = storeID + "-" + strconv.FormatUint(event.Position, 10)
		found = append(found, event)
		size += proto.Size(event)
		return nil
	})
	return found, last, err
}
