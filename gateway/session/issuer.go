package session

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/identity"
)

// renewBefore is how long before its end a person token is no longer used for a new call: longer
// than a call lasts, so that a service that forwards it finds it good.
const renewBefore = time.Minute

// Issuer makes person tokens, and uses each for as long as it is good. It is safe for concurrent use.
type Issuer struct {
	identity *identity.Service
	now      func() time.Time

	mu     sync.Mutex
	issued map[audience]issued
}

// audience is one grant at one service. A file read anew gives new grants, so what was issued
// under an old one is not used again.
type audience struct {
	grant   *Grant
	service string
}

type issued struct {
	raw []byte
	end time.Time
}

// NewIssuer issues in the name of a service, the gateway.
func NewIssuer(id *identity.Service, now func() time.Time) *Issuer {
	return &Issuer{identity: id, now: now, issued: make(map[audience]issued)}
}

// Token is a person token for one service, as rpc.WithPersonToken takes it.
func (i *Issuer) Token(g *Grant, service string) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now, key := i.now(), audience{g, service}
	if have, ok := i.issued[key]; ok && now.Before(have.end.Add(-renewBefore)) {
		return have.raw, nil
	}
	for key, have := range i.issued { // What has ended would else stay for ever.
		if !now.Before(have.end) {
			delete(i.issued, key)
		}
	}
	end := now.Add(identity.TokenLife)
	if end.After(g.ExpireTime) {
		end = g.ExpireTime
	}
	raw, err := i.identity.IssueToken(&identityv1.PersonToken{
		Person: g.Person, Roles: g.Roles, Unit: g.Unit, Purpose: g.Purpose, Audience: []string{service},
		IssueTime: timestamppb.New(now), ExpireTime: timestamppb.New(end),
	})
	if err != nil {
		return nil, err
	}
	i.issued[key] = issued{raw, end}
	return raw, nil
}
