package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// Reasons for which letters are refused.
const (
	reasonBody   = "body-not-readable"
	reasonSender = "sender-not-allowed"
)

// Handlers are the letters this service takes, by kind.
func (a *App) Handlers() map[string]post.Handler {
	return map[string]post.Handler{kindDossier: a.receiveDossier}
}

// receiveDossier keeps a dossier, and makes the case when the person has arrived already. Only the
// node at which a referral began knows its person.
func (a *App) receiveDossier(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	d := &protectionv1.Dossier{}
	if err := proto.Unmarshal(letter.GetBody(), d); err != nil {
		return post.Refuse(reasonBody)
	}
	if from.GetService() != "protection" || !strings.HasPrefix(d.GetReferral(), "nodes/"+from.GetNode()+"/referrals/") {
		return post.Refuse(reasonSender)
	}
	received, err := a.received(tx, d.GetReferral())
	if received == nil || err != nil {
		return err
	}
	if received.GetCase() != "" {
		return nil // a case was made of an earlier one
	}
	received.Dossier, received.FromNode, received.ReceiveTime = d, from.GetNode(), timestamppb.New(a.Now())
	return a.keep(tx, received)
}

// arrive notes that a person is in this node's care, or is to be given a service here, and makes the case when the dossier is here.
func (a *App) arrive(tx *kitstore.Tx, e *referralv1.ReferralChanged) error {
	received, err := a.received(tx, e.GetReferral())
	if received == nil || err != nil {
		return err
	}
	received.Arrived, received.Unit, received.ReferralKind = true, e.GetUnit(), e.GetKind()
	if e.GetSequence() > received.GetReferralSequence() {
		received.ReferralState, received.ReferralSequence = e.GetState(), e.GetSequence()
	}
	return a.keep(tx, received)
}

// received is what came of a referral so far; nil when its person was erased.
func (a *App) received(tx *kitstore.Tx, referral string) (*protectionv1.ReceivedDossier, error) {
	row, err := store.Dossiers.Row(tx, a.Keys, kitstore.K(referral))
	if errors.Is(err, kitstore.ErrNotFound) {
		return &protectionv1.ReceivedDossier{Dossier: &protectionv1.Dossier{Referral: referral}}, nil
	}
	if err != nil || row.Erased {
		return nil, err
	}
	return row.Value, nil
}

// keep stores what came of a referral. Once person and dossier are both here a case is made, and
// the dossier's person is kept in the case alone, under the case's key.
func (a *App) keep(tx *kitstore.Tx, received *protectionv1.ReceivedDossier) error {
	if received.GetArrived() && received.GetReceiveTime() != nil && received.GetCase() == "" {
		name, err := a.receive(tx, received, a.Now())
		if err != nil {
			return err
		}
		received.Case = name
		received.Dossier = &protectionv1.Dossier{Referral: received.GetDossier().GetReferral(), Offer: received.GetDossier().GetOffer()}
	}
	referral := received.GetDossier().GetReferral()
	// The key file is another file than the one of this transaction.
	if err := a.Keys.Prepare(context.Background(), store.DossierKeyName(referral)); err != nil {
		return err
	}
	return store.Dossiers.Put(tx, a.Keys, kitstore.K(referral), received)
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
	c.FoundDistrict, c.Narrative = d.GetFoundDistrict(), d.GetNarrative()
	c.Referral, c.ReferralState, c.ReferralKind = d.GetReferral(), received.GetReferralState(), received.GetReferralKind()
	_, err = a.putCase(tx, &protectionv1.CaseRecord{Case: c, ReferralSequence: received.GetReferralSequence()}, "received", now)
	return name, err
}
