// Package e2e tests whole networks with real parts.
//
// What provinces tell each other of free beds is tested with two shelter services and the real hub, which is cut, wiped and
// rolled back.
//
// What identifies a person is looked for by one searcher: in files after a run in which processes
// were killed, and in everything the network leaves behind or says after a run in which every
// marked field of every request held a canary.
package e2e
