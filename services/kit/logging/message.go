package logging

import (
	"fmt"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"amanat.example/services/kit/privacy"
)

const (
	// maxText is how much of a text of a message is written, in bytes.
	maxText = 256
	// maxElements is how many elements of a list or map are written.
	maxElements = 20
)

// Message is a message without its marked fields, under its full name; of bytes their number is
// written.
func Message(k key, m proto.Message) Field {
	if m == nil || !m.ProtoReflect().IsValid() {
		return Field{zap.Skip()}
	}
	return Field{zap.Object(string(k), messageObject{privacy.Redact(m).ProtoReflect()})}
}

type messageObject struct{ m protoreflect.Message }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (o messageObject) MarshalLogObject(out zapcore.ObjectEncoder) error {
	out.AddString("@type", string(o.m.Descriptor().FullName()))
	fields := o.m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !o.m.Has(field) {
			continue
		}
		name, value := string(field.Name()), o.m.Get(field)
		var err error
		switch {
		case field.IsMap():
			err = out.AddArray(name, mapArray{field, value.Map()})
		case field.IsList():
			err = out.AddArray(name, listArray{field, value.List()})
		case field.Message() != nil:
			err = out.AddObject(name, messageObject{value.Message()})
		default:
			err = out.AddReflected(name, plain(field, value))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plain is what is written of one value that is no message.
func plain(field protoreflect.FieldDescriptor, value protoreflect.Value) any {
	switch field.Kind() {
	case protoreflect.BytesKind:
		return fmt.Sprintf("%d bytes", len(value.Bytes()))
	case protoreflect.EnumKind:
		if known := field.Enum().Values().ByNumber(value.Enum()); known != nil {
			return string(known.Name())
		}
		return int32(value.Enum())
	case protoreflect.StringKind:
		if s := value.String(); len(s) > maxText {
			return strings.ToValidUTF8(s[:maxText], "") + elided
		}
	}
	return value.Interface()
}

type listArray struct {
	field protoreflect.FieldDescriptor
	list  protoreflect.List
}

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (l listArray) MarshalLogArray(out zapcore.ArrayEncoder) error {
	for i := range l.list.Len() {
		if i == maxElements {
			out.AppendString(fmt.Sprintf("and %d more", l.list.Len()-i))
			return nil
		}
		if err := appendValue(out, l.field, l.list.Get(i)); err != nil {
			return err
		}
	}
	return nil
}

type mapArray struct {
	field protoreflect.FieldDescriptor
	pairs protoreflect.Map
}

// MarshalLogArray writes the values only: keys are no better known than texts of any kind, and
// their order changes from line to line.
func (m mapArray) MarshalLogArray(out zapcore.ArrayEncoder) (err error) {
	written := 0
	m.pairs.Range(func(_ protoreflect.MapKey, value protoreflect.Value) bool {
		if written++; written > maxElements {
			out.AppendString(fmt.Sprintf("and %d more", m.pairs.Len()-maxElements))
			return false
		}
		err = appendValue(out, m.field.MapValue(), value)
		return err == nil
	})
	return err
}

func appendValue(out zapcore.ArrayEncoder, field protoreflect.FieldDescriptor, value protoreflect.Value) error {
	if field.Message() != nil {
		return out.AppendObject(messageObject{value.Message()})
	}
	return out.AppendReflected(plain(field, value))
}
