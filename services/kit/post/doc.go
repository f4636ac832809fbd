// Package post owns the letters between services of different nodes: queued in the transaction of
// the state they report, applied once and in order by the other side, over a broker that is never
// believed. A service has one Post beside its store; its tables are in the service's own schema
// (Declare).
//
// # Parts
//
// The rules of a link are pure functions in internal/protocol. Around them: Queue (outgoing), the
// relay that packs, seals, signs and sends parcels (relay), what reads and verifies mail
// (inbound), what applies a parcel (apply), and what compares marks and keeps house (tend). Run drives
// all of it with goroutines, Step drives the same code in one. NATS is the Transport of
// production, over kit/hub; ProvisionHub and Permissions are for the node that runs the hub.
//
// # Invariants
//
//   - A letter is sent if and only if the transaction that queued it committed, and is resent until
//     the receiving service's signed receipt, naming both current incarnations, covers it.
//   - The broker is told that it may forget a parcel only after the commit that applied it.
//   - A letter is applied at most once, for ever: known by its sequence, and by its id when either side
//     was restored and sequences began anew.
//   - Letters of one link and lane are applied in order. One that is refused goes to quarantine with a signed refusal;
//     those of the same subject behind it go there too, on either lane; others pass.
//   - The sender learns of a refusal in the transaction that takes the receipt over it, and again
//     whenever it sends the letter again.
//   - Receipted letters stay in the outbox for DefaultKeep, so that a receiver restored from a
//     backup of that age is told again without anyone's help. What is older is reported as lost by both ends,
//     and its writer must write it again.
//   - Mail that is forged, cut, of another link or of the past changes nothing but a counter.
//   - An end that learns it was rolled back without being told believes and applies nothing more on that link.
//   - What the broker sees is addresses, sizes and sequences. A body whose type has marked fields
//     is sealed by itself as well, so that it lies sealed in the outbox and in quarantine.
//
// A Post takes its incarnation from the store when it is made: after store.RaiseIncarnation make a
// new one.
package post
