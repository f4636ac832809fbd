package app

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// AssertArrival says that a person is here whom nobody handed over yet. It needs nothing but the slip that the escort carries: in an
// emergency nobody needs leave to move a child, and the record follows. Where this node owns the referral already the arrival is
// written at once. Saying it again while the referral has not followed is a no-op.
func (a *App) AssertArrival(ctx context.Context, request *referralv1.AssertArrivalRequest, actor *custodyv1.Actor) (shown *referralv1.AssertedArrival, err error) {
	if err := a.checkAssertion(request); err != nil {
		return nil, err
	}
	annex, err := a.newAnnex(request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		g, err := a.openAsserted(tx, request.GetName())
		if err != nil {
			return err
		}
		if again, err := g.again(); again || err != nil {
			shown = g.show()
			return err
		}
		if err := a.checkTag(tx, request.GetName(), request.GetEtag()); err != nil {
			return err
		}
		came, err := rules.ArriveTime(request.GetArriveTime(), g.now)
		if err != nil {
			return err
		}
		if err := g.takeIn(request); err != nil {
			return err
		}
		if err := g.assert(request, came, actor, annex); err != nil {
			return err
		}
		shown = g.show()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

func (a *App) checkAssertion(r *referralv1.AssertArrivalRequest) error {
	if err := codes.CheckFields("identification", codes.Identification, r.GetIdentification()); err != nil {
		return err
	}
	switch {
	case rules.UnitNode(r.GetUnit()) != a.Node:
		return fault.InvalidField("unit", "must be the unit of this node that has the person")
	case r.GetGroup() != "" && a.checkNode("group", r.GetGroup()) != nil:
		return fault.InvalidField("group", "must be a bed group of this node")
	case r.GetNeeds() != nil:
		return codes.CheckNeeds("needs", r.GetNeeds())
	}
	if _, known := a.Roster.Node(rules.UnitNode(r.GetName())); !known { // one that is suspended is told once it is back
		return unknownNode("name")
	}
	return nil
}

// asserted is an arrival at this node, inside a transaction.
type asserted struct {
	*App
	tx       *kitstore.Tx
	now      time.Time
	referral string
	record   *referralv1.ArrivalRecord
	reply    *custodyv1.Reply // of the record
	work     *work            // over the chain; nil when this node holds none
	bedAsked bool             // the shelter is asked for a bed
}

func (a *App) openAsserted(tx *kitstore.Tx, referral string) (*asserted, error) {
	g := &asserted{App: a, tx: tx, now: a.Now(), referral: referral}
	chain, err := chainOf(tx, referral)
	if err != nil {
		return nil, err
	}
	if chain != nil {
		g.work = &work{App: a, tx: tx, now: g.now, chain: chain, stored: len(chain.Links())}
	}
	return g, g.load()
}

// load reads the record, where there is one.
func (g *asserted) load() (err error) {
	g.record, err = optional(store.Arrivals.Get(g.tx, kitstore.K(g.referral)))
	if err != nil || g.record == nil {
		return err
	}
	g.reply, err = custody.OpenReply(g.Roster, g.record.GetReply())
	return err
}

// again says that the arrival was asserted before and waits for the referral, or that it stands; or why it cannot be asserted.
func (g *asserted) again() (bool, error) {
	if g.record != nil && !g.record.GetTaken() {
		return true, nil
	}
	if g.work == nil {
		if rules.UnitNode(g.referral) == g.Node {
			return false, fault.NotFound("referral")
		}
		return false, nil
	}
	s := g.work.chain.State()
	_, err := rules.Assert(s, g.Node)
	if err != nil && g.record != nil && s.Owner == g.Node && here(s.State) {
		return true, nil
	}
	return false, err
}

// assert stores what is said, and says it; the owner itself writes the arrival.
func (g *asserted) assert(request *referralv1.AssertArrivalRequest, came time.Time, actor *custodyv1.Actor, annex *custodyv1.AnnexLetter) error {
	if annex != nil {
		if err := g.keepAnnex(g.tx, annex); err != nil {
			return err
		}
	}
	g.record = &referralv1.ArrivalRecord{AssertTime: timestamppb.New(g.now), BedAsked: g.bedAsked}
	g.reply = &custodyv1.Reply{
		Referral: g.referral, Node: g.Node, Actor: actor, AnnexCommitment: commitment(annex),
		Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{
			ArriveTime: timestamppb.New(came), Identification: request.GetIdentification(), Unit: request.GetUnit(),
		}},
	}
	if err := g.sign(); err != nil {
		return err
	}
	still, err := g.standsStill()
	if err != nil {
		return err
	}
	if g.work != nil && !still {
		if write, err := rules.Assert(g.work.chain.State(), g.Node); err != nil || write {
			return g.writeAtOnce(err)
		}
	}
	if err := g.put(); err != nil {
		return err
	}
	if err := g.announce("asserted"); err != nil {
		return err
	}
	if still && g.work.chain.State().Owner == g.Node { // it is written when the referral goes on
		return g.work.wait()
	}
	return g.say()
}

// standsStill says that the chain must not be written to now.
func (g *asserted) standsStill() (bool, error) {
	if g.work == nil {
		return false, nil
	}
	return g.work.still()
}

// writeAtOnce writes the arrival as the owner.
func (g *asserted) writeAtOnce(err error) error {
	if err != nil {
		return err
	}
	row, err := getReferral(g.tx, g.referral)
	if err != nil {
		return err
	}
	if err := g.write(); err != nil {
		return legal(err)
	}
	_, err = g.work.end(row.Value)
	return err
}

// sign says it by the chain as it is known now: how many arrivals at this node it had, plus one.
func (g *asserted) sign() error {
	g.reply.GetArrivalAsserted().Ordinal = 1
	if g.work != nil {
		g.reply.GetArrivalAsserted().Ordinal = g.work.chain.State().Arrivals[g.Node] + 1
	}
	g.reply.Time = timestamppb.New(g.now)
	signed, err := custody.SignReply(g.Signer, g.reply)
	g.record.Reply = signed
	return err
}

// known are the owner and the reference as far as they are known here: by the chain, or else the node that began the referral, which
// passes it on. Who only made an offer is not told: anybody who knows the referral's name can send one, and would learn where the person is.
func (g *asserted) known() (owner, reference string, err error) {
	if g.work != nil {
		s := g.work.chain.State()
		return s.Owner, s.Submitted.GetReference(), nil
	}
	creator := custody.CreatedAt(g.referral)
	offers, err := offersOf(g.tx, g.referral)
	if err != nil || len(offers) == 0 {
		return creator, "", err
	}
	o, err := g.asker(g.tx, g.referral, offers)
	if err != nil {
		return "", "", err
	}
	return creator, o.event.GetOffered().GetReference(), nil
}

// say sends it to the owner.
func (g *asserted) say() error {
	to, _, err := g.known()
	if err != nil {
		return err
	}
	g.record.ToldNode = to
	if err := g.put(); err != nil {
		return err
	}
	return g.sendWord(g.tx, to, g.record.GetReply(), g.reply)
}

// put stores it with its deadline: the owner must have followed by then, else it is said again and a person is told.
func (g *asserted) put() error {
	if err := store.Arrivals.Put(g.tx, kitstore.K(g.referral), g.record); err != nil {
		return err
	}
	key := store.ArrivalDeadline(g.referral)
	held, err := optional(store.Deadlines.Get(g.tx, key))
	if err != nil {
		return err
	}
	var next *referralv1.DeadlineRecord
	if !g.record.GetTaken() {
		_, reference, err := g.known()
		if err != nil {
			return err
		}
		next = rules.NextArrival(g.referral, reference, g.reply.GetArrivalAsserted().GetUnit(), held, g.now, g.Limits)
	}
	return g.putDeadline(g.tx, key, held, next)
}

func (g *asserted) announce(word string) error {
	return g.Events.Append(g.tx, "referral.arrival."+word+".v1", g.referral, g.now, &referralv1.ArrivalAsserted{
		Referral: g.referral, Unit: g.reply.GetArrivalAsserted().GetUnit(), ToldNode: g.record.GetToldNode(),
	})
}

func (g *asserted) show() *referralv1.AssertedArrival {
	if g.record == nil {
		return nil
	}
	b := g.reply.GetArrivalAsserted()
	shown := &referralv1.AssertedArrival{
		Referral: g.referral, Unit: b.GetUnit(), ArriveTime: b.GetArriveTime(), Identification: b.GetIdentification(),
		AssertTime: g.record.GetAssertTime(), Taken: g.record.GetTaken(), ToldNode: g.record.GetToldNode(),
	}
	if held, err := store.Deadlines.Get(g.tx, store.ArrivalDeadline(g.referral)); err == nil {
		shown.DueTime = held.GetDeadline().GetDueTime()
	}
	return shown
}

// takeIn gives the person the bed that was held for them, whatever became of the offer since; or else one of the group named.
func (g *asserted) takeIn(request *referralv1.AssertArrivalRequest) error {
	offers, err := offersOf(g.tx, g.referral)
	if err != nil {
		return err
	}
	needs := request.GetNeeds()
	if g.work != nil && needs == nil {
		needs = g.work.chain.State().Submitted.GetNeeds()
	}
	for _, record := range offers {
		o, err := g.openRecord(g.tx, g.referral, record)
		if err != nil {
			return err
		}
		if needs == nil {
			needs = o.event.GetOffered().GetNeeds()
		}
		b, err := o.bed()
		if err != nil {
			return err
		}
		if b == noBed || record.GetAdmitted() {
			continue
		}
		g.bedAsked = true
		return o.admitAtOnce(b)
	}
	switch {
	case request.GetGroup() == "":
		return nil
	case needs == nil:
		return fault.InvalidField("needs", "must say what the person needs, since this node knows nothing of the referral yet")
	}
	g.bedAsked = true
	id := "arrival-" + custody.HashOf([]byte(g.referral+g.now.UTC().Format(time.RFC3339Nano))).String()
	return g.command(g.tx, outbox.Command{
		ID: id, Method: shelterv1.ShelterService_AdmitWalkIn_FullMethodName, Subject: g.referral,
		Request: &shelterv1.AdmitWalkInRequest{Group: request.GetGroup(), Quantity: 1, Needs: needs, RequestId: id},
	})
}

// walkedIn takes in whether the shelter service has a bed for somebody at the door. Where it refuses one they are given what is held for them, or a
// person is told.
func (a *App) walkedIn(tx *kitstore.Tx, r outbox.Result) error {
	if r.Fault == nil {
		return nil
	}
	if err := a.noted(tx, r); err != nil {
		return err
	}
	if err := noteBed(tx, r.Command.Subject, false); err != nil {
		return err
	}
	offers, err := offersOf(tx, r.Command.Subject)
	if err != nil {
		return err
	}
	var last *received
	pending := false
	for _, record := range offers {
		o, err := a.openRecord(tx, r.Command.Subject, record)
		if err != nil {
			return err
		}
		if given, err := o.giveBed(); given || err != nil {
			return err
		}
		last, pending = o, pending || o.record.GetState() == custodyv1.OfferState_OFFER_STATE_ACCEPTING
	}
	switch {
	case pending: // of that one it is given, or told
		return nil
	case last != nil:
		return last.tellBedLost()
	}
	g, err := a.openAsserted(tx, r.Command.Subject)
	if err != nil || g.record == nil {
		return err
	}
	return g.announce("bed-refused")
}

// admitAtOnce turns a hold into a stay though nobody has chosen it yet: one that may be tentative is confirmed first, whatever became of
// this person's own offer, since it may be held for those who go together with them.
func (o *received) admitAtOnce(b bedState) error {
	if b == heldBed && !rules.Promised(o.record.GetState()) {
		if err := o.confirmHold("confirm-arrival-"); err != nil {
			return err
		}
	}
	if err := o.admit(); err != nil {
		return err
	}
	return o.put()
}
