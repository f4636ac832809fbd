package app

import (
	"slices"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// soundAnnex is a letter of another node with what its annex's commitment covers: what else stands in it proves nothing, and has no bound. Nil
// for an annex that cannot be read, or is too long.
func soundAnnex(letter *custodyv1.AnnexLetter) *custodyv1.AnnexLetter {
	salt, content := letter.GetAnnex().GetSalt(), letter.GetAnnex().GetContent()
	if len(salt) != 32 || len(content) > maxAnnex || proto.Unmarshal(content, &custodyv1.AnnexContent{}) != nil {
		return nil
	}
	return &custodyv1.AnnexLetter{Referral: letter.GetReferral(), Annex: &custodyv1.Annex{Salt: salt, Content: content}}
}

// receiveAnnex keeps an annex under its own commitment: whatever it is, it can stand for nothing but what the chain, an offer or a reply
// names. It is kept from whoever has a part in the referral, and where the chain names it: nobody else can fill this node's file. One that
// belongs to a word that was passed on follows that to the owner.
func (a *App) receiveAnnex(tx *kitstore.Tx, from string, letter *custodyv1.AnnexLetter) error {
	if letter = soundAnnex(letter); letter == nil {
		return refuse(reasonAnnex)
	}
	annex, referral := letter.GetAnnex(), letter.GetReferral()
	chain, err := chainOf(tx, referral)
	if err != nil {
		return err
	}
	offers, err := offersOf(tx, referral)
	switch {
	case err != nil:
		return err
	case chain == nil && len(offers) == 0:
		return a.unknown(tx, referral)
	}
	held, err := store.Annexes.Has(tx, kitstore.K(referral, custody.Commit(annex).String()))
	if held || err != nil {
		return err
	}
	askedBy := false
	for _, record := range offers {
		o, err := a.openReceived(tx, referral, record)
		if err != nil {
			return err
		}
		askedBy = askedBy || o.event.GetOwner() == from
	}
	if chain == nil {
		if !askedBy {
			return refuse(reasonSender)
		}
		return a.keepAnnex(tx, letter)
	}
	s, named := chain.State(), names(chain, annex)
	switch {
	case named || askedBy || s.Party(from):
		if err := a.keepAnnex(tx, letter); err != nil {
			return err
		}
	case !s.Asked(from):
		restored, err := a.wasRestored(tx)
		if err == nil && !restored { // else it belongs to an answer to an offer that a restore took away
			err = refuse(reasonSender)
		}
		return err
	}
	if named || slices.Contains([]string{a.Node, from}, s.Owner) {
		return nil // what came beside a reply that was not recorded is dropped with it
	}
	return a.mail(tx, post.Outgoing{
		To: referralAt(s.Owner), Lane: lane(s.Submitted.GetUrgency()), Kind: kindAnnex, Subject: referral, Body: letter, Sealed: true,
	})
}
