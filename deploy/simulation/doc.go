// Package simulation runs the product's own services over stores in memory, without processes, network, files and goroutines: a
// world of three provinces whose services are opened for one thing at a time and thrown away, so that a crash lies between any two
// transactions.
//
// A [World] knows the distinct states of each service it has met and what followed from each, so that the product's code runs once
// for every state of a service and every input, however many states of the whole world hold it. Time, ids and randomness follow
// from the input alone.
//
// A country (in the tests alone) is five nodes and the federal cell whose services stay open for days on a seeded agenda: letters on
// their way, what falls due, what people do, also what nobody may do, and what breaks: power, links, the hub, clocks, disks put back to
// old copies. In some countries protection services take children in and refer them, and dossiers follow the children. What
// must be so at any moment is judged as it goes; then it is calm, and in the end all agree. A plan is what comes from
// outside; where an invariant does not hold, a smaller plan is looked for that breaks it too.
package simulation
