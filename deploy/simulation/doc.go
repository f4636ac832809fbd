// Package simulation runs the product's own services over stores in memory, without processes, network, files and goroutines: a
// world of three provinces whose services are opened for one thing at a time and thrown away, so that a crash lies between any two
// transactions.
//
// A [World] knows the distinct states of each service it has met and what followed from each, so that the product's code runs once
// for every state of a service and every input, however many states of the whole world hold it. Time, ids and randomness follow
// from the input alone.
package simulation
