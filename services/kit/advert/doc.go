// Package advert owns the adverts of what is free: each shelter's last word to all nodes, on the hub's stream CAPACITY. Unlike
// letters (kit/post) they supersede each other, are addressed to all, carry nobody's data and are never
// receipted: they are repeated, and they are a hint. The hold is the truth.
//
// # Parts
//
// Sign and Reader are what makes and believes an advert. NATS is the Transport of production, over kit/hub. ProvisionHub and
// Permissions are for the node that runs the hub.
//
// # Invariants
//
//   - An advert is believed only with the current signature of the shelter service of an active node, for a shelter of that
//     node, on that node's subject. Who published it at the hub counts for nothing.
//   - The signed bytes are kept and shipped as they are, never marshalled again.
//   - The stream keeps the last advert of each shelter. A stream that is full refuses shelters it does not know; a newer advert
//     that is no larger still takes the place of an older one.
package advert
