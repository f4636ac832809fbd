package rpc

import (
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/services/kit/fault"
)

const timeRule = "must be a time from the year 1 to 9999, with nanos from 0 to 999,999,999"

var timestamp = (*timestamppb.Timestamp)(nil).ProtoReflect().Descriptor().FullName()

// findTimed notes the messages of a request in which a time can stand, so that no others are searched.
func (r *rules) findTimed(messages map[protoreflect.FullName]protoreflect.MessageDescriptor) {
	r.timed = map[protoreflect.FullName]bool{timestamp: true}
	for grown := true; grown; {
		grown = false
		for name, message := range messages {
			for i := range message.Fields().Len() {
				field := message.Fields().Get(i)
				if !r.timed[name] && field.Message() != nil && !field.IsMap() && r.timed[field.Message().FullName()] {
					r.timed[name], grown = true, true
				}
			}
		}
	}
}

// times finds the times that are none. Rules of the proto compare times; but one out of range
// passes them, and once stored it can be shown to nobody: JSON has no words for it.
func (r *rules) times(prefix string, message protoreflect.Message) (found []fault.Violation) {
	if !r.timed[message.Descriptor().FullName()] {
		return nil
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		path := prefix + string(field.Name())
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				found = append(found, r.time(path+"["+strconv.Itoa(i)+"]", value.List().Get(i).Message())...)
			}
		default:
			found = append(found, r.time(path, value.Message())...)
		}
		return len(found) < maxViolations
	})
	return found
}

func (r *rules) time(path string, message protoreflect.Message) []fault.Violation {
	at, ok := message.Interface().(*timestamppb.Timestamp)
	switch {
	case !ok:
		return r.times(path+".", message)
	case at.IsValid():
		return nil
	}
	return []fault.Violation{{Field: path, Sentence: timeRule}}
}
