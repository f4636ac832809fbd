package app

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// end ends reading of what came on an offer: a dossier of which no case was made is erased, a case is closed for reading. A tombstone
// stays, and where something was here the owner of the referral is told. What came on another offer stays. The caller stores it.
func (a *App) end(tx *kitstore.Tx, d *protectionv1.ReceivedDossier, offer, reason string) error {
	now := a.Now()
	c := &protectionv1.ReceivedDossier_Closing{
		Offer: offer, Reason: reason, CloseTime: timestamppb.New(now), Sequence: d.GetReferralSequence(), Case: d.GetCase(), FromNode: d.GetFromNode(),
	}
	if !mutant.Off("tombstone") {
		d.Closings = append(d.Closings, c)
	}
	if d.GetDuty() == rules.Over {
		d.Arrived = false
	}
	another := d.GetCase() == "" && d.GetDossier().GetOffer() != offer && d.GetDossier().GetOffer() == d.GetPromisedOffer()
	if d.GetReceiveTime() == nil || another {
		c.FromNode = ""
		return nil
	}
	if d.GetCase() != "" {
		if err := a.closeReading(tx, d.GetCase(), reason); err != nil {
			return err
		}
	}
	if err := a.forget(d); err != nil {
		return err
	}
	return a.tellClosed(tx, d, c)
}

// forget erases a dossier with its key. It is erased before the transaction that says so is committed: what says that it is gone never
// lies. Where that breaks off, it is done again.
func (a *App) forget(d *protectionv1.ReceivedDossier) error {
	if err := a.Keys.Erase(context.Background(), store.DossierKeyName(d)); err != nil {
		return err
	}
	d.Round++
	d.Dossier = &protectionv1.Dossier{Referral: d.GetDossier().GetReferral()}
	d.FromNode, d.ReceiveTime, d.Case, d.DueTime = "", nil, "", nil
	return nil
}

// dropLate notes that a dossier came after its end, and says that it is closed; the same one again is a no-op.
func (a *App) dropLate(tx *kitstore.Tx, d *protectionv1.ReceivedDossier, came *protectionv1.Dossier, from string) error {
	c := rules.Tombstone(d, came)
	if c.GetTold() {
		return nil
	}
	c.FromNode = from
	if err := a.tellClosed(tx, d, c); err != nil {
		return err
	}
	return a.keep(tx, d)
}

// tellClosed says, through the referral service, in the chain that reading has ended here.
func (a *App) tellClosed(tx *kitstore.Tx, d *protectionv1.ReceivedDossier, c *protectionv1.ReceivedDossier_Closing) error {
	c.Told = true
	now, referral := a.Now(), d.GetDossier().GetReferral()
	err := a.Events.Append(tx, "protection.dossier.closed.v1", referral, now, &protectionv1.DossierClosed{
		Referral: referral, Reason: c.GetReason(), Case: c.GetCase(),
	})
	if err != nil {
		return err
	}
	if mutant.Off("closed") { // nobody is told
		return nil
	}
	return a.Commands.Queue(tx, outbox.Command{
		ID:     fmt.Sprintf("close-dossier-%s-%d", referral[strings.LastIndex(referral, "/")+1:], len(d.GetClosings())),
		Method: referralv1.ReferralService_ReportDossierClosed_FullMethodName, Subject: referral,
		Request: &referralv1.ReportDossierClosedRequest{Name: referral, Reason: c.GetReason(), CloseTime: timestamppb.New(now)},
	})
}

// TakeReported takes in what the referral service answered to a report. One that it refuses says nothing to anybody: it knows nothing
// of the referral, or has other nodes' word for it. While the referral stands still it is told again, for that passes.
func (a *App) TakeReported(_ *kitstore.Tx, result outbox.Result) error {
	if result.Fault != nil {
		if result.Fault.Reason() == fault.Recovering {
			return result.Fault
		}
		a.Log.Warn("the referral service refuses a report of this service", logging.RPC(result.Command.Method), logging.Err(result.Fault))
	}
	return nil
}

// closeReading closes a case that was received: the person is with somebody else. It stays sealed, for the law may ask for it.
func (a *App) closeReading(tx *kitstore.Tx, name, reason string) error {
	row, err := a.getCase(tx, name)
	if err != nil || row.Erased {
		return err
	}
	now, c, word := a.Now(), row.Value.GetCase(), ""
	switch c.GetState() {
	case protectionv1.Case_STATE_ACTIVE, protectionv1.Case_STATE_FOLLOW_UP:
		c.State, word = protectionv1.Case_STATE_CLOSED_REFERRED, "closed"
	}
	c.ReadingClosed, c.ReadingCloseTime, c.UpdateTime = reason, timestamppb.New(now), timestamppb.New(now)
	_, err = a.putCase(tx, row.Value, word, now)
	return err
}
