// Package flow tells the federal cell what happens to flows (DESIGN 8a): facts without persons, and for each day how many there were
// and their digest, so that both ends know to the last one that they count the same.
//
// A service that has facts declares the tables, tells each fact in the transaction that makes it true, and runs one [Teller]. Where the federal
// cell finds that a day differs, it asks for it: the service tells its facts of that day again and takes back those that it has lost
// itself, in a restore for example. After that both have all that either had. A day that a service has lost whole it cannot tell: so in a new life,
// and where it is asked for all days, it tells those that it knows and that it knows no others.
//
// Invariants:
//
//   - A fact and its letter change with the state that they tell of. A fact that was told before is told no more by itself.
//   - A fact's id follows from the fact and its teller, so that one that is told twice is one.
//   - A day's count and digest are those of the facts that are kept of it.
package flow
