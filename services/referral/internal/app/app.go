// Package app holds the referral service's use cases, one a file. Each opens one store
// transaction, in which chain, view, deadlines, letters, commands and events change together
// (invariant I4), or is called with the transaction that takes a letter or a command's result in.
package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// Events takes what happened into the log, in the transaction in which it happened.
type Events interface {
	Append(tx *kitstore.Tx, kind, subject string, now time.Time, data proto.Message) error
}

// Post queues letters in the transaction of the state they report.
type Post interface {
	Queue(tx *kitstore.Tx, o post.Outgoing) error
	// Incarnations are the lives of a service of other nodes as far as it was heard, by node.
	Incarnations(r kitstore.Reader, service string) (map[string]uint64, error)
	// Park puts a letter that was taken, to be done later, into quarantine; Parked says that one lies there, behind which others wait.
	Park(tx *kitstore.Tx, from *postv1.Address, incarnation uint64, l *postv1.Letter, reason string) error
	Parked(r kitstore.Reader, from *postv1.Address, subject string) (bool, error)
	// SealBody gives the body of a letter as it may lie in the store, and OpenBody the way back.
	SealBody(from *postv1.Address, l *postv1.Letter) ([]byte, error)
	OpenBody(from *postv1.Address, l *postv1.Letter) ([]byte, error)
}

// Commands queues commands in the transaction that decides them.
type Commands interface {
	Queue(tx *kitstore.Tx, c outbox.Command) error
	// Wait returns nil once the command's result has been taken in, and ctx's error when that
	// comes first.
	Wait(ctx context.Context, id string) error
}

// Roster knows the nodes and their keys.
type Roster interface {
	custody.Verifier
	Node(name string) (*identityv1.RosterNode, bool)
	// Nodes are all that the roster names, those that do not take part now included.
	Nodes() []*identityv1.RosterNode
	// Seal seals to a node's service, as the roster has its key.
	Seal(node, service, info string, aad, plaintext []byte) ([]byte, error)
}

// Opener opens what was sealed to this node's referral service.
type Opener interface {
	Open(info string, aad, sealed []byte) ([]byte, error)
}

// App has the use cases. All fields are needed.
type App struct {
	// DB is the service's store, with store.Schema.
	DB *kitstore.DB
	// Node is this node's name.
	Node string
	// Now is the clock.
	Now func() time.Time
	// NewID makes the last part of a name: a UUID, version 7.
	NewID func() (string, error)
	// Random gives the salts of annexes and the nonces of what is sealed.
	Random io.Reader
	// Signer signs as this node's referral service.
	Signer custody.Signer
	// Roster verifies what other nodes signed.
	Roster Roster
	// Opener opens what came sealed in a handover file.
	Opener Opener
	// Federal is the name of the federal node, which counts flows.
	Federal string
	// Limits are the time limits by risk.
	Limits rules.Limits
	// AutoConfirm: a sole acceptance is chosen without a person.
	AutoConfirm bool
	// Annexes keeps annexes sealed.
	Annexes Annexes
	// Events is the event log.
	Events Events
	// Feed tells what is in it to whoever watches.
	Feed *events.Feed[*referralv1.ReferralNews]
	// Post sends letters.
	Post Post
	// Commands calls the shelter service.
	Commands Commands
	// Tokens makes page tokens.
	Tokens *paging.Tokens
	// Log gets what a person should look at: no personal data.
	Log *logging.Logger
	// Wake is called after a commit that changes when the next deadline is due; it must not block.
	Wake func()
	// WakeRecovery is the same for what Recover does.
	WakeRecovery func()
	// Listened says that the service has heard all others since it started, or has waited for them long enough. Before that its store may be
	// an older copy than anybody knows, in which a recovery goes on that is over, and no recovery ends.
	Listened func() bool

	references references
	recovering atomic.Bool // see BeginRecovery
	told       atomic.Bool // see Told
}

func (a *App) parent() string { return "nodes/" + a.Node }

// checkNode refuses lists and actions asked of another node.
func (a *App) checkNode(field, name string) error {
	if name != a.parent() && !strings.HasPrefix(name, a.parent()+"/") {
		return fault.New(fault.Missing, "This node does not hold it; ask the node it names.", "field", field)
	}
	return nil
}

// self is who acts when the service does something by itself.
func (a *App) self() *custodyv1.Actor { return &custodyv1.Actor{Service: "referral"} }

func etag(version uint64) string { return strconv.FormatUint(version, 10) }

// legal turns what the chain's rules forbid into a refusal.
func legal(err error) error {
	illegal, ok := errors.AsType[*custody.Illegal](err)
	switch {
	case !ok:
		return err
	case illegal.NotOwner:
		return fault.New(fault.NotOwner, "Another node owns the referral now. Ask that node.").Wrap(err)
	}
	return fault.New(fault.WrongState, capital(illegal.Error())+". Read the referral again to see what can be done.").Wrap(err)
}

func capital(sentence string) string {
	if sentence == "" {
		return sentence
	}
	return strings.ToUpper(sentence[:1]) + sentence[1:]
}

// stops says that an error ends work which is done for one after the other: it is of the store, or ctx has ended. Any other is of that one alone.
func stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, kitstore.ErrFatal) || errors.Is(err, kitstore.ErrClosed)
}

// chainOf reads a referral's chain; nil when this node holds none.
func chainOf(r kitstore.Reader, referral string) (*custody.Chain, error) {
	events, err := linksOf(r, referral)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	c, err := custody.Load(events...)
	if err != nil {
		return nil, fmt.Errorf("load the chain of %s: %w", referral, err)
	}
	return c, nil
}

// linksOf reads the signed events of a referral; none when this node does not hold it, nor for what is no referral's name: one that came in a
// letter may be longer than any key. They end where the referral says: damage under a
// running service can hide rows from a scan, and nothing is decided by half a chain, nor served.
func linksOf(r kitstore.Reader, referral string) ([]*custodyv1.SignedEvent, error) {
	if custody.CreatedAt(referral) == "" {
		return nil, nil
	}
	record, err := optional(store.Referrals.Get(r, kitstore.K(referral)))
	if err != nil {
		return nil, err
	}
	var events []*custodyv1.SignedEvent
	err = store.Links.Scan(r, kitstore.Range{Prefix: kitstore.K(referral)}, func(_ kitstore.Key, e *custodyv1.SignedEvent) error {
		events = append(events, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var head []byte
	if len(events) > 0 {
		head = custody.HashOf(events[len(events)-1].GetEvent()).Bytes()
	}
	if !bytes.Equal(head, record.GetReferral().GetHead()) {
		return nil, kitstore.Damaged(r, "a chain does not end where its referral says")
	}
	return events, nil
}

// show completes a stored referral for a reader.
func (a *App) show(r kitstore.Reader, row kitstore.Row[*referralv1.ReferralRecord]) (*referralv1.Referral, error) {
	v := row.Value.GetReferral()
	v.Etag = etag(row.Version)
	deadline, err := store.Deadlines.Get(r, kitstore.K(v.GetName()))
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return nil, err
	}
	v.NextDeadline = deadline.GetDeadline()
	v.ReturnRequested = row.Value.GetReturnRequest() != nil
	for _, o := range v.GetOffers() {
		o.Etag = v.GetEtag()
	}
	commitments, err := a.Annexes.List(r, v.GetName())
	if err != nil {
		return nil, err
	}
	for _, c := range commitments {
		v.Annexes = append(v.Annexes, store.AnnexName(v.GetName(), c))
	}
	return v, nil
}

func getReferral(r kitstore.Reader, name string) (kitstore.Row[*referralv1.ReferralRecord], error) {
	row, err := store.Referrals.Row(r, kitstore.K(name))
	if errors.Is(err, kitstore.ErrNotFound) {
		return row, fault.NotFound("referral")
	}
	return row, err
}

// newAnnex makes an annex of what people wrote; nil when they wrote nothing.
func (a *App) newAnnex(referral string, content *custodyv1.AnnexContent) (*custodyv1.AnnexLetter, error) {
	if proto.Size(content) == 0 {
		return nil, nil
	}
	raw, err := proto.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("marshal the annex: %w", err)
	}
	salt := make([]byte, 32)
	if _, err := io.ReadFull(a.Random, salt); err != nil {
		return nil, fmt.Errorf("make a salt: %w", err)
	}
	return &custodyv1.AnnexLetter{Referral: referral, Annex: &custodyv1.Annex{Salt: salt, Content: raw}}, nil
}

// prepareAnnex makes an annex of what people wrote and the key it is sealed with, before the
// transaction; nil when they wrote nothing. Of a referral that is not known here no key is made:
// the transaction will refuse.
func (a *App) prepareAnnex(ctx context.Context, referral string, content *custodyv1.AnnexContent) (*custodyv1.AnnexLetter, error) {
	annex, err := a.newAnnex(referral, content)
	if annex == nil || err != nil {
		return nil, err
	}
	known := false
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		if known, err = a.holds(r, referral); known || err != nil {
			return err
		}
		offers, err := offersOf(r, referral)
		known = len(offers) > 0
		return err
	})
	if err != nil || !known {
		return annex, err
	}
	if err = a.Annexes.Prepare(ctx, referral); err == nil && mutant.Off("beside") { // it is stored before what it stands beside is judged
		err = a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.Annexes.Put(tx, annex) })
	}
	return annex, err
}

// commitment is what stands in the chain for an annex; nil for none.
func commitment(annex *custodyv1.AnnexLetter) []byte {
	if annex == nil {
		return nil
	}
	return custody.Commit(annex.GetAnnex()).Bytes()
}
