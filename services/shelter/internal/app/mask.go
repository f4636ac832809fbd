package app

import (
	"regexp"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"google.golang.org/genproto/googleapis/api/annotations"

	"amanat.example/services/kit/fault"
)

// maxPaths is more fields than anything has.
const maxPaths = 100

// merge sets in to the fields of from that the mask names; without a mask, those that are set
// (AIP-134). Fields that callers do not write cannot be named. held are fields that have methods of their own.
func merge(to, from proto.Message, mask *fieldmaskpb.FieldMask, held ...protoreflect.Name) error {
	src, dst := from.ProtoReflect(), to.ProtoReflect()
	writable := func(f protoreflect.FieldDescriptor) bool {
		for _, name := range held {
			if f.Name() == name {
				return false
			}
		}
		behaviors, _ := proto.GetExtension(f.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
		for _, b := range behaviors {
			if b == annotations.FieldBehavior_OUTPUT_ONLY || b == annotations.FieldBehavior_IDENTIFIER || b == annotations.FieldBehavior_IMMUTABLE {
				return false
			}
		}
		return true
	}
	set := func(f protoreflect.FieldDescriptor) {
		if src.Has(f) {
			dst.Set(f, src.Get(f))
		} else {
			dst.Clear(f)
		}
	}
	if len(mask.GetPaths()) == 0 {
		src.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			if writable(f) {
				set(f)
			}
			return true
		})
		return nil
	}
	if len(mask.GetPaths()) > maxPaths {
		return fault.InvalidField("update_mask.paths", "must not have more than 100 items")
	}
	for i, path := range mask.GetPaths() {
		f := src.Descriptor().Fields().ByName(protoreflect.Name(path))
		if f == nil || !writable(f) {
			return fault.InvalidField("update_mask.paths["+strconv.Itoa(i)+"]", "is no field that can be changed so; name fields such as display_name")
		}
		set(f)
	}
	return nil
}

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
