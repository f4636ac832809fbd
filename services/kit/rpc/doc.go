// Package rpc is how the services of one node call each other: a gRPC server and a client with
// everything decided that would otherwise be decided again in each service.
//
// It owns the order in which a call is judged. Every call, unary or stream, passes these steps:
//
//  1. request id (taken from `amanat-request-id` or made), metrics, access log line;
//  2. deadline: a call without one gets the default, one above the maximum is cut to it;
//  3. peer: a certificate of this node's own authority, by mutual TLS;
//  4. policy row: the calling service is named in it, else NOT_ALLOWED;
//  5. person token, where the row asks for roles or the call carries one;
//  6. request: well-formed, then the rules of its proto (protovalidate);
//  7. the handler;
//  8. audit: where the reply's type can carry marked fields, a durable row precedes the reply.
//
// Invariants:
//   - A method without a policy row, or a row without a method, and the server does not start.
//   - A method whose reply type can carry marked fields and no audit hook: it does not start.
//   - A reply with marked fields whose audit row could not be written is not sent.
//   - An error leaves as a status with ErrorInfo (domain `<service>.amanat`). An error that is no
//     kit/fault leaves as INTERNAL with a random id; its cause is in the log alone.
//   - No log line, metric or error holds a request's or a reply's content.
//   - A panic ends its call, never the process.
package rpc
