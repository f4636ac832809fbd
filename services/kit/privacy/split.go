package privacy

import (
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// ErrUnfit says that two messages are not the two halves of one.
var ErrUnfit = errors.New("the public and the marked part do not belong together")

// Split parts a message into what is not marked and what is. Both are of its type and share
// nothing with it; Merge joins them again. Unknown fields count as marked, since a newer program
// may have marked them, and so does what an Any holds unless it is known to be unmarked.
//
// In lists of messages both parts have as many elements, unless the marked part has none at all.
func Split[M proto.Message](m M) (public, marked M) {
	from := proto.Clone(m)
	to := from.ProtoReflect().New()
	move(from.ProtoReflect(), to)
	return from.(M), to.Interface().(M)
}

// Redact answers a copy without anything marked: the public part of Split.
func Redact[M proto.Message](m M) M {
	public, _ := Split(m)
	return public
}

// Carries says whether anything marked is set in a message, itself or in the messages within it; what
// nobody here knows counts as marked.
func Carries(m proto.Message) bool { return carries(m.ProtoReflect()) }

func carries(m protoreflect.Message) (found bool) {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case isMarked(field) || isOpaqueAny(m, field):
			found = true
		case field.IsMap():
			if field.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, part protoreflect.Value) bool {
					found = carries(part.Message())
					return !found
				})
			}
		case field.Message() == nil:
		case field.IsList():
			for i := 0; i < value.List().Len() && !found; i++ {
				found = carries(value.List().Get(i).Message())
			}
		default:
			found = carries(value.Message())
		}
		return !found
	})
	return found
}

// move takes what is marked from one message into an empty one of the same type, and says
// whether there was any.
func move(from, to protoreflect.Message) (moved bool) {
	if unknown := from.GetUnknown(); len(unknown) > 0 {
		to.SetUnknown(unknown)
		from.SetUnknown(nil)
		moved = true
	}
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case isMarked(field) || isOpaqueAny(from, field):
			to.Set(field, value)
			from.Clear(field)
			moved = true
		case field.IsMap():
			moved = moveMap(field, value.Map(), to) || moved
		case field.Message() == nil:
		case field.IsList():
			moved = moveList(field, value.List(), to) || moved
		default:
			part := to.NewField(field)
			if move(value.Message(), part.Message()) {
				to.Set(field, part)
				moved = true
			}
		}
		return true
	})
	return moved
}

func moveMap(field protoreflect.FieldDescriptor, from protoreflect.Map, to protoreflect.Message) bool {
	if field.MapValue().Message() == nil {
		return false
	}
	parts := to.NewField(field)
	from.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		part := parts.Map().NewValue()
		if move(value.Message(), part.Message()) {
			parts.Map().Set(key, part)
		}
		return true
	})
	if parts.Map().Len() == 0 {
		return false
	}
	to.Set(field, parts)
	return true
}

func moveList(field protoreflect.FieldDescriptor, from protoreflect.List, to protoreflect.Message) (moved bool) {
	parts := to.NewField(field)
	for i := range from.Len() {
		part := parts.List().NewElement()
		moved = move(from.Get(i).Message(), part.Message()) || moved
		parts.List().Append(part)
	}
	if moved {
		to.Set(field, parts)
	}
	return moved
}

// isOpaqueAny says that the field is the content of an Any whose type is unknown here or could
// hold personal data.
func isOpaqueAny(m protoreflect.Message, field protoreflect.FieldDescriptor) bool {
	if m.Descriptor().FullName() != anyMessage || field.Name() != "value" {
		return false
	}
	content, ok := m.Interface().(*anypb.Any)
	if !ok {
		return true
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByURL(content.GetTypeUrl())
	return err != nil || CheckUnmarked(kind.Descriptor()) != nil
}

// Merge puts the marked part back into the public part, which then is the whole message. The
// marked part must not be used any more. ErrUnfit if they are not halves of one message.
func Merge[M proto.Message](public, marked M) error {
	return put(marked.ProtoReflect(), public.ProtoReflect())
}

func put(from, to protoreflect.Message) (err error) {
	if unknown := from.GetUnknown(); len(unknown) > 0 {
		to.SetUnknown(append(to.GetUnknown(), unknown...))
	}
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		isWhole := isMarked(field) || field.Message() == nil ||
			field.IsMap() && field.MapValue().Message() == nil
		switch {
		case isWhole:
			to.Set(field, value)
		case !to.Has(field):
			err = ErrUnfit
		case field.IsMap():
			err = putMap(value.Map(), to.Get(field).Map())
		case field.IsList():
			err = putList(value.List(), to.Get(field).List())
		default:
			err = put(value.Message(), to.Mutable(field).Message())
		}
		return err == nil
	})
	return err
}

func putMap(from, to protoreflect.Map) (err error) {
	from.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		if !to.Has(key) {
			err = ErrUnfit
			return false
		}
		err = put(value.Message(), to.Get(key).Message())
		return err == nil
	})
	return err
}

func putList(from, to protoreflect.List) error {
	if from.Len() != to.Len() {
		return ErrUnfit
	}
	for i := range from.Len() {
		if err := put(from.Get(i).Message(), to.Get(i).Message()); err != nil {
			return err
		}
	}
	return nil
}
