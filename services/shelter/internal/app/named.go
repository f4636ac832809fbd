package app

import (
	"regexp"

	"amanat.example/services/kit/fault"
)

var (
	shelterPattern = regexp.MustCompile(`^nodes/[a-z][a-z0-9-]{1,30}/shelters/[a-z][a-z0-9-]{1,60}$`)
	groupPattern   = regexp.MustCompile(`^nodes/[a-z][a-z0-9-]{1,30}/shelters/[a-z][a-z0-9-]{1,60}/groups/[a-z][a-z0-9-]{1,60}$`)
)

// named refuses an update that does not say of what. given is whether the resource is there at all.
func named(field string, given bool, name string, pattern *regexp.Regexp, form string) error {
	switch {
	case !given:
		return fault.InvalidField(field, "must be given")
	case !pattern.MatchString(name):
		return fault.InvalidField(field+".name", "must look like "+form)
	}
	return nil
}
