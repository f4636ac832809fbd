// Package network declares a network of nodes and runs it: three provinces, the federal cell and
// the hub, with NATS embedded. It runs either as processes kept up by a supervisor, each with its
// log file, or all in one process.
//
// A node that joins a network lies under a root of its own: AddNode makes it, and Load runs it as
// it runs the demo's. It knows of the others their roster and the address of the hub, no more.
// The hub follows the roster installed at the federal node: who joins is let in, who is suspended is
// shut out, without a restart.
//
// A supervisor can freeze a part, or hold it down while its files are replaced, and a Link stands between a node and the hub where
// that way is to be cut, both ways or one, or to be slow. Status asks every service of a node how it stands.
//
// BackUp takes a backup of a node that runs, Restore brings a node back from one, Compact and Check are for a node that does not run. What makes
// a node is in three things: the data of its services, the keys of the persons in them, and its identity with its addresses, which goes with
// the keys. Not in it, because it carries no truth: the streams of bus and hub, and logs.
//
// A network that plays a past year has a calendar under its root: the use cases of all its services take their time from it, from the start on,
// until it has come to the present. Everything else, and every service that is not run by this package, has the machine's clock. Only the demo, with
// all its nodes under one root, has a calendar: a node that lies alone refuses to start with one.
//
// A network lies under one root: `<root>/<node>/<service>/` as DESIGN 8a says, logs under
// `<root>/log/`. Addresses are fixed by the node's number for the demo, or chosen free for tests.
package network
