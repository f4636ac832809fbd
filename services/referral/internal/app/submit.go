package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/reference"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// optional turns "no such row" into the zero value.
func optional[M any](m M, err error) (M, error) {
	if errors.Is(err, kitstore.ErrNotFound) {
		var none M
		return none, nil
	}
	return m, err
}

// SubmitReferral begins a referral and asks one unit. The same key with the same body answers
// with the referral it began, for ever, in whatever state that is by now.
func (a *App) SubmitReferral(ctx context.Context, request *referralv1.SubmitReferralRequest) (shown *referralv1.Referral, err error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	id, err := a.NewID()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	name := a.parent() + "/referrals/" + id
	annex, err := a.newAnnex(name, &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	asking, err := a.newAsking(request.GetExternal())
	if err != nil {
		return nil, err
	}
	w, refused := a.compose(ctx, request, name, nil, asking, annex)
	if refused == nil && (annex != nil || w.asked.annex != nil) { // Of a submission that is refused no key is left.
		if err := a.Annexes.Prepare(ctx, name); err != nil {
			return nil, err
		}
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		// What was submitted before is answered first: it was right then, whatever it is now.
		if shown, err = a.submitted(tx, request); shown != nil || err != nil {
			return err
		}
		if err := a.checkCase(tx, request); err != nil {
			return err
		}
		if refused != nil {
			return refused
		}
		w.tx = tx
		shown, err = w.submit(request, annex)
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, nil
}

// submitted is the referral that this key began before; nil when it is new.
func (a *App) submitted(tx *kitstore.Tx, request *referralv1.SubmitReferralRequest) (*referralv1.Referral, error) {
	row, err := store.ReferralsByRequest.First(tx, kitstore.Range{Prefix: kitstore.K(request.GetRequestId())})
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	same := proto.Equal(row.Value.GetRequest(), withoutText(request))
	switch {
	case row.Value.GetRequest().GetParent() == "": // it came back from another node, and with what it was asked is not known
		same = true
	case same:
		note, err := a.sameNote(tx, row.Value, request.GetNote())
		agency, failed := a.sameAgency(tx, row.Value, request.GetExternal())
		if err := errors.Join(err, failed); err != nil {
			return nil, err
		}
		same = note && agency
	}
	if !same {
		return nil, fault.New(fault.IdempotencyMismatch, "This request_id began another referral. Use a new one for a new referral.",
			"referral", row.Value.GetReferral().GetName(), "begun_by", request.GetRequestId(), "request_id", request.GetRequestId())
	}
	return a.show(tx, row)
}

// checkCase refuses a second referral of a case that has one. Who asks may have forgotten that one, when their store was restored: it is named
// with the key that began it.
func (a *App) checkCase(tx *kitstore.Tx, request *referralv1.SubmitReferralRequest) error {
	if len(request.GetCaseFlowId()) == 0 {
		return nil
	}
	row, err := store.ReferralsByCase.First(tx, kitstore.Range{Prefix: kitstore.K(request.GetCaseFlowId())})
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.New(fault.WrongState, "The case has a referral already. Follow that one; when it has ended in vain the case can be referred again.",
		"referral", row.Value.GetReferral().GetName(), "begun_by", row.Value.GetRequest().GetRequestId(), "request_id", request.GetRequestId())
}

// withoutText is a submission without what people wrote, which is kept sealed.
func withoutText(request *referralv1.SubmitReferralRequest) *referralv1.SubmitReferralRequest {
	bare := proto.CloneOf(request)
	bare.Note = ""
	if bare.GetExternal() != nil {
		bare.External = &custodyv1.Agency{Kind: bare.GetExternal().GetKind()}
	}
	return bare
}

// sameNote compares a note with the one kept sealed. One that was erased is taken for the same.
func (a *App) sameNote(tx *kitstore.Tx, record *referralv1.ReferralRecord, note string) (bool, error) {
	if len(record.GetNoteCommitment()) == 0 || note == "" {
		return len(record.GetNoteCommitment()) == 0 && note == "", nil
	}
	content, err := a.annexContent(tx, record.GetReferral().GetName(), custody.Hash(record.GetNoteCommitment()).String())
	if errors.Is(err, kitstore.ErrNotFound) {
		return true, nil
	}
	return content.GetNote() == note, err
}

// compose judges a submission and signs its two events, before the transaction: they depend on nothing that is stored, and
// signing takes longer than all else that the transaction does.
func (a *App) compose(ctx context.Context, request *referralv1.SubmitReferralRequest, name string, together []string, asking []byte, annex *custodyv1.AnnexLetter) (*work, error) {
	w := &work{App: a, now: a.Now(), chain: &custody.Chain{}}
	if err := rules.CheckSubmit(request, a.Node, w.now); err != nil {
		return nil, err
	}
	var err error
	if w.asked, err = a.checkAsked(request.GetToUnit(), request.GetExternal(), asking); err != nil {
		return nil, err
	}
	w.asked.annex = annex
	if w.asked.external != nil {
		if w.asked.annex, err = a.newAnnex(name, &custodyv1.AnnexContent{Agency: request.GetExternal()}); err != nil {
			return nil, err
		}
	}
	answerBy, err := rules.AnswerBy(request.GetAnswerBy(), request.GetUrgency(), w.now, a.Limits)
	if err != nil {
		return nil, err
	}
	if w.number, err = a.references.next(ctx, a.DB); err != nil {
		return nil, err
	}
	seal, err := a.sealOrigin(name, request)
	if err != nil {
		return nil, err
	}
	node, _ := a.Roster.Node(a.Node)
	body := &custodyv1.Submitted{
		Kind: request.GetKind(), Service: request.GetService(), Urgency: request.GetUrgency(),
		Reasons: request.GetReasons(), Needs: request.GetNeeds(), FlowId: a.flowID(request.GetRequestId()), Unit: request.GetUnit(),
		Reference: reference.New(node.GetProvince(), w.now, w.number), Together: together, OriginSeal: seal,
	}
	if consent := request.GetConsent(); consent != nil {
		body.Ground = &custodyv1.Submitted_Consent{Consent: consent}
	} else {
		body.Ground = &custodyv1.Submitted_Override{Override: request.GetOverride()}
	}
	_, err = w.append(request.GetActor(), commitment(annex), &custodyv1.Event{
		Referral: name, Body: &custodyv1.Event_Submitted{Submitted: body},
	})
	if err != nil {
		return nil, legal(err)
	}
	if err := w.offer(request.GetActor(), w.asked, answerBy, together); err != nil {
		return nil, legal(err)
	}
	return w, nil
}

// submit stores what was composed, and sends it.
func (w *work) submit(request *referralv1.SubmitReferralRequest, annex *custodyv1.AnnexLetter) (*referralv1.Referral, error) {
	last, err := optional(store.Counters.Get(w.tx, store.ReferenceKey))
	if err != nil {
		return nil, err
	}
	if w.number > last.GetValue() {
		if err := store.Counters.Put(w.tx, store.ReferenceKey, wrapperspb.UInt64(w.number)); err != nil {
			return nil, err
		}
	}
	record := &referralv1.ReferralRecord{Request: withoutText(request), NoteCommitment: commitment(annex)}
	if w.asked.external == nil {
		if err := w.attach(annex, w.lane(), w.asked.node()); err != nil {
			return nil, err
		}
		return w.end(record)
	}
	record.AgencyCommitment = commitment(w.asked.annex)
	if err := errors.Join(w.attach(annex, w.lane()), w.attach(w.asked.annex, w.lane())); err != nil {
		return nil, err
	}
	return w.end(record)
}

// checkTakesPart refuses a name of a node that takes no part.
func (a *App) checkTakesPart(field, name string) error {
	if !a.takesPart(rules.UnitNode(name)) {
		return unknownNode(field)
	}
	return nil
}

func unknownNode(field string) error {
	return fault.New(fault.UnknownNode, "The node takes no part in this network. Choose one that does.", "field", field).
		WithFields(fault.Violation{Field: field, Sentence: "must be of a node that takes part in this network"})
}

// takesPart says that a node can be referred to and written to now.
func (a *App) takesPart(node string) bool {
	n, known := a.Roster.Node(node)
	return known && n.GetState() == identityv1.RosterNode_STATE_ACTIVE && refers(n)
}

// references numbers this node's referrals. The number of a submission that failed stays unused.
type references struct {
	mu   sync.Mutex
	last uint64 // 0: not read yet
}

func (r *references) next(ctx context.Context, db *kitstore.DB) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == 0 {
		err := db.View(ctx, func(reader kitstore.Reader) error {
			stored, err := optional(store.Counters.Get(reader, store.ReferenceKey))
			r.last = stored.GetValue()
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	r.last++
	return r.last, nil
}
