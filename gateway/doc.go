// Package gateway is the one door of a node for people and for HTTP: REST/JSON with its OpenAPI
// description, and pages that say how the node is.
//
// It owns the public address, and the API tokens that are let in. It holds no persons' data: it
// passes requests on to the node's services, each under a person token for that service alone.
//
// Invariants:
//   - TLS 1.3 towards people, mutual TLS 1.3 towards services; there is no insecure mode.
//   - A service whose address is not set is not served.
//   - It decides nothing about what a person may do: services do, by the person token.
//   - One address and one API token have a rate each, judged before the work they ask for.
//   - Every path that is not served is answered with problem details too.
//   - Told to stop, it finishes the requests under way before it ends.
package gateway
