package hub

import identityv1 "amanat.example/proto/amanat/identity/v1"

// User is what a service may do at the hub. Deploy turns it into the server's own options.
type User struct {
	Node, Service string
	// NKey is the user's public key.
	NKey string
	// Publish and Subscribe list the only subjects allowed.
	Publish, Subscribe []string
}

// Grant lists the subjects on which a service may publish for one purpose; none where it has no part in it.
type Grant func(node, service string) (publish []string)

// Users says what each service of the active nodes may do: publish what is granted, and get answers at an
// inbox of its own.
func Users(nodes []*identityv1.RosterNode, grants ...Grant) []User {
	var users []User
	for _, node := range nodes {
		if node.GetState() != identityv1.RosterNode_STATE_ACTIVE {
			continue
		}
		for _, service := range node.GetServices() {
			user := User{
				Node: node.GetNode(), Service: service.GetService(), NKey: service.GetHubNkey(),
				Subscribe: []string{inboxPrefix(node.GetNode(), service.GetService()) + ".>"},
			}
			for _, grant := range grants {
				user.Publish = append(user.Publish, grant(user.Node, user.Service)...)
			}
			users = append(users, user)
		}
	}
	return users
}

// Reading is what a service must be allowed to publish to read a durable consumer that was made beforehand.
func Reading(stream, durable string) []string {
	name := stream + "." + durable
	return []string{"$JS.API.CONSUMER.INFO." + name, "$JS.API.CONSUMER.MSG.NEXT." + name, "$JS.ACK." + name + ".>"}
}

func inboxPrefix(node, service string) string { return "_INBOX." + node + "." + service }
