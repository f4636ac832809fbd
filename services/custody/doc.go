// Package custody holds the rules of the custody chain: how an event is appended, verified and
// folded, what a reply is, and what a chain that differs from ours means. It is pure: no I/O, no
// clock, no randomness; keys come in as [Signer] and [Verifier].
//
// Invariants it holds (DESIGN section 3):
//
//   - I1: one writer at a time. An event is legal only from the owner of the current epoch;
//     Dispatched is the last event of its epoch and its destination owns the next.
//   - I2: an event's bytes are hashed and signed once, stored and shipped as they are. Two
//     different events at one position are a fork ([Compare] says [Forked]).
//   - I3: whoever is not the owner replies; a reply names its offer by hash, and one that is in
//     the chain already is a no-op ([Chain.Holds]).
//   - I8: nothing is undone; there is no event that removes another.
//   - An agency outside the network has no node, and takes nothing over: the origin asks it, enters its answers, marked as such (ExternalAnswered), and
//     owns the referral and has the duty of care (I6) until COMPLETED, also while the person is there ([State.Outside]). No node answers for an
//     agency, and nothing is entered for a unit of the network.
//
// One function, fold, decides what is legal. Appending and verifying both go through it, so that
// what one node may write is exactly what another accepts.
package custody
