// Package shelter is the shelter service: shelters, their bed inventory, holds on beds, stays, headcounts, waitlists.
//
// It owns beds. Nobody else writes them; others place, confirm, renew, release and fill holds by RPC.
//
// Invariants:
//
//   - A bed is never promised twice: after every committed operation, held + occupied + out of
//     service ≤ total + open overflow for every group.
//   - `available` is derived from the rows of holds, stays and outages and never stored.
//   - A hold is placed all or none, also over several groups of one shelter. The same key with the same
//     body answers with the same hold, for ever; with another body it is refused.
//   - A tentative hold ends by itself at its expiry and can be renewed once; a confirmed one has a review date and no
//     expiry. Held becomes occupied in one transaction. Of those who come on one hold each has a stay of their own from when the first of
//     them comes; to one that has ended by then nobody is admitted.
//   - Suspending a shelter ends its live holds in the same transaction, each with its own event; before a restored store is compared, those of
//     offers when it has been.
//   - A hold's fence grows with every hold of the store and carries the store's incarnation, so
//     that a restored store's promises are not mistaken for those before (DESIGN section 4).
//   - Holds that serve offers are compared with the referral service's list of live offers: none keeps a bed for an offer that is
//     over, and a store that was restored, or put back without a word, which its followers show, promises nothing, and shows no bed as free,
//     before it has the whole list; it then keeps promises and people, and no tentative hold of an offer. Who stands at the door is let in meanwhile, and what people see and count is put down.
//   - After a restore whoever came on a referral is there, also where the referral is over or nobody knows the group any more (then a bed is
//     taken that fits): a bed too few is mended by a headcount, one promised twice is not. Each shelter asks for one until all its groups
//     are counted.
//   - Address and telephone are sealed at rest and told after an audit row: to who runs shelters, to others where the location is not
//     confidential, and with a confirmed hold until the last who came on it has left. No list, event or search tells them.
//   - A search reads a directory in memory that the store's change sets keep, and sees every commit that returned before it
//     began. Of where a shelter is it tells the district, and distances between centres of districts in tens of kilometres.
//   - All a search says stands in one catalogue per language (internal/rules/sentences_*.go), whole sentences with the same arguments.
//   - A person is not brought to an excluded district, nor to one that has or had ground in common with it: searches and
//     holds ask one rule.
//   - What others advertise is a hint, and the hold at the other node is the truth: a search says in whose care a place is and how
//     old what is known of it is, leaves out what has not been heard of for a week, and forgets who has left the network.
//   - An advert tells what is free and whom a shelter takes; of where it is the district alone. It is told from committed rows, and no
//     commit waits for it. One that was heard is replaced only by a later one of the same or a later incarnation.
//   - A headcount changes no stay: what differs is shown until it is explained.
//   - Nobody waits on a waitlist without a date on which somebody looks again.
//
// Events it publishes (ids and codes only): `shelter.shelter.{created,updated,suspended,reopened,declared-full,withdrawn-full}.v1`,
// `shelter.group.{created,updated}.v1`, `shelter.outage.{started,ended}.v1`,
// `shelter.hold.{placed,renewed,confirmed,occupied,released,expired}.v1`, `shelter.stay.{admitted,moved,absent,returned,discharged}.v1`,
// `shelter.headcount.{recorded,explained}.v1`, `shelter.waitlist.{entered,reviewed,review-due,closed}.v1`,
// `shelter.advert.changed.v1` (another node offers something else than it did). It consumes none; with a hub-url it
// publishes and reads adverts (kit/advert) and writes `federal.shelters.v1` and `federal.links.v1`, without one it does without.
package shelter
