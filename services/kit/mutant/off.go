//go:build mutants

package mutant

var off string

// Off says that a rule is taken away.
func Off(rule string) bool { return rule == off }

// Set takes a rule away, and gives the one before back; empty for none. Nothing else may run meanwhile.
func Set(rule string) { off = rule }
