// Package mutant takes rules of the protocol away, one at a time, in builds with the tag `mutants`: a test then shows that without
// the rule a child, a bed or a letter is lost, so that no rule stands without reason and no check without effect. In every other
// build [Off] is false, and the compiler leaves out what asks for it.
package mutant
