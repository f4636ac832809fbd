// Package protocol is the post as pure functions: no input or output, no clock, no randomness.
//
// A link has two ends. What an end must remember over a restart is a message of the contract
// (SendingState, ReceivingState) that the caller loads and stores inside its transaction:
// [Count] takes a receipt into the sending end, [Accept] and [Settle] take a parcel into the
// receiving end. What an end may forget, namely which parcels are under way and when to try again,
// is a [Flight], moved by [Flight.Step].
//
// What holds, whatever is lost, doubled, reordered or restored from an older copy:
//   - a letter leaves the outbox only after a receipt that names both current incarnations;
//   - the receiver's mark moves over a sequence only when that letter was applied or refused;
//   - nothing of an incarnation lower than one already seen is applied or believed;
//   - a refusal is in every receipt until the sender shows that it knows it.
package protocol
