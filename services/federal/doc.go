// Package federal is the federal cell's service: what became of those identified, counted by corridor, stage, month and age; never of whom.
//
// It owns counts, never persons. All it knows comes as letters from the nodes: facts and days (kit/flow), beds of a node's shelters
// (`federal.shelters.v1`), how links stand (`federal.links.v1`), what is late (`federal.late.v1`); and facts in the older form,
// `federal.flow.v1`. It writes `federal.flows_wanted.v1`, and gives facts back that their teller has lost (`federal.facts.v2`).
//
// Invariants:
//
//   - A fact is kept once, as it was told, whatever its kind: one that this program does not know is counted when it does. Refused is what no honest
//     clock or flow can be: days before 1970 and after 2099, and a flow or a case without end (internal/app, maxFacts).
//   - Counts change in the transaction that keeps a fact. They follow from the facts alone, in whatever order these came, and are made anew when
//     the program counts otherwise.
//   - Of each day, each service's facts are compared with what it says it told, by number and digest. A difference is an alarm that names the
//     day; both ends then give each other what they have of it, again and again until they count the same, to the last fact.
//   - A node begins flows of its own alone. Nothing is taken from who is not in the roster.
//   - Of a flow counts what those tell who have part in it: the node where it begins, and each to which one of these says that the person was handed
//     over (DISPATCHED). What others tell under its id is kept and compared like any facts, is shown as what nobody with a part vouches for (strays), and
//     counts if it turns out that they have part. Of which case a flow is, the node where both begin says alone.
//   - Of beds the last word of each day is kept, of links and of what is late the last word of each service; none is newer than now.
//   - No message of the service has a field that identifies a person, and fields that the program
//     does not know are dropped before anything is kept.
//   - What is published of a month never changes: a revision makes new editions of all months. Of no figure that is hidden can more be worked out,
//     from all editions of all months together, than a range of 11 or more (internal/rules, Suppression). A store that was restored publishes nothing
//     of months that were over by then until a person has said what was published in the life that is lost; those have no further edition.
//
// It publishes no events and consumes none.
package federal
