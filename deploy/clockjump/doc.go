// Package clockjump lets the clock of a process of a test build jump while it runs, as the clock of a machine does that is set: every
// reader of the time of day is told another time, in our code, in the standard library and in what we import, while timers run on. So
// all that is judged by a clock is judged by the wrong one: certificates, tokens, letters, deadlines.
//
// It is linked in with the build tag clockjump alone, on Linux and amd64, and only where -ldflags=-checklinkname=0 allows it; no program
// that is shipped has it. A process that is started with AMANAT_CLOCK follows the file of that name, which Set writes.
package clockjump
