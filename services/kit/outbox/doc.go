// Package outbox delivers commands from one service to another of the same node: submit, hold,
// release. The command is queued in the transaction that decides it, and its row dies in the
// transaction that takes in the result, so neither a crash nor a restart between the two loses it.
//
// Invariants:
//   - A command that was committed is called until it has a definite answer: the reply, or a
//     refusal that repeating cannot change. The called service must know it by its id.
//   - Result handler and deletion of the row commit together: a result is taken in once.
//   - Commands of one subject go one after the other, in the order they were queued; others pass.
//   - A request that can carry a person's data lies sealed in the store, or is refused.
package outbox
