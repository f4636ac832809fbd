// Package e2e tests whole networks with real parts.
//
// What identifies a person is looked for by one searcher: in files after a run in which processes
// were killed, and in everything the network leaves behind or says after a run in which every
// marked field of every request held a canary.
package e2e
