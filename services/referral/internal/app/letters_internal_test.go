package app

import (
	"errors"
	"testing"

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
