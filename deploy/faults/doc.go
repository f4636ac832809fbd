// Package faults breaks a running network on purpose while people work in it: links to the hub are cut, both ways or
// one, flap, or are slow; processes are killed or frozen, stores of NATS wiped or rolled back. A plan says what happens and when; it follows from its seed alone, so
// that what breaks once can be looked at again. Moments are shares of the work done, not times: a plan is spread over
// a run however fast the machine is.
//
// No store of a service is touched here: those are the truth, and how one is restored is another matter.
package faults
