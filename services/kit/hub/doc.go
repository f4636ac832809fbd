// Package hub is how a service reaches the NATS between nodes, and what each may do there. What is carried is for
// others to know: kit/post carries letters, kit/advert what is free.
//
// Invariants:
//
//   - The hub is believed in nothing: it may lose, double, reorder, delay, forge and replay.
//   - An absent hub is no error. A connection goes on trying for ever, and says when the hub is there again or may have
//     forgotten something.
//   - A user may publish and read what was granted to its node and service, and nothing besides; durable consumers
//     are made beforehand, by the node that runs the hub.
package hub
