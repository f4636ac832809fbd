package app

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
)

// handoverInfo keeps a sealed annex of a file from standing for anything else.
const handoverInfo = "amanat.custody.handover.v1"

// ExportHandover makes the file that travels with the escort: the chain as this node holds it, and the annexes that the node the
// person goes to should have, sealed to that node's referral service. An agency outside the network has no key, and what is not sealed may be
// read by whoever finds the file, so that it goes there without annexes. A party to the referral may make it at any time.
func (a *App) ExportHandover(ctx context.Context, name string) ([]byte, error) {
	f := &referralv1.HandoverFile{Referral: name, Node: a.Node, WriteTime: timestamppb.New(a.Now())}
	err := a.DB.View(ctx, func(r kitstore.Reader) error {
		chain, err := chainOf(r, name)
		if err != nil {
			return err
		}
		if chain == nil {
			return fault.NotFound("referral")
		}
		s := chain.State()
		f.Reference, f.Chain, f.ToNode = s.Submitted.GetReference(), chain.Message(), rules.Destination(s)
		if chosen := s.Chosen(); chosen != nil && (chosen.Live() || f.ToNode == "") { // where the person goes next
			f.ToNode = chosen.Offered.GetToNode()
		}
		return a.sealAnnexes(r, chain, f)
	})
	if err != nil {
		return nil, err
	}
	return custody.EncodeFile(f)
}

// sealAnnexes puts into a file what the next owner should read: the notes of submission and offer, and how the person travels.
func (a *App) sealAnnexes(r kitstore.Reader, chain *custody.Chain, f *referralv1.HandoverFile) error {
	if f.GetToNode() == "" || f.GetToNode() == a.Node {
		return nil
	}
	sealed := map[string]bool{}
	for _, l := range chain.Links() {
		commitment, d := l.Event.GetAnnexCommitment(), l.Event.GetDispatched()
		onTheRoad := d != nil && d == chain.State().Dispatched && d.GetToNode() == f.GetToNode()
		offered := l.Event.GetOffered() != nil && l.Event.GetOffered().GetExternal() == nil // which agency was asked before is nobody else's matter
		forNext := l.Event.GetSubmitted() != nil || offered || onTheRoad
		if !forNext || sealed[string(commitment)] {
			continue
		}
		sealed[string(commitment)] = true
		letter, err := a.annexBeside(r, f.GetReferral(), commitment)
		if err != nil {
			return err
		}
		if letter == nil {
			continue
		}
		plain, err := proto.Marshal(letter)
		if err != nil {
			return fmt.Errorf("marshal an annex: %w", err)
		}
		box, err := a.Roster.Seal(f.GetToNode(), "referral", handoverInfo, []byte(f.GetReferral()), plain)
		if err != nil {
			return fmt.Errorf("seal an annex to %s: %w", f.GetToNode(), err)
		}
		f.SealedAnnexes = append(f.SealedAnnexes, box)
	}
	return nil
}

// ImportHandover takes in a file that came with the escort: its chain as if it had come by the post from whoever wrote its last
// event, and the annexes that were sealed to this node. Everything in it is verified; a file that is held already is a no-op.
func (a *App) ImportHandover(ctx context.Context, request *referralv1.ImportHandoverRequest) (*referralv1.Referral, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	f := &referralv1.HandoverFile{}
	if err := custody.DecodeFile(request.GetFile(), f); err != nil {
		return nil, fault.InvalidField("file", err.Error())
	}
	chain, err := custody.Verify(a.Roster, f.GetChain().GetEvents(), nil)
	if err != nil || chain.State().Referral != f.GetReferral() {
		return nil, fault.InvalidField("file", "holds a chain that is not sound: somebody has changed it, or it is of another network")
	}
	if !chain.State().Party(a.Node) {
		return nil, fault.InvalidField("file", "is for another node: this one has no part in the referral")
	}
	annexes, err := a.openAnnexes(chain, f)
	if err != nil {
		return nil, err
	}
	if len(annexes) > 0 {
		if err := a.Annexes.Prepare(ctx, f.GetReferral()); err != nil {
			return nil, err
		}
	}
	taken := false
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		letter := &custodyv1.ChainLetter{Referral: f.GetReferral(), Chain: f.GetChain()}
		err := a.receiveChain(tx, chain.State().Owner, letter)
		if refused, ok := errors.AsType[*Refused](err); ok {
			return fault.New(fault.WrongState, "The chain of the file cannot be taken in here. Ask the giving unit for a new file.", "reason", refused.Reason)
		}
		if err != nil {
			return err
		}
		held, err := chainOf(tx, f.GetReferral())
		relation := custody.Compare(held, chain)
		if taken = relation == custody.Same || relation == custody.Behind; !taken || err != nil {
			return err
		}
		for _, annex := range annexes {
			if err := a.Annexes.Put(tx, annex); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !taken:
		return nil, fault.New(fault.WrongState, "The file hands over on a promise that this node does not know, or contradicts what it holds; it was not taken in, and the giving node is told. If the person is here, assert the arrival.")
	}
	return a.GetReferral(ctx, f.GetReferral())
}

// openAnnexes opens what was sealed to this node. An annex that the chain does not name, that does not open or is not sound spoils the file.
func (a *App) openAnnexes(chain *custody.Chain, f *referralv1.HandoverFile) (annexes []*custodyv1.AnnexLetter, err error) {
	if f.GetToNode() != a.Node {
		return nil, nil
	}
	spoilt := fault.InvalidField("file", "holds an annex that its chain does not name, that is too long, or that is not for this node")
	for _, box := range f.GetSealedAnnexes() {
		plain, err := a.Opener.Open(handoverInfo, []byte(f.GetReferral()), box)
		if err != nil {
			return nil, spoilt
		}
		letter := &custodyv1.AnnexLetter{}
		if err := proto.Unmarshal(plain, letter); err != nil {
			return nil, spoilt
		}
		if letter = soundAnnex(letter); letter.GetReferral() != f.GetReferral() || !names(chain, letter.GetAnnex()) {
			return nil, spoilt
		}
		annexes = append(annexes, letter)
	}
	return annexes, nil
}

// names says that an event of the chain has the annex.
func names(chain *custody.Chain, annex *custodyv1.Annex) bool {
	for _, l := range chain.Links() {
		if custody.CheckAnnex(annex, l.Event.GetAnnexCommitment()) == nil {
			return true
		}
	}
	return false
}
