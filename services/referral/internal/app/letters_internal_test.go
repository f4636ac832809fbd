package app

import (
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
)

// What a rule forbids where no rule should is refused: it would be tried for ever, and hold up all that comes behind it.
func TestALetterIsNeverAJam(t *testing.T) {
	a, disk := &App{Log: logging.Discard()}, errors.New("the disk is full")
	for name, c := range map[string]struct {
		err     error
		refused bool
	}{
		"nothing":         {nil, false},
		"a rule":          {fault.NotFound("referral"), true},
		"while it stands": {moving(true, nil), false},
		"the store":       {disk, false},
		"a refusal":       {refuse(reasonBody), true},
	} {
		err := a.neverAJam(c.err, &postv1.Letter{Subject: "nodes/punjab/referrals/1"})
		if _, refused := errors.AsType[*Refused](err); refused != c.refused || !refused && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A node counts for each reply of its own no less than the event takes that records it, whoever owns the referral by then.
func TestNoEventTakesMoreAroundAReplyThanIsCounted(t *testing.T) {
	node, hash := strings.Repeat("n", 31), make([]byte, 32)
	reply := make([]byte, maxReply)
	size := proto.Size(&custodyv1.Event{
		Referral: "nodes/" + node + "/referrals/" + strings.Repeat("0", 36), Owner: node, Epoch: math.MaxUint32, Sequence: math.MaxUint64,
		PreviousHash: hash, AnnexCommitment: hash, Actor: (&App{}).self(), Time: &timestamppb.Timestamp{Seconds: 1 << 40, Nanos: 999999999},
		Body: &custodyv1.Event_ReplyRecorded{ReplyRecorded: &custodyv1.ReplyRecorded{
			Reply: &custodyv1.SignedReply{Reply: reply, Signature: make([]byte, 64)},
		}},
	})
	if size-len(reply) > aroundReply {
		t.Errorf("an event takes %d bytes around a reply", size-len(reply))
	}
}
