// Package fault is how a use case says that it cannot do what was asked.
//
// An [Error] has a reason a program can read, a sentence a person can act on, and metadata of
// ids and codes. It knows nothing of gRPC, so rules and use cases may make one; kit/rpc turns
// it into a status with google.rpc.ErrorInfo (domain `<service>.amanat`) and field violations,
// and back again at the caller's end.
//
// Invariant: a sentence, a metadata value and a field violation never hold a person's data.
// They name fields, states, codes and resource names, never what a field held.
package fault
