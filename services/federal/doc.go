// Package federal is the federal cell's service: flows of persons between nodes, by corridor and
// stage.
//
// It owns counts, never persons. The facts come as letters of kind `federal.flow.v1` from the
// nodes where they happened; what is late there as letters of kind `federal.late.v1`.
//
// Invariants:
//
//   - A fact is kept once under (flow, stage). A repetition is a no-op; another fact under the same
//     key is refused.
//   - The counts change in the transaction that keeps the fact, and are at any time what the facts
//     add up to: they can be built again from them.
//   - Of what is late the newest report of each node and service is kept, and no other.
//   - No message of the service has a field that identifies a person, and fields that the program
//     does not know are dropped before a fact is kept.
//
// It publishes no events and consumes none.
package federal
