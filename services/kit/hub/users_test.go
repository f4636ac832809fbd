package hub_test

import (
	"slices"
	"testing"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	"amanat.example/services/kit/hub"
)

// Each service of an active node may do what every grant gives it, and read its own inbox alone; a node that has left may do nothing.
func TestUsers(t *testing.T) {
	service := func(name string) *identityv1.RosterService {
		return &identityv1.RosterService{Service: name, HubNkey: "U" + name}
	}
	nodes := []*identityv1.RosterNode{
		{Node: "punjab", State: identityv1.RosterNode_STATE_ACTIVE, Services: []*identityv1.RosterService{service("shelter"), service("referral")}},
		{Node: "sindh", State: identityv1.RosterNode_STATE_RETIRED, Services: []*identityv1.RosterService{service("shelter")}},
	}
	letters := func(node, service string) []string { return []string{"letters." + node + "." + service} }
	beds := func(node, service string) []string {
		if service != "shelter" {
			return nil
		}
		return hub.Reading("BEDS", node)
	}
	users := hub.Users(nodes, letters, beds)
	if len(users) != 2 {
		t.Fatalf("%d users, want those of punjab: %v", len(users), users)
	}
	for i, want := range [][]string{
		{"letters.punjab.shelter", "$JS.API.CONSUMER.INFO.BEDS.punjab", "$JS.API.CONSUMER.MSG.NEXT.BEDS.punjab", "$JS.ACK.BEDS.punjab.>"},
		{"letters.punjab.referral"},
	} {
		u := users[i]
		if !slices.Equal(u.Publish, want) || !slices.Equal(u.Subscribe, []string{"_INBOX.punjab." + u.Service + ".>"}) || u.NKey != "U"+u.Service {
			t.Errorf("%s may publish %v and subscribe to %v", u.Service, u.Publish, u.Subscribe)
		}
	}
}
