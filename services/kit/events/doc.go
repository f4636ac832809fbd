// Package events lets the services of one node follow what the others have committed.
//
// A service declares a [Log] in its store's schema and appends to it in the transactions that
// make the events true. Others read it with ListEvents over gRPC ([NewServer]); a [Follower] keeps its
// position in the transaction of the effect. A [Publisher] also puts each event on the node's own
// NATS, which wakes followers at once and lets others listen. A [Feed] tells those who watch a list what changes in it.
//
// Invariants:
//   - Positions of a log are contiguous from 1; a committed event never changes.
//   - An event's data is of a type that was declared for it, and no declared type can hold a field
//     that identifies a person.
//   - The store is the truth. NATS may be away, wiped or full: nothing is lost, followers poll, and
//     the stream drops its oldest rather than stop anybody.
//   - A follower applies each event of a store's life in order; effect and mark commit together.
//     When the owner's store was restored it starts again from 0, so its handler must take an event twice without harm.
//   - A store that was put back to an older copy, and nobody has said so, learns it by the first follower that has read more of it, or a later life:
//     its service begins a new incarnation, and says nothing of the old one any more.
//   - A reader of a feed gets every event behind its own position, in order, or is told to read all anew. Readers cost no
//     polling, and nobody waits for a slow one.
package events
