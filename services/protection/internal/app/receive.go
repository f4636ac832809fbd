package app

import (
	"context"
	"errors"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// Reasons for which letters are refused.
const (
	reasonBody   = "body-not-readable"
	reasonSender = "sender-not-allowed"
)

// Handlers are the letters this service takes, by kind.
func (a *App) Handlers() map[string]post.Handler {
	all := map[string]post.Handler{kindDossier: a.receiveDossier, kindWanted: a.answerWanted}
	maps.Copy(all, flow.Handlers(a.Flows))
	return all
}

// receiveDossier keeps a dossier, and makes the case when the person has arrived already. One that comes after its end is dropped, and
// told closed; one of a node that had no part in the referral is dropped.
func (a *App) receiveDossier(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	came := &protectionv1.Dossier{}
	if err := proto.Unmarshal(letter.GetBody(), came); err != nil || custody.CreatedAt(came.GetReferral()) == "" {
		return post.Refuse(reasonBody)
	}
	if from.GetService() != "protection" {
		return post.Refuse(reasonSender)
	}
	d, err := a.received(tx, came.GetReferral())
	if err != nil {
		return err
	}
	switch {
	case !rules.Trusts(d, from.GetNode()):
		return nil
	case rules.Late(d, came):
		return a.dropLate(tx, d, came, from.GetNode())
	case d.GetCase() != "":
		return nil // a case was made of an earlier one
	}
	d.Dossier, d.FromNode, d.ReceiveTime = came, from.GetNode(), timestamppb.New(a.Now())
	return a.keep(tx, d)
}

// followReceived moves what this node holds of a person who was referred here, and the case made of it, as the referral went.
func (a *App) followReceived(tx *kitstore.Tx, e *referralv1.ReferralChanged) error {
	known, err := store.Dossiers.Has(tx, kitstore.K(e.GetReferral()))
	if err != nil || !known && !rules.Concerns(e, a.Node) {
		return err
	}
	d, err := a.received(tx, e.GetReferral())
	if err != nil {
		return err
	}
	before := d.GetPromisedOffer()
	closing, heard := rules.Hear(d, e, a.Node)
	if e.GetOfferOver() || closing == codes.DossierClosingConsentEnded {
		before = d.GetPromisedOffer()
	}
	if !heard {
		return nil
	}
	if d.GetCase() != "" {
		row, err := a.getCase(tx, d.GetCase())
		if err != nil {
			return err
		}
		if !row.Erased {
			if err := a.advance(tx, row.Value, e); err != nil {
				return err
			}
		}
	}
	if d.GetReceiveTime() != nil && d.GetCase() == "" && !lost(d) && !rules.Trusts(d, d.GetFromNode()) {
		if err := a.forget(d); err != nil {
			return err
		}
	}
	if closing != "" {
		if err := a.end(tx, d, before, closing); err != nil {
			return err
		}
	}
	return a.keep(tx, d)
}

// followOffer takes in that an offer made to this node is over.
func (a *App) followOffer(tx *kitstore.Tx, e *referralv1.OfferChanged) error {
	if e.GetToNode() != a.Node {
		return nil
	}
	reason := codes.DossierClosingOfferEnded
	if e.GetReason() == codes.WithdrawalConsentEnded {
		reason = codes.DossierClosingConsentEnded
	}
	return a.endOffer(tx, e.GetReferral(), e.GetOffer(), reason)
}

// endOffer ends what is here on an offer that is over; the last promised for an empty one.
func (a *App) endOffer(tx *kitstore.Tx, referral, offer, reason string) error {
	known, err := store.Dossiers.Has(tx, kitstore.K(referral))
	if err != nil || !known {
		return err
	}
	d, err := a.received(tx, referral)
	if err != nil {
		return err
	}
	if offer == "" {
		offer = d.GetPromisedOffer()
	}
	if !rules.EndOffer(d, offer) {
		return nil
	}
	if err := a.end(tx, d, offer, reason); err != nil {
		return err
	}
	return a.keep(tx, d)
}

// received is what came of a referral so far. Where its key is gone and its end does not stand here, something broke off between the
// two: what was sealed under the key is lost, and its sender's name with it (see lost). So is what does not open
// because the key file is an older copy: nothing waits for it, and it is asked for again.
func (a *App) received(tx *kitstore.Tx, referral string) (*protectionv1.ReceivedDossier, error) {
	row, err := store.Dossiers.Row(tx, a.Keys, kitstore.K(referral))
	if errors.Is(err, kitstore.ErrNotFound) {
		return &protectionv1.ReceivedDossier{Dossier: &protectionv1.Dossier{Referral: referral}}, nil
	}
	if errors.Is(err, privacy.ErrUnreadable) {
		a.Log.Error("what is noted of a referral does not open, and goes on under another key", logging.Referral(referral), logging.Err(err))
		row.Erased = true
		if row.Value, err = store.Dossiers.GetPublic(tx, kitstore.K(referral)); err == nil {
			err = a.Keys.Erase(context.Background(), store.DossierKeyName(row.Value)) // nothing opens it later, when it is said to be gone
		}
	}
	if row.Erased && err == nil {
		row.Value.Round++
		row.Value.FromNode = ""
	}
	return row.Value, err
}

// lost says that a dossier of which no case was made is not readable any more.
func lost(d *protectionv1.ReceivedDossier) bool {
	return d.GetReceiveTime() != nil && d.GetCase() == "" && d.GetFromNode() == ""
}

// keep stores what came of a referral. Once person and dossier are both here a case is made, and
// the dossier's person is kept in the case alone, under the case's key.
func (a *App) keep(tx *kitstore.Tx, d *protectionv1.ReceivedDossier) error {
	now, referral := a.Now(), d.GetDossier().GetReferral()
	if lost(d) { // it is asked for again
		d.ReceiveTime = nil
	}
	if d.GetArrived() && d.GetReceiveTime() != nil && d.GetCase() == "" && len(d.GetOwnerNodes()) > 0 {
		name, err := a.receive(tx, d, now)
		if err != nil {
			return err
		}
		d.Case = name
		d.Dossier = &protectionv1.Dossier{Referral: referral, Offer: d.GetDossier().GetOffer()}
	}
	first, _ := a.firstAsked()
	d.DueTime = rules.Due(d, now, first)
	tx.AfterCommit(a.Wake)
	if err := a.prepare(d); err != nil {
		return err
	}
	return store.Dossiers.Put(tx, a.Keys, kitstore.K(referral), d)
}

// prepare sees to it that what came of a referral has a key. The key file is another file than the one of this transaction, and is ahead of a
// store that was restored, or that lost its last commits: a key may be erased of which nothing stands here.
func (a *App) prepare(d *protectionv1.ReceivedDossier) error {
	for {
		err := a.Keys.Prepare(context.Background(), store.DossierKeyName(d))
		if !errors.Is(err, privacy.ErrErased) {
			return err
		}
		d.Round++
	}
}

// receive makes a case of a dossier.
func (a *App) receive(tx *kitstore.Tx, received *protectionv1.ReceivedDossier, now time.Time) (string, error) {
	name, err := a.newName("cases")
	if err != nil {
		return "", err
	}
	if err := a.Keys.Prepare(context.Background(), store.KeyName(name)); err != nil {
		return "", err
	}
	c, err := a.newCase(tx, name, protectionv1.Case_SOURCE_REFERRAL, now)
	if err != nil {
		return "", err
	}
	d := received.GetDossier()
	c.Unit, c.Person, c.Urgency, c.Exploitation = received.GetUnit(), d.GetPerson(), d.GetUrgency(), d.GetExploitation()
	c.FoundDistrict, c.Narrative, c.Consent = d.GetFoundDistrict(), d.GetNarrative(), rules.ConsentOf(d)
	c.Referral, c.ReferralState, c.ReferralKind = d.GetReferral(), received.GetReferralState(), received.GetReferralKind()
	record := &protectionv1.CaseRecord{Case: c, ReferralSequence: received.GetReferralSequence()}
	if received.GetConsentEnded() {
		rules.EndConsent(record, now)
	}
	_, err = a.putCase(tx, record, "received", now)
	return name, err
}
