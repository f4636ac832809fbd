package app

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// flowID is the flow of the referral that a call begins. The same call begins the same flow, also where what it began first was lost: so the
// federal cell counts it once. It outlives a restore as the key file does.
func (a *App) flowID(requestID string) []byte {
	return a.Annexes.Keys.BlindIndex("flow", []byte(requestID))[:16]
}

// sealOrigin seals by which call and of which case a referral begins, for this node alone.
func (a *App) sealOrigin(referral string, request *referralv1.SubmitReferralRequest) ([]byte, error) {
	raw, err := proto.Marshal(&referralv1.SubmissionKey{RequestId: request.GetRequestId(), CaseFlowId: request.GetCaseFlowId()})
	if err != nil {
		return nil, fmt.Errorf("marshal the key of a submission: %w", err)
	}
	box, err := a.originBox()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(raw)+box.Overhead())
	if _, err := io.ReadFull(a.Random, nonce); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	return box.Seal(nonce, nonce, raw, []byte(referral)), nil
}

// openOrigin is what this node sealed; nil where there is nothing, or where its key file is another by now.
func (a *App) openOrigin(referral string, sealed []byte) (*referralv1.SubmissionKey, error) {
	box, err := a.originBox()
	if err != nil || len(sealed) < box.NonceSize() {
		return nil, err
	}
	raw, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], []byte(referral))
	if err != nil {
		return nil, nil
	}
	key := &referralv1.SubmissionKey{}
	return key, proto.Unmarshal(raw, key)
}

func (a *App) originBox() (cipher.AEAD, error) {
	block, err := aes.NewCipher(a.Annexes.Keys.BlindIndex("origin seal", nil))
	if err != nil {
		return nil, fmt.Errorf("key the origin's seal: %w", err)
	}
	return cipher.NewGCM(block)
}

// knowAgain notes by which call a chain began that came back to its origin, and of which case. Where that call has begun another meanwhile, or
// the case has another, there are two for one person: a person must end one of them.
func (w *work) knowAgain(record *referralv1.ReferralRecord) error {
	s := w.chain.State()
	if record.GetRequest() != nil || s.Origin != w.Node {
		return nil
	}
	key, err := w.openOrigin(s.Referral, s.Submitted.GetOriginSeal())
	if key == nil || err != nil {
		return err
	}
	request := &referralv1.SubmitReferralRequest{RequestId: key.GetRequestId(), CaseFlowId: key.GetCaseFlowId()}
	if store.Holds(record.GetReferral()) {
		switch err := w.checkCase(w.tx, request); {
		case err != nil && fault.ReasonOf(err) != fault.WrongState:
			return err
		case err != nil:
			w.Log.Error("a case has two referrals, one that came back and one begun meanwhile; a person must end one of them", logging.Referral(s.Referral))
		}
	}
	_, err = store.ReferralsByRequest.First(w.tx, kitstore.Range{Prefix: kitstore.K(request.GetRequestId())})
	if errors.Is(err, kitstore.ErrNotFound) {
		record.Request, err = request, nil
	}
	return err
}
