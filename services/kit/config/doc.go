// Package config reads a program's settings: one YAML file, `AMANAT_*` variables over it, flags
// over both. A setting is a field of a struct, and its name is the same in all three
// (`hub-url`, `AMANAT_HUB_URL`, `--hub-url`). An empty variable, and a key of the file with nothing
// behind it, set nothing.
//
// Invariants: a key, variable or flag that is no setting is an error that names it, so that a
// misspelt one is never passed over (a variable may be one of any program of Amanat, so that one
// environment serves all of a machine); an error names the setting, where it was set and the remedy;
// reading settings does nothing else, so that a test can build them by hand and call Run.
package config
