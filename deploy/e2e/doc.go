// Package e2e tests whole networks with real parts.
//
// What provinces tell each other of free beds is tested with two shelter services and the real hub, which is cut, wiped and
// rolled back.
//
// Networks of processes are broken while children are handed on: processes are killed and frozen, lines cut both ways or one, flap, or are
// slow, the hub is wiped, rolled back or loses its streams, a node's own NATS is wiped (package faults, and the accidents of a
// nats-server); a service's disk loses power, is full, fails a write and a sync, and turns bits around (package disktest); a line of the
// kernel's is cut between network namespaces; clocks jump (package clockjump); nodes of older versions work beside this one, and are upgraded
// in place. Each says how much was broken, and ends in the same reconciliation. These tests mostly wait, and run beside each other.
//
// What identifies a person is looked for by one searcher: in files after a run in which processes
// were killed, and in everything the network leaves behind or says after a run in which every
// marked field of every request held a canary.
package e2e
