package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

const (
	// TokenLife is how long a person token is good, at most.
	TokenLife = 5 * time.Minute
	// tokenSlack is how far the clocks of one node's machines may lie apart.
	tokenSlack  = 30 * time.Second
	tokenDomain = "amanat.person-token.v1"
)

// Why a person token is refused. A caller is told which: it says nothing of the person.
var (
	ErrTokenMalformed   = errors.New("the person token cannot be read or lacks a field")
	ErrTokenForeignNode = errors.New("the person token was issued at another node")
	ErrTokenIssuer      = errors.New("the person token was issued by a service that may not")
	ErrTokenSignature   = errors.New("the person token's signature does not verify")
	ErrTokenAudience    = errors.New("the person token is not meant for this service")
	ErrTokenExpired     = errors.New("the person token has expired, or begins in the future")
)

// IssueToken signs a person token in this service's name and answers it as it travels (a
// SignedPersonToken, marshalled). Where absent it fills the id, the node, the issue time (now)
// and the expiry (TokenLife later); the message given is left as it is. Person, roles, purpose
// and audience are needed.
func (s *Service) IssueToken(token *identityv1.PersonToken) ([]byte, error) {
	t := proto.CloneOf(token)
	if t.GetTokenId() == "" {
		id, err := uuid.NewRandom()
		if err != nil {
			return nil, fmt.Errorf("make a token id: %w", err)
		}
		t.TokenId = id.String()
	}
	if t.GetNode() == "" {
		t.Node = s.node
	}
	if t.GetIssueTime() == nil {
		t.IssueTime = timestamppb.Now()
	}
	if t.GetExpireTime() == nil {
		t.ExpireTime = timestamppb.New(t.GetIssueTime().AsTime().Add(TokenLife))
	}
	if t.GetNode() != s.node {
		return nil, fmt.Errorf("issue a person token: field node: %w", ErrTokenForeignNode)
	}
	if err := checkToken(t); err != nil {
		return nil, fmt.Errorf("issue a person token: %w", err)
	}
	data, err := proto.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("marshal a person token: %w", err)
	}
	return proto.Marshal(&identityv1.SignedPersonToken{
		Token: data, Service: s.name, Signature: s.Sign(tokenDomain, data),
	})
}

func checkToken(t *identityv1.PersonToken) error {
	missing := ""
	switch {
	case t.GetTokenId() == "":
		missing = "token_id"
	case t.GetPerson() == "":
		missing = "person"
	case len(t.GetRoles()) == 0:
		missing = "roles"
	case t.GetPurpose() == "":
		missing = "purpose"
	case len(t.GetAudience()) == 0:
		missing = "audience"
	case !t.GetIssueTime().IsValid():
		missing = "issue_time"
	case !t.GetExpireTime().IsValid():
		missing = "expire_time"
	}
	if missing != "" {
		return fmt.Errorf("%w: field %s is needed", ErrTokenMalformed, missing)
	}
	life := t.GetExpireTime().AsTime().Sub(t.GetIssueTime().AsTime())
	if life <= 0 || life > TokenLife {
		return fmt.Errorf("%w: field expire_time must be after issue_time and at most %s later", ErrTokenMalformed, TokenLife)
	}
	return nil
}

// VerifyToken answers the token in raw if it was signed by one of the issuers (service names of
// this node), names this node, has this service in its audience and is in date at now; else one
// of the ErrToken errors. Issuers are the gateway and, for an RPC that is forwarded, the services
// that may forward. Whoever gets the answer must not change it: what does not depend on time or
// issuers is judged once for each roster.
func (s *Service) VerifyToken(raw []byte, now time.Time, issuers []string) (*identityv1.PersonToken, error) {
	roster, digest := s.Roster(), sha256.Sum256(raw)
	known, ok := s.tokens.find(roster, digest)
	if !ok {
		var err error
		if known, err = s.verifySigned(roster, raw, issuers); err != nil {
			return nil, err
		}
		s.tokens.keep(roster, digest, known)
	}
	if !slices.Contains(issuers, known.issuer) {
		return nil, ErrTokenIssuer
	}
	t := known.token
	if !now.Before(t.GetExpireTime().AsTime()) || t.GetIssueTime().AsTime().After(now.Add(tokenSlack)) {
		return nil, ErrTokenExpired
	}
	return t, nil
}

// verifySigned judges all of a token but its time.
func (s *Service) verifySigned(roster *Roster, raw []byte, issuers []string) (known knownToken, err error) {
	signed, t := &identityv1.SignedPersonToken{}, &identityv1.PersonToken{}
	if proto.Unmarshal(raw, signed) != nil || proto.Unmarshal(signed.GetToken(), t) != nil {
		return known, ErrTokenMalformed
	}
	if t.GetNode() != s.node {
		return known, ErrTokenForeignNode
	}
	if !slices.Contains(issuers, signed.GetService()) {
		return known, ErrTokenIssuer
	}
	if err := roster.VerifyCurrent(s.node, signed.GetService(), tokenDomain, signed.GetToken(), signed.GetSignature()); err != nil {
		return known, ErrTokenSignature
	}
	if err := checkToken(t); err != nil {
		return known, err
	}
	if !slices.Contains(t.GetAudience(), s.name) {
		return known, ErrTokenAudience
	}
	return knownToken{token: t, issuer: signed.GetService()}, nil
}
