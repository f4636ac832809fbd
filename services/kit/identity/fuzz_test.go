package identity

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/fuzztest"
)

// What a person token says holds only if a service that may issue it signed it; whatever else comes is refused with one of six sentences,
// none of which repeats it. The gateway signs what the run has made of a good token: a service that is taken over is no way in for more.
func FuzzPersonToken(f *testing.F) {
	root := network(f)
	gateway, protection := load(f, root, "sindh", "gateway"), load(f, root, "sindh", "protection")
	start := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	good := &identityv1.PersonToken{
		TokenId: "1", Node: "sindh", Person: "nodes/sindh/workers/1", Roles: []string{"case-worker"}, Purpose: "casework",
		Audience: []string{"protection"}, IssueTime: timestamppb.New(start), ExpireTime: timestamppb.New(start.Add(TokenLife)),
	}
	said, err := proto.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := proto.Marshal(&identityv1.SignedPersonToken{Token: said, Service: "gateway", Signature: make([]byte, 64)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed, said, []byte{})
	f.Add(signed[:20], said[:20], []byte{1, 2, 3})
	f.Add([]byte{}, []byte{}, []byte{0, 4, 2, 2, 0, 9, 1, 3})
	all := []error{ErrTokenMalformed, ErrTokenForeignNode, ErrTokenIssuer, ErrTokenSignature, ErrTokenAudience, ErrTokenExpired}
	judge := func(t *testing.T, raw []byte) *identityv1.PersonToken {
		got, err := protection.VerifyToken(raw, start.Add(time.Minute), []string{"gateway"})
		if err == nil {
			return got
		}
		if !slices.ContainsFunc(all, func(one error) bool { return errors.Is(err, one) }) {
			t.Errorf("refused with %v", err)
		}
		return nil
	}
	f.Fuzz(func(t *testing.T, raw, token, choices []byte) {
		if got := judge(t, raw); got != nil {
			t.Errorf("nobody signed it, and it is believed: %v", got)
		}
		if len(choices) > 0 {
			changed := proto.CloneOf(good)
			fuzztest.Mutate(changed, fuzztest.NewChoices(choices))
			token, _ = proto.Marshal(changed)
		}
		raw, err := proto.Marshal(&identityv1.SignedPersonToken{Token: token, Service: "gateway", Signature: gateway.Sign(tokenDomain, token)})
		if err != nil {
			t.Fatal(err)
		}
		got := judge(t, raw)
		if got == nil {
			return
		}
		life := got.GetExpireTime().AsTime().Sub(got.GetIssueTime().AsTime())
		if got.GetNode() != "sindh" || got.GetPerson() == "" || len(got.GetRoles()) == 0 || got.GetPurpose() == "" || got.GetTokenId() == "" ||
			!slices.Contains(got.GetAudience(), "protection") || life <= 0 || life > TokenLife || !start.Add(time.Minute).Before(got.GetExpireTime().AsTime()) {
			t.Errorf("believed: %v", got)
		}
		if forged := append(slices.Clone(raw[:len(raw)-1]), raw[len(raw)-1]^1); judge(t, forged) != nil {
			t.Error("a signature that was changed is believed")
		}
	})
}
