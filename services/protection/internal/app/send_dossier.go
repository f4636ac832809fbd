package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// Kinds of letters about a person.
const (
	// kindDossier is what the receiving unit may learn of a person.
	kindDossier = "protection.dossier.v1"
	// kindWanted asks for one that did not come.
	kindWanted = "protection.dossier_wanted.v1"
)

// sendOwed sends the dossier of a person whom this node gives to another, once to a place. The case in which the person is now is
// sent: the received one, or else the one that was taken in here.
func (a *App) sendOwed(tx *kitstore.Tx, e *referralv1.ReferralChanged) error {
	record, err := a.giversCase(tx, e.GetReferral())
	if record == nil || err != nil {
		return err
	}
	node, offer, owed := rules.Owes(record, e, a.Node)
	if !owed {
		return nil
	}
	if err := a.sendDossier(tx, record, node, offer); err != nil {
		return err
	}
	record.DossierNode, record.DossierOffer = node, offer
	_, err = a.putCase(tx, record, "", a.Now())
	return err
}

// giversCase is the case in which a person is, or was last, at this node; nil for none.
func (a *App) giversCase(tx *kitstore.Tx, referral string) (*protectionv1.CaseRecord, error) {
	var last *protectionv1.CaseRecord
	for _, source := range []protectionv1.Case_Source{protectionv1.Case_SOURCE_INTAKE, protectionv1.Case_SOURCE_REFERRAL} {
		row, err := a.caseOf(tx, referral, source)
		if err != nil {
			return nil, err
		}
		if row.Value != nil && !row.Erased && (last == nil || row.Value.GetCase().GetReadingClosed() == "") {
			last = row.Value
		}
	}
	return last, nil
}

func (a *App) sendDossier(tx *kitstore.Tx, record *protectionv1.CaseRecord, node, offer string) error {
	c, lane := record.GetCase(), postv1.Lane_LANE_BULK
	if c.GetUrgency() == custodyv1.Urgency_URGENCY_HIGH {
		lane = postv1.Lane_LANE_URGENT
	}
	d := rules.Dossier(c, c.GetReferral(), offer, a.Now())
	d.Sequence = record.GetReferralSequence()
	return a.mail(tx, post.Outgoing{
		To: &postv1.Address{Node: node, Service: "protection"}, Lane: lane, Kind: kindDossier, Subject: c.GetReferral(), Body: d, Sealed: true,
	})
}

// mail queues a letter to another protection service. A node that takes no part in the network now, or has no such service, gets none, and keeps
// nobody here from working: when it is there again, who lacks a dossier asks for it.
func (a *App) mail(tx *kitstore.Tx, o post.Outgoing) error {
	if err := a.Post.Queue(tx, o); !errors.Is(err, post.ErrAbsent) {
		return err
	}
	return nil
}

// answerWanted sends a dossier again that did not come, or that a restored node has lost, while this node's own view of the referral
// owes it to whoever asks. Who asks for more is not answered: its own referral service tells it how things stand.
func (a *App) answerWanted(tx *kitstore.Tx, from *postv1.Address, letter *postv1.Letter) error {
	wanted := &protectionv1.DossierWanted{}
	if err := proto.Unmarshal(letter.GetBody(), wanted); err != nil {
		return post.Refuse(reasonBody)
	}
	if from.GetService() != "protection" {
		return post.Refuse(reasonSender)
	}
	for _, source := range []protectionv1.Case_Source{protectionv1.Case_SOURCE_REFERRAL, protectionv1.Case_SOURCE_INTAKE} {
		row, err := a.caseOf(tx, wanted.GetReferral(), source)
		if err != nil {
			return err
		}
		if row.Value == nil || row.Erased || row.Value.GetHolderNode() != from.GetNode() {
			continue
		}
		return a.sendDossier(tx, row.Value, from.GetNode(), row.Value.GetHolderOffer())
	}
	return nil
}

// TendDossiers asks for dossiers that are owed to this node and did not come, and drops those that nobody here awaits. It says when the
// next is due; zero when none is.
func (a *App) TendDossiers(ctx context.Context) (next time.Time, err error) {
	for {
		err = a.DB.View(ctx, func(r kitstore.Reader) error {
			if astray, err := a.astrayDossiers(r); len(astray) > 0 || err != nil {
				next = a.Now()
				return err
			}
			row, err := store.DossiersByDueTime.FirstPublic(r, kitstore.Range{})
			if errors.Is(err, kitstore.ErrNotFound) {
				next = time.Time{}
				return nil
			}
			next = row.Value.GetDueTime().AsTime()
			return err
		})
		if err != nil || next.IsZero() || next.After(a.Now()) {
			return next, err
		}
		if err := a.DB.Update(ctx, a.tendDue); err != nil {
			return time.Time{}, err
		}
	}
}

// restored says that the store was restored lately, or that it was found to stand in place of one that was lost.
func (a *App) restored() bool { return !a.DB.FirstLife() && a.DB.Age() < rules.Lately }

// firstAsked is how long a dossier that is owed to this node is waited for, and again after how long it is asked for once more.
func (a *App) firstAsked() (first, again time.Duration) {
	if a.restored() {
		return rules.AskedSoon, rules.AskedSoonAgain
	}
	return rules.FirstAsked, rules.AskedAgain
}

// BeginLife is what a start in a life that is not the store's first begins with: what is owed to this node is asked for soon, also where it was
// to be waited for: it was sent to a life that is lost. What the federal cell is told then, flow.Reports tells.
func (a *App) BeginLife(ctx context.Context) error {
	if !a.restored() {
		return nil
	}
	var after kitstore.Key
	for {
		err := a.DB.Update(ctx, func(tx *kitstore.Tx) (err error) {
			after, err = a.hasten(tx, after)
			return err
		})
		if err != nil || after == nil {
			return err
		}
	}
}

// hasten has a page of dossiers that did not come be asked for soon.
func (a *App) hasten(tx *kitstore.Tx, after kitstore.Key) (next kitstore.Key, err error) {
	soon := a.Now().Add(rules.AskedSoon)
	rows, next, err := store.DossiersByDueTime.PagePublic(tx, kitstore.Range{After: after}, fireAtOnce)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Value.GetReceiveTime() != nil || row.Value.GetDueTime().AsTime().Before(soon) {
			continue
		}
		d, err := a.received(tx, row.Value.GetDossier().GetReferral())
		if err != nil {
			return nil, err
		}
		d.DueTime = timestamppb.New(soon)
		if err := a.keep(tx, d); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// astrayDossiers are the referrals of dossiers that did not come and are to be asked for further ahead than any can: they were put off while the clock
// was wrong.
func (a *App) astrayDossiers(r kitstore.Reader) (referrals []string, err error) {
	beyond := kitstore.Range{After: kitstore.K(a.Now().Add(rules.Unclaimed + 1))}
	for len(referrals) < fireAtOnce {
		rows, next, err := store.DossiersByDueTime.PagePublic(r, beyond, fireAtOnce)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if row.Value.GetReceiveTime() == nil {
				referrals = append(referrals, row.Value.GetDossier().GetReferral())
			}
		}
		if beyond.After = next; next == nil {
			break
		}
	}
	return referrals, nil
}

func (a *App) tendDue(tx *kitstore.Tx) error {
	referrals, err := a.astrayDossiers(tx)
	if err != nil {
		return err
	}
	rows, _, err := store.DossiersByDueTime.PagePublic(tx, kitstore.Range{Before: kitstore.K(a.Now().Add(1))}, fireAtOnce)
	if err != nil {
		return err
	}
	for _, row := range rows {
		referrals = append(referrals, row.Value.GetDossier().GetReferral())
	}
	for _, referral := range referrals {
		if err := a.tend(tx, referral); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) tend(tx *kitstore.Tx, referral string) error {
	d, err := a.received(tx, referral)
	if err != nil {
		return err
	}
	if d.GetReceiveTime() != nil {
		d.Duty = rules.Over
		if err := a.end(tx, d, d.GetDossier().GetOffer(), codes.DossierClosingOfferEnded); err != nil {
			return err
		}
		return a.keep(tx, d)
	}
	_, again := a.firstAsked()
	d.DueTime = timestamppb.New(a.Now().Add(again))
	for _, node := range rules.MayHold(d) {
		err := a.mail(tx, post.Outgoing{
			To: &postv1.Address{Node: node, Service: "protection"}, Lane: postv1.Lane_LANE_BULK, Kind: kindWanted, Subject: referral,
			Body: &protectionv1.DossierWanted{Referral: referral},
		})
		if err != nil {
			return err
		}
	}
	return a.keep(tx, d)
}
