package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// asking is whom an owner asks: a unit of the network, or an agency outside it.
type asking struct {
	unit     string
	external *custodyv1.ExternalAgency // nil for a unit
	// annex goes with the offer: to a unit the note of the submission. The one of an agency says which it is and stays at this node.
	annex *custodyv1.AnnexLetter
}

// node is the node asked; empty for an agency outside the network.
func (q asking) node() string { return rules.UnitNode(q.unit) }

// newAsking names the asking of an agency outside the network; nil where none is asked.
func (a *App) newAsking(agency *custodyv1.Agency) ([]byte, error) {
	if agency == nil {
		return nil, nil
	}
	id := make([]byte, 16)
	if _, err := io.ReadFull(a.Random, id); err != nil {
		return nil, fmt.Errorf("make the id of an asking: %w", err)
	}
	return id, nil
}

// checkAsked says whom a request asks, without the annex: a unit of a node that takes part, or an agency outside the network, with the
// id of the asking.
func (a *App) checkAsked(unit string, agency *custodyv1.Agency, id []byte) (asking, error) {
	switch {
	case (unit == "") == (agency == nil):
		return asking{}, fault.InvalidField("to_unit", "must name the unit that is asked, or external the agency outside the network, and not both")
	case agency == nil:
		return asking{unit: unit}, a.checkTakesPart("to_unit", unit)
	}
	return asking{external: &custodyv1.ExternalAgency{Kind: agency.GetKind(), Asking: id}}, codes.CheckAgency("external", agency)
}

// askAgency asks an agency outside the network. Nothing leaves by itself: somebody brings it the offer.
func (w *work) askAgency(actor *custodyv1.Actor, q asking, answerBy time.Time, together []string) error {
	if err := w.offer(actor, q, answerBy, together); err != nil {
		return err
	}
	return w.attach(q.annex, w.lane())
}

// sameAgency compares the agency of a submission with the one kept sealed. One that was erased is taken for the same.
func (a *App) sameAgency(tx *kitstore.Tx, record *referralv1.ReferralRecord, agency *custodyv1.Agency) (bool, error) {
	if len(record.GetAgencyCommitment()) == 0 || agency == nil {
		return len(record.GetAgencyCommitment()) == 0 && agency == nil, nil
	}
	content, err := a.annexContent(tx, record.GetReferral().GetName(), custody.Hash(record.GetAgencyCommitment()).String())
	if errors.Is(err, kitstore.ErrNotFound) {
		return true, nil
	}
	return proto.Equal(content.GetAgency(), agency), err
}

// RecordExternalAnswer enters what an agency outside the network said, on the word of the owner's worker. What it brings about by itself is the
// same as with a reply. The same entry again is a no-op.
func (a *App) RecordExternalAnswer(ctx context.Context, request *referralv1.RecordExternalAnswerRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	referral, hex := store.SplitOffer(request.GetName())
	hash, err := custody.ParseHash(hex)
	if err != nil {
		return nil, fault.NotFound("offer")
	}
	entry, err := rules.Entry(request, a.Now())
	if err != nil {
		return nil, err
	}
	entry.Offer = hash.Bytes()
	content := &custodyv1.AnnexContent{Note: request.GetNote(), Worker: request.GetAccepted().GetWorker()}
	annex, err := a.prepareAnnex(ctx, referral, content)
	if err != nil {
		return nil, err
	}
	return a.stepIn(ctx, referral, request.GetEtag(),
		func(w *work) (bool, error) { return w.enteredBefore(entry, content, request) },
		func(w *work) error { return w.enter(actor, entry, annex) })
}

// enteredBefore judges whether an answer can be entered for an offer, and says that it was the last one entered for it.
func (w *work) enteredBefore(entry *custodyv1.ExternalAnswered, content *custodyv1.AnnexContent, request *referralv1.RecordExternalAnswerRequest) (bool, error) {
	o := w.chain.State().Offer(entry.GetOffer())
	if o == nil {
		return false, fault.NotFound("offer")
	}
	if err := errors.Join(w.owned(), rules.External(o)); err != nil {
		return false, err
	}
	last := rules.LastEntry(w.chain, entry.GetOffer())
	if last == nil || !rules.SameEntry(last.GetExternalAnswered(), entry, request) {
		return false, nil
	}
	if len(last.GetAnnexCommitment()) == 0 {
		return proto.Size(content) == 0, nil
	}
	kept, err := w.annexContent(w.tx, w.chain.State().Referral, custody.Hash(last.GetAnnexCommitment()).String())
	if errors.Is(err, kitstore.ErrNotFound) { // erased: taken for the same
		return true, nil
	}
	return proto.Equal(kept, content), err
}

// enter writes an answer, with what it brings about.
func (w *work) enter(actor *custodyv1.Actor, entry *custodyv1.ExternalAnswered, annex *custodyv1.AnnexLetter) error {
	_, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_ExternalAnswered{ExternalAnswered: entry}})
	if err != nil {
		return err
	}
	if err := w.attach(annex, w.lane()); err != nil {
		return err
	}
	if entry.GetAccepted() != nil {
		return w.accepted(entry.GetOffer())
	}
	return nil
}

// tellEntered says at the owner what was entered for an agency outside the network, as it says what an asked unit answers.
func (w *work) tellEntered(l custody.Link, r *custodyv1.Reply) error {
	if l.Event.GetOwner() != w.Node {
		return nil
	}
	s := w.chain.State()
	return w.tellOffer(w.tx, w.now, r, &referralv1.OfferChanged{
		Offer: store.OfferName(s.Referral, custody.Hash(r.GetOffer()).String()), Referral: s.Referral, FromNode: l.Event.GetOwner(),
	})
}

// offer appends an offer; together are the referrals for which the same is asked besides.
func (w *work) offer(actor *custodyv1.Actor, q asking, answerBy time.Time, together []string) error {
	b := w.chain.State().Submitted
	_, err := w.append(actor, commitment(q.annex), &custodyv1.Event{Body: &custodyv1.Event_Offered{Offered: &custodyv1.Offered{
		ToNode: q.node(), ToUnit: q.unit, External: q.external, Kind: b.GetKind(), Service: b.GetService(), Urgency: b.GetUrgency(),
		Reasons: b.GetReasons(), Needs: b.GetNeeds(), AnswerBy: timestamppb.New(answerBy), Reference: b.GetReference(), Together: together,
	}}})
	return err
}
