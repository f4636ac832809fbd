package privacy

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"
)

// ErrMarked says that a message which must hold no personal data has a marked field.
var ErrMarked = errors.New("a field that identifies a person may not be here")

const anyMessage = protoreflect.FullName("google.protobuf.Any")

var (
	kinds  sync.Map // protoreflect.FieldDescriptor → privacyv1.PersonalData
	marked sync.Map // protoreflect.MessageDescriptor → bool
)

// Kind is what a field's mark says of a person; PERSONAL_DATA_UNSPECIFIED for a field without a mark.
func Kind(field protoreflect.FieldDescriptor) privacyv1.PersonalData {
	if kind, ok := kinds.Load(field); ok {
		return kind.(privacyv1.PersonalData)
	}
	kind := privacyv1.PersonalData_PERSONAL_DATA_UNSPECIFIED
	if options, ok := field.Options().(*descriptorpb.FieldOptions); ok {
		kind = proto.GetExtension(options, privacyv1.E_Personal).(privacyv1.PersonalData)
	}
	kinds.Store(field, kind)
	return kind
}

func isMarked(field protoreflect.FieldDescriptor) bool {
	return Kind(field) != privacyv1.PersonalData_PERSONAL_DATA_UNSPECIFIED
}

// Marked says whether a message has a marked field, itself or in the messages within it. What an
// Any may hold is not considered.
func Marked(message protoreflect.MessageDescriptor) bool {
	if known, ok := marked.Load(message); ok {
		return known.(bool)
	}
	found := false
	walkFields(message, func(_ string, field protoreflect.FieldDescriptor) { found = found || isMarked(field) })
	marked.Store(message, found)
	return found
}

// CheckUnmarked fails, naming every field in the way, if a message can hold personal data: events
// and all that is federal must pass. An Any is in the way too, since it can hold anything; check
// the types put into it instead. The error wraps ErrMarked.
func CheckUnmarked(message protoreflect.MessageDescriptor) error {
	var all []error
	walkFields(message, func(path string, field protoreflect.FieldDescriptor) {
		switch {
		case isMarked(field):
			all = append(all, fmt.Errorf("%s.%s (%s): %w", message.FullName(), path, Kind(field), ErrMarked))
		case field.Message() != nil && field.Message().FullName() == anyMessage:
			all = append(all, fmt.Errorf("%s.%s can hold any message: %w", message.FullName(), path, ErrMarked))
		}
	})
	return errors.Join(all...)
}

// walkFields visits the fields of a message and of all messages within it, each type once.
func walkFields(message protoreflect.MessageDescriptor, visit func(path string, field protoreflect.FieldDescriptor)) {
	seen := map[protoreflect.FullName]bool{}
	var walk func(prefix string, message protoreflect.MessageDescriptor)
	walk = func(prefix string, message protoreflect.MessageDescriptor) {
		if seen[message.FullName()] {
			return
		}
		seen[message.FullName()] = true
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			path := prefix + string(field.Name())
			visit(path, field)
			if field.Message() != nil { // a map's is its entry, whose value may be a message
				walk(path+".", field.Message())
			}
		}
	}
	walk("", message)
}
