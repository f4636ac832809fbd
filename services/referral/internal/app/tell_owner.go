package app

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// ReportSafety tells the owner something about the person's safety, also that a person who did not come was found. What the owner hears
// itself it writes into the referral by the same call.
func (a *App) ReportSafety(ctx context.Context, request *referralv1.ReportSafetyRequest, actor *custodyv1.Actor) (*referralv1.Told, error) {
	if err := rules.CheckCode("code", codes.Safety, request.GetCode(), codes.SafetyOther, request.GetNote()); err != nil {
		return nil, err
	}
	if request.GetFound() != (request.GetCode() == codes.SafetyFoundSafe) {
		return nil, fault.InvalidField("found", "must be said with the code FOUND_SAFE, and only with it")
	}
	return a.tellOwner(ctx, request, request.GetNote(), &custodyv1.Reply{Actor: actor, Body: &custodyv1.Reply_SafetyInformation{
		SafetyInformation: &custodyv1.SafetyInformation{Code: request.GetCode(), Found: request.GetFound()},
	}})
}

// RequestCorrection tells the owner that something in the chain is wrong; the owner corrects it.
func (a *App) RequestCorrection(ctx context.Context, request *referralv1.RequestCorrectionRequest, actor *custodyv1.Actor) (*referralv1.Told, error) {
	if strings.TrimSpace(request.GetNote()) == "" {
		return nil, fault.InvalidField("note", "must say what is wrong, and what should stand there")
	}
	return a.tellOwner(ctx, request, request.GetNote(), &custodyv1.Reply{Actor: actor, Body: &custodyv1.Reply_CorrectionRequested{
		CorrectionRequested: &custodyv1.CorrectionRequested{Event: request.GetEvent()},
	}})
}

// WithdrawConsent tells the owner that consent was withdrawn here; it goes ahead of all else.
func (a *App) WithdrawConsent(ctx context.Context, request *referralv1.WithdrawConsentRequest, actor *custodyv1.Actor) (*referralv1.Told, error) {
	at, err := rules.WithdrawTime(request.GetWithdrawTime(), a.Now())
	if err != nil {
		return nil, err
	}
	return a.tellOwner(ctx, request, request.GetNote(), &custodyv1.Reply{Actor: actor, Body: &custodyv1.Reply_ConsentWithdrawn{
		ConsentWithdrawn: &custodyv1.ConsentWithdrawn{WithdrawTime: timestamppb.New(at)},
	}})
}

// tellOwner signs what a party that is not the owner says of the referral as a whole, keeps it, and sends it to the owner as far as
// it is known here; a former owner passes it on.
func (a *App) tellOwner(ctx context.Context, request tagged, note string, r *custodyv1.Reply) (told *referralv1.Told, err error) {
	name := request.GetName()
	annex, err := a.prepareAnnex(ctx, name, &custodyv1.AnnexContent{Note: note})
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		owner, err := a.ownerOf(tx, name, r)
		if err != nil {
			return err
		}
		if err := a.checkTag(tx, name, request.GetEtag()); err != nil {
			return err
		}
		r.Referral, r.Node, r.Time, r.AnnexCommitment = name, a.Node, timestamppb.New(a.Now()), commitment(annex)
		signed, err := custody.SignReply(a.Signer, r)
		if err != nil {
			return err
		}
		told = &referralv1.Told{Referral: name, Reply: custody.ReplyHash(signed).Bytes(), ToldNode: owner}
		if owner == a.Node {
			return a.writeWord(tx, signed, r, annex)
		}
		if _, err := keepReply(tx, name, signed); err != nil {
			return err
		}
		if err := a.checkSaid(tx, r, 0); err != nil {
			return err
		}
		if err := a.sendWord(tx, owner, signed, r); err != nil {
			return err
		}
		return a.sendAnnex(tx, laneOfReply(r, postv1.Lane_LANE_BULK), annex, owner)
	})
	if err != nil {
		return nil, err
	}
	return told, nil
}

// writeWord takes what the owner itself says into its chain.
func (a *App) writeWord(tx *kitstore.Tx, signed *custodyv1.SignedReply, r *custodyv1.Reply, annex *custodyv1.AnnexLetter) error {
	w, err := a.begin(tx, r.GetReferral())
	if err != nil {
		return err
	}
	_, err = w.append(r.GetActor(), r.GetAnnexCommitment(), &custodyv1.Event{
		Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{Reply: signed}},
	})
	if err != nil {
		return legal(err)
	}
	if err := w.attach(annex, w.lane(), w.others()...); err != nil {
		return err
	}
	return w.close()
}

// tagged is a request about a referral as its caller knows it.
type tagged interface {
	GetName() string
	GetEtag() string
}

// checkTag refuses a referral that has changed since the caller read it, or that this node cannot show at all.
func (a *App) checkTag(tx *kitstore.Tx, name, tag string) error {
	if tag == "" {
		return nil
	}
	row, err := store.Referrals.Row(tx, kitstore.K(name))
	if errors.Is(err, kitstore.ErrNotFound) || err == nil && tag != etag(row.Version) {
		return fault.StaleEtag()
	}
	return err
}

// ownerOf is the owner as far as this node knows it, for somebody who has a part in the referral. The owner itself is refused what it
// has a call of its own for.
func (a *App) ownerOf(tx *kitstore.Tx, name string, r *custodyv1.Reply) (string, error) {
	chain, err := chainOf(tx, name)
	if err != nil {
		return "", err
	}
	wrong := r.GetCorrectionRequested().GetEvent()
	if chain != nil {
		if chain.State().Owner == a.Node && r.GetSafetyInformation() == nil {
			return "", fault.New(fault.WrongState, "This node owns the referral: write it into the referral itself.", "owner_node", a.Node)
		}
		if wrong != nil && !contains(chain, wrong) {
			return "", fault.InvalidField("event", "must be the hash of an event of the chain")
		}
		return chain.State().Owner, nil
	}
	offers, err := offersOf(tx, name)
	if err != nil {
		return "", err
	}
	if len(offers) == 0 {
		return "", fault.NotFound("referral")
	}
	o, err := a.asker(tx, name, offers)
	if err != nil {
		return "", err
	}
	if hash := custody.HashOf(o.record.GetOffered().GetEvent()); wrong != nil && string(wrong) != string(hash.Bytes()) {
		return "", fault.InvalidField("event", "must be the hash of the offer's event, which is all that this node knows")
	}
	return o.event.GetOwner(), nil
}

// asker is the offer of whoever is believed to own a referral of which this node has offers alone: of the node that began it, else of
// who asked first. Who sends another cannot turn away what is said to that one.
func (a *App) asker(tx *kitstore.Tx, referral string, offers []*referralv1.OfferRecord) (first *received, err error) {
	creator := custody.CreatedAt(referral)
	for _, record := range offers {
		o, err := a.openReceived(tx, referral, record)
		if err != nil {
			return nil, err
		}
		if o.event.GetOwner() == creator {
			return o, nil
		}
		if first == nil || record.GetReceiveTime().AsTime().Before(first.record.GetReceiveTime().AsTime()) {
			first = o
		}
	}
	return first, nil
}

func contains(chain *custody.Chain, hash []byte) bool {
	for _, l := range chain.Links() {
		if string(l.Hash.Bytes()) == string(hash) {
			return true
		}
	}
	return false
}
