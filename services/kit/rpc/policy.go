package rpc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// AnyCaller in a row's Callers stands for every service of this node that has a certificate.
const AnyCaller = "*"

// Row says who may call one method.
type Row struct {
	// Callers are the services of this node that may call, by name: "gateway", "referral",
	// "operator". At least one, else the server does not start.
	Callers []string
	// Roles are those of which the person must have at least one. Empty: no person is needed,
	// and a token that comes along is verified all the same.
	Roles []string
	// People are the roles of those for whom the gateway may call too, where Callers are services
	// that act by themselves.
	People []string
	// Deadline is the longest such a call may last. 0: the server's maximum for its kind.
	Deadline time.Duration
	// Early methods are served also while Config.Closed says that the service answers nothing yet.
	Early bool
}

// Policy has one row for every method a server serves, by full name such as
// `/amanat.referral.v1.ReferralService/AcceptOffer`. What is not in it is not served.
type Policy map[string]Row

// stockPolicy covers what every server serves besides its own services.
var stockPolicy = Policy{
	"/grpc.health.v1.Health/Check":                                   {Callers: []string{AnyCaller}, Early: true},
	"/grpc.health.v1.Health/List":                                    {Callers: []string{AnyCaller}, Early: true},
	"/grpc.health.v1.Health/Watch":                                   {Callers: []string{AnyCaller}, Early: true},
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      {Callers: []string{AnyCaller}, Early: true},
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": {Callers: []string{AnyCaller}, Early: true},
}

// cover gives each registered method its row. A service may narrow a stock row with one of its
// own. The error names everything that does not match, so that one start shows all of it.
func (p Policy) cover(methods []*method) error {
	var wrong []string
	registered := make(map[string]bool, len(methods))
	for _, m := range methods {
		registered[m.name] = true
		row, listed := p[m.name]
		if !listed {
			row, listed = stockPolicy[m.name]
		}
		switch {
		case !listed:
			wrong = append(wrong, m.name+" is registered but has no policy row")
		case len(row.Callers) == 0:
			wrong = append(wrong, m.name+" has a policy row that names no caller")
		default:
			m.row = row
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if !registered[name] {
			wrong = append(wrong, name+" has a policy row but is not registered")
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("rpc: policy and methods differ: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// Gateway is the service through which people call.
const Gateway = "gateway"

// May says whether a service may call, and the roles of which the person must then have one; none: no
// person is needed.
func (r Row) May(caller string) (roles []string, ok bool) {
	if caller == Gateway && len(r.People) > 0 {
		return r.People, true
	}
	return r.Roles, slices.Contains(r.Callers, caller) || slices.Contains(r.Callers, AnyCaller)
}
