// Package fieldmask puts the part of a resource that a request carries into the resource (AIP-134).
package fieldmask

import (
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"google.golang.org/genproto/googleapis/api/annotations"

	"amanat.example/services/kit/fault"
)

// maxPaths is more fields than anything has.
const maxPaths = 100

// Merge sets in to the fields of from that the mask names; without a mask, those that are set
// (AIP-134). Fields that callers do not write cannot be named. held are fields that have methods of their own.
func Merge(to, from proto.Message, mask *fieldmaskpb.FieldMask, held ...protoreflect.Name) error {
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
