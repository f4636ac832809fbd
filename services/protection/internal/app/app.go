// Package app holds the protection service's use cases, one a file. Each opens one store
// transaction, in which case, letters, commands and events change together, or is called with the
// transaction that takes in a letter, an event or a command's result.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/limits"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/notify"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/reference"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// Events takes what happened into the log, in the transaction in which it happened.
type Events interface {
	Append(tx *kitstore.Tx, kind, subject string, now time.Time, data proto.Message) error
}

// Post queues letters in the transaction of the state they report.
type Post interface {
	Queue(tx *kitstore.Tx, o post.Outgoing) error
}

// Commands queues commands to the referral service in the transaction that decides them.
type Commands interface {
	Queue(tx *kitstore.Tx, c outbox.Command) error
	// Wait returns nil once the command's result has been taken in, and ctx's error when that
	// comes first.
	Wait(ctx context.Context, id string) error
}

// Roster knows the nodes.
type Roster interface {
	Node(name string) (*identityv1.RosterNode, bool)
}

// App has the use cases. All fields are needed.
type App struct {
	// DB is the service's store, with store.Schema.
	DB *kitstore.DB
	// Node is this node's name.
	Node string
	// Federal is the name of the federal node, which counts flows.
	Federal string
	// Now is the clock.
	Now func() time.Time
	// NewID makes the last part of a name: a UUID, version 7.
	NewID func() (string, error)
	// Random gives the salts of consent.
	Random io.Reader
	// Roster says which province this node is of.
	Roster Roster
	// Keys seal persons' data.
	Keys *privacy.Keyring
	// Events is the event log.
	Events Events
	// Feed tells what is in it to whoever watches.
	Feed *events.Feed[*protectionv1.CaseNews]
	// Post sends letters.
	Post Post
	// Commands calls the referral service.
	Commands Commands
	// Tokens makes page tokens.
	Tokens *paging.Tokens
	// Rules judge a unit or a worker as it would be stored.
	Rules Rules
	// Limits are the time limits of this node.
	Limits *limits.Table
	// Senders tell people of notices; none: notices stand in the list alone.
	Senders []notify.Sender
	// Gateway is where links in messages begin, such as https://gateway.example; may be empty.
	Gateway string
	// Wake has somebody fire deadlines and send notices, after a commit that made some.
	Wake func()
	// Log is told what senders refuse.
	Log *logging.Logger
}

// Rules are those of a resource's proto. field is where it stands in the request.
type Rules interface {
	Check(field string, resource proto.Message, except ...string) error
}

func (a *App) parent() string { return "nodes/" + a.Node }

// checkNode refuses names of other nodes' things: they are not here.
func (a *App) checkNode(field, name string) error {
	if name != a.parent() && !strings.HasPrefix(name, a.parent()+"/") {
		return fault.New(fault.Missing, "This node does not hold it; ask the node it names.", "field", field)
	}
	return nil
}

// haveUnit refuses a unit that this node does not have. Units are never taken away.
func (a *App) haveUnit(ctx context.Context, field, unit string) error {
	return a.DB.View(ctx, func(r kitstore.Reader) error {
		there, err := store.Units.Has(r, kitstore.K(unit))
		if err == nil && !there {
			err = fault.InvalidField(field, "must be a unit of this node; enter the unit first")
		}
		return err
	})
}

func (a *App) newName(collection string) (string, error) {
	id, err := a.NewID()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return a.parent() + "/" + collection + "/" + id, nil
}

func (a *App) random(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(a.Random, b); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	return b, nil
}

// digest knows a call again without keeping what it said.
func (a *App) digest(purpose string, call proto.Message) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(call)
	if err != nil {
		return nil, fmt.Errorf("marshal the call: %w", err)
	}
	return a.Keys.BlindIndex(purpose, raw), nil
}

// nextReference counts this node's cases.
func (a *App) nextReference(tx *kitstore.Tx, now time.Time) (string, error) {
	last, err := store.Counters.Get(tx, store.ReferenceKey)
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return "", err
	}
	node, known := a.Roster.Node(a.Node)
	if !known {
		return "", fmt.Errorf("the roster does not name this node, %s", a.Node)
	}
	number := last.GetValue() + 1
	if err := store.Counters.Put(tx, store.ReferenceKey, wrapperspb.UInt64(number)); err != nil {
		return "", err
	}
	return reference.New(node.GetProvince(), now, number), nil
}

func etag(version uint64) string { return strconv.FormatUint(version, 10) }

// show is a stored case as it is shown: with the row's version as etag, and without the person where reading has ended.
func show(row privacy.Row[*protectionv1.CaseRecord]) *protectionv1.Case {
	c := row.Value.GetCase()
	if c.GetReadingClosed() != "" {
		c = privacy.Redact(c)
	}
	c.Etag = etag(row.Version)
	return c
}

func (a *App) getCase(r kitstore.Reader, name string) (privacy.Row[*protectionv1.CaseRecord], error) {
	row, err := store.Cases.Row(r, a.Keys, kitstore.K(name))
	if errors.Is(err, kitstore.ErrNotFound) {
		return row, fault.NotFound("case")
	}
	return row, err
}

// openCase is getCase for a change: of an erased person, or where reading has ended, nothing can be written any more.
func (a *App) openCase(r kitstore.Reader, name string) (privacy.Row[*protectionv1.CaseRecord], error) {
	row, err := a.getCase(r, name)
	if err == nil && row.Erased {
		err = fault.New(fault.WrongState, "The person's data was erased; the case cannot change any more.", "state", "ERASED")
	}
	if err == nil && row.Value.GetCase().GetReadingClosed() != "" {
		err = fault.New(fault.WrongState, "Reading of the case has ended here, since the person is in the care of others; it cannot change any more.",
			"state", "READING_CLOSED")
	}
	return row, err
}

// putCase stores a case, says what happened to it (nothing for an empty word), and shows it.
func (a *App) putCase(tx *kitstore.Tx, record *protectionv1.CaseRecord, word string, now time.Time) (*protectionv1.Case, error) {
	c := record.GetCase()
	c.Etag = ""
	if err := store.Cases.Put(tx, a.Keys, kitstore.K(c.GetName()), record); err != nil {
		return nil, err
	}
	switch word {
	case "created", "received":
		if err := a.lawsFrom(tx, c, now); err != nil {
			return nil, err
		}
	case "closed":
		if err := a.endDeadlines(tx, c.GetName(), nil); err != nil {
			return nil, err
		}
	}
	if word != "" {
		err := a.Events.Append(tx, "protection.case."+word+".v1", c.GetName(), now, &protectionv1.CaseChanged{
			Case: c.GetName(), Unit: c.GetUnit(), Referral: c.GetReferral(),
		})
		if err != nil {
			return nil, err
		}
	}
	row, err := a.getCase(tx, c.GetName())
	if err != nil {
		return nil, err
	}
	return show(row), nil
}
