// Package rpctest tries a service with everything that must be refused, through its real server:
// mutual TLS, the real interceptors, the real store. It derives bad requests from a valid one by
// the request's descriptor, and bad callers and tokens from the policy, so that a new field or a
// new RPC is tried from its first day: an RPC without a valid request fails the test. Of a stream it tries the opening. And it
// holds that people can come to an RPC, by its route, if and only if the policy lets the gateway call it.
//
// Of every refusal it holds: the right code, an ErrorInfo of the service, a sentence, the field
// that is at fault named, nothing of what was sent repeated, and no row written: neither in the
// service's store nor, where a test watches it, in the file of its keys.
//
// For histories, whose answers must have an order, [Outages] have a service lose its power while callers work, and a [Switch] puts its
// next life behind the server that goes on listening.
package rpctest
