package app

import (
	"bytes"
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// answerMargin is how long before its deadline a call stops waiting, so that its answer still
// reaches the caller.
const answerMargin = 500 * time.Millisecond

// call is what a person asks of the referral service about a case.
type call struct {
	verb, name, etag string
	request          proto.Message // as the person made it
	person           string        // on whose behalf
	method           string
	// decide makes the command's request, or refuses. id is the command's.
	decide func(r *protectionv1.CaseRecord, id string, now time.Time) (proto.Message, error)
}

// ask queues a command about a case and waits for its result until shortly before ctx's deadline;
// then it answers with the case as it stands. The same call again, with the etag it was made with,
// is the same command and gets the same answer.
func (a *App) ask(ctx context.Context, q call) (*protectionv1.Case, error) {
	if err := a.checkNode("name", q.name); err != nil {
		return nil, err
	}
	digest, err := a.digest("ask-"+q.verb, q.request)
	if err != nil {
		return nil, err
	}
	id := a.commandID(q.verb, q.name, q.etag)
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error { return a.queue(tx, q, id, digest) })
	if err != nil {
		return nil, err
	}
	if err := a.wait(ctx, id); err != nil {
		return nil, err
	}
	return a.answer(ctx, q.name, id)
}

// commandID names a command: the same call, made with the same etag, is the same command.
func (a *App) commandID(verb, name, tag string) string {
	return verb + "-" + name[len(a.parent()+"/cases/"):] + "-" + tag
}

func (a *App) queue(tx *kitstore.Tx, q call, id string, digest []byte) error {
	now := a.Now()
	row, err := a.openCase(tx, q.name)
	if err != nil {
		return err
	}
	record := row.Value
	if asked := record.GetAsked(); asked.GetId() == id && bytes.Equal(asked.GetDigest(), digest) {
		return nil // asked before
	}
	if err := mayAsk(row, q.etag); err != nil {
		return err
	}
	request, err := q.decide(record, id, now)
	if err != nil {
		return err
	}
	if err := a.Commands.Queue(tx, outbox.Command{ID: id, Method: q.method, Subject: q.name, Request: request, OnBehalfOf: q.person}); err != nil {
		return err
	}
	return a.putAsked(tx, record, id, digest)
}

// mayAsk refuses where a case has changed, or where what was asked before is not answered yet.
func mayAsk(row privacy.Row[*protectionv1.CaseRecord], tag string) error {
	switch {
	case tag != etag(row.Version):
		return fault.StaleEtag()
	case row.Value.GetAsked().GetPending():
		return fault.New(fault.WrongState, "The referral service has not answered yet what was asked before. Read the case again in a while.", "state", "PENDING")
	}
	return nil
}

// putAsked stores a case about which a command was queued.
func (a *App) putAsked(tx *kitstore.Tx, record *protectionv1.CaseRecord, id string, digest []byte) error {
	now, c := a.Now(), record.GetCase()
	c.ReferFailure, c.UpdateTime = "", timestamppb.New(now)
	record.Asked = &protectionv1.AskedCommand{Id: id, Digest: digest, Pending: true}
	_, err := a.putCase(tx, record, "", now)
	return err
}

// wait waits for a command's result; no error when the time for it is up.
func (a *App) wait(ctx context.Context, id string) error {
	waiting, stop := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		waiting, stop = context.WithDeadline(ctx, deadline.Add(-answerMargin))
	}
	defer stop()
	err := a.Commands.Wait(waiting, id)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// answer is the case, or why the referral service refused.
func (a *App) answer(ctx context.Context, name, id string) (shown *protectionv1.Case, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		row, err := a.getCase(r, name)
		if err != nil {
			return err
		}
		if asked := row.Value.GetAsked(); asked.GetId() == id && asked.GetReason() != 0 {
			return refusal(asked)
		}
		shown = show(row)
		return nil
	})
	return shown, err
}

func refusal(asked *protectionv1.AskedCommand) error {
	refused := fault.New(asked.GetReason(), asked.GetSentence())
	var fields []fault.Violation
	for _, v := range asked.GetViolations() {
		fields = append(fields, fault.Violation{Field: v.GetField(), Sentence: v.GetSentence()})
	}
	if len(fields) > 0 {
		refused = refused.WithFields(fields...)
	}
	return refused
}

// take notes how a command about a case ended, and gives the case to what follows; nil when the
// person was erased meanwhile, or the case is not here any more.
func (a *App) take(tx *kitstore.Tx, name string, result outbox.Result) (*protectionv1.CaseRecord, error) {
	row, err := store.Cases.Row(tx, a.Keys, kitstore.K(name))
	if errors.Is(err, kitstore.ErrNotFound) || row.Erased {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	asked := &protectionv1.AskedCommand{Id: result.Command.ID}
	if row.Value.GetAsked().GetId() == result.Command.ID {
		asked.Digest = row.Value.GetAsked().GetDigest()
	}
	if f := result.Fault; f != nil {
		asked.Reason, asked.Sentence = f.Reason(), f.Sentence()
		for _, v := range f.Fields() {
			asked.Violations = append(asked.Violations, &protectionv1.AskedCommand_Violation{Field: v.Field, Sentence: v.Sentence})
		}
	}
	row.Value.Asked = asked
	row.Value.Case.UpdateTime = timestamppb.New(a.Now())
	return row.Value, nil
}

// Sealer seals commands to the referral service while they wait, under the key of their case.
type Sealer struct{ Keys *privacy.Keyring }

const commandUse = "outbox"

// Seal implements outbox.Sealer. subject is the case.
func (s Sealer) Seal(subject string, plaintext []byte) ([]byte, error) {
	return s.Keys.Seal(store.KeyName(subject), commandUse, plaintext)
}

// Open implements outbox.Sealer.
func (s Sealer) Open(subject string, sealed []byte) ([]byte, error) {
	plaintext, err := s.Keys.Open(store.KeyName(subject), commandUse, sealed)
	if errors.Is(err, privacy.ErrErased) {
		return nil, fault.New(fault.Missing, "The person's data was erased.").Wrap(err)
	}
	return plaintext, err
}
