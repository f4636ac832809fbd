// Package post owns the letters between services of different nodes: queued in the transaction of
// the state they report, applied once and in order by the other side, over a broker that is never
// believed. A service has one Post beside its store; its tables are in the service's own schema
// (Declare).
//
// # Parts
//
// The rules of a link are pure functions in internal/protocol. Around them: Queue (outgoing), the
// relay that packs, seals, signs and sends parcels (relay), what reads and verifies mail
// (inbound), what applies a parcel (apply), what compares marks and keeps house (tend), and what says how links stand
// (status). Run drives all of it with goroutines, Step drives the same code in one. NATS is the Transport of
// production, over kit/hub; ProvisionHub and Permissions are for the node that runs the hub.
//
// Where no network is, a person carries a file (carried): Export writes what is not receipted and the receipts owed,
// Import takes it in by the code that takes mail from the hub, and Server is how the operator reaches both. Files too
// large for a letter go as attachments: sealed on disk beside the store at both ends (attachment_seal), sent in pieces
// whose letters hold no data until they leave (attachment_out), put together and verified before their handler is told
// (attachment_in).
//
// # Invariants
//
//   - A letter is sent if and only if the transaction that queued it committed, and is resent until
//     the receiving service's signed receipt, naming both current incarnations, covers it.
//   - The broker is told that it may forget a parcel only after the commit that applied it.
//   - A letter is applied at most once, for ever: known by its sequence, and by its id when either side
//     was restored and sequences began anew.
//   - Letters of one link and lane are applied in order. One that is refused goes to quarantine with a signed refusal;
//     those of the same subject behind it go there too, on either lane; others pass. What lies there is tried again at the start and
//     once a day, in order, if its sender stands by it when it is asked (second_try). So does one that its handler took in order to do it
//     later, where that turns out to be impossible (Park).
//   - The sender learns of a refusal in the transaction that takes the receipt over it, and again
//     whenever it sends the letter again.
//   - Receipted letters stay in the outbox for DefaultKeep, whatever a clock does, so that a receiver restored from a
//     backup of that age is told again without anyone's help. What is older is reported as lost by both ends,
//     and its writer must write it again.
//   - Mail that is forged, cut, of another link or of the past changes nothing but a counter.
//   - Behind a letter that does not open, since it is sealed to keys which the receiver has lost, nothing waits.
//   - A parcel says, as a receipt does, up to which letter its sender has taken in what came the other way, on every lane: an end that was put
//     back to an older copy learns it before it takes in what may answer a letter that it has lost.
//   - An end that learns it was rolled back without being told, or lost and made anew, believes and applies nothing more on that link, and
//     its service begins a new incarnation. What a peer says of this end's incarnation is not believed beyond a day ahead of the clock.
//   - What an earlier life of a sender wrote counts on no lane any more once a later one was heard on any.
//   - What is carried by hand counts as what comes by the hub: twice, both ways, late or in part, it is applied once and in
//     order. Exporting changes nothing; importing a wrong file says what is wrong and changes nothing, but for
//     what is whole in front of a cut.
//   - A piece of an attachment is durable in its file before the transaction that counts it. The handler is told once, in the
//     transaction that counts the last, and only of a file that has its sender's hash and opens. Its
//     sender keeps it as long as the letters that carry it. What no table knows is removed at the start.
//   - While the hub is away a letter costs what it always costs, and the attempts to send do not grow with what waits.
//   - The hub keeps mail between services that are active alone, and so much of a sender's in each mailbox. What it throws away beyond that is
//     sent again.
//   - A file is sent again so often and no more, however often its receiver asks.
//   - What the broker sees is addresses, sizes and sequences. A body whose type has marked fields
//     is sealed by itself as well, so that it lies sealed in the outbox and in quarantine.
//
// A Post takes its incarnation from the store when it is made: after store.RaiseIncarnation make a
// new one.
package post
