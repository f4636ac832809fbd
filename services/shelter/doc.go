// Package shelter is the shelter service: shelters, their bed inventory, holds on beds, stays.
//
// It owns beds. Nobody else writes them; others place, confirm, release and fill holds by RPC.
//
// Invariants:
//
//   - A bed is never promised twice: after every committed operation, held + occupied + out of
//     service ≤ total for every group.
//   - `available` is derived from the rows of holds and stays and never stored.
//   - A hold is placed all or none. The same key with the same body answers with the same hold,
//     for ever; with another body it is refused.
//   - A tentative hold ends by itself at its expiry; a confirmed one has none. Held becomes
//     occupied in one transaction.
//   - A hold's fence grows with every hold of the store and carries the store's incarnation, so
//     that a restored store's promises are not mistaken for those before (DESIGN section 4).
//   - A shelter's address is sealed at rest and told by GetShelter alone, after an audit row.
//
// Events it publishes (ids and codes only): `shelter.shelter.created.v1`,
// `shelter.hold.placed.v1`, `shelter.hold.confirmed.v1`, `shelter.hold.occupied.v1`,
// `shelter.hold.released.v1`, `shelter.hold.expired.v1`. It consumes none.
package shelter
