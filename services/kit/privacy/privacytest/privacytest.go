// Package privacytest fills messages so that tests can follow personal data: every marked field
// holds a canary, and no other field does. A test then looks where the canary must not be.
package privacytest

import (
	"bytes"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	// Every package of contracts, so that Types finds their messages.
	_ "amanat.example/proto/amanat/backup/v1"
	_ "amanat.example/proto/amanat/custody/v1"
	_ "amanat.example/proto/amanat/events/v1"
	_ "amanat.example/proto/amanat/federal/v1"
	_ "amanat.example/proto/amanat/gateway/v1"
	_ "amanat.example/proto/amanat/identity/v1"
	_ "amanat.example/proto/amanat/outbox/v1"
	_ "amanat.example/proto/amanat/post/v1"
	_ "amanat.example/proto/amanat/privacy/v1"
	_ "amanat.example/proto/amanat/protection/v1"
	_ "amanat.example/proto/amanat/referral/v1"
	_ "amanat.example/proto/amanat/shelter/v1"
	_ "amanat.example/proto/amanat/status/v1"

	"amanat.example/services/kit/privacy"
)

const (
	// Canary is what every marked text holds.
	Canary = "Zarqa-Canary-Bibi"
	// CanaryNumber is what every marked number holds.
	CanaryNumber = 1918273645
	// Plain is what every text without a mark holds.
	Plain = "plain"

	maxDepth = 5
)

// Holds says whether bytes hold a canary: the text, or the number in digits or as protobuf writes it.
func Holds(data []byte) bool {
	return bytes.Contains(data, []byte(Canary)) || strings.Contains(string(data), "1918273645") ||
		bytes.Contains(data, protowire.AppendVarint(nil, CanaryNumber))
}

// Types are all messages of our contracts.
func Types() []protoreflect.MessageType {
	var all []protoreflect.MessageType
	protoregistry.GlobalTypes.RangeMessages(func(kind protoreflect.MessageType) bool {
		if strings.HasPrefix(string(kind.Descriptor().FullName()), "amanat.") {
			all = append(all, kind)
		}
		return true
	})
	return all
}

// Fill sets every field of a message and of the messages within it, five deep. Of a oneof it sets
// the member with number pick, counted round; call it with growing picks to reach them all.
func Fill(m proto.Message, pick int) { fill(m.ProtoReflect(), pick, false, 0) }

func fill(m protoreflect.Message, pick int, inMarked bool, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if one := field.ContainingOneof(); one != nil && one.Fields().Get(pick%one.Fields().Len()) != field {
			continue
		}
		if field.Message() != nil && depth >= maxDepth {
			continue
		}
		isMarked := inMarked || privacy.Kind(field) != 0
		one := func(value protoreflect.Value, of protoreflect.FieldDescriptor) protoreflect.Value {
			if of.Message() != nil {
				fill(value.Message(), pick, isMarked, depth+1)
				return value
			}
			return scalar(of, isMarked)
		}
		switch value := m.NewField(field); {
		case field.IsMap():
			key := scalar(field.MapKey(), isMarked).MapKey()
			value.Map().Set(key, one(value.Map().NewValue(), field.MapValue()))
			m.Set(field, value)
		case field.IsList():
			value.List().Append(one(value.List().NewElement(), field))
			value.List().Append(one(value.List().NewElement(), field))
			m.Set(field, value)
		default:
			m.Set(field, one(value, field))
		}
	}
}

func scalar(field protoreflect.FieldDescriptor, isMarked bool) protoreflect.Value {
	text, number := Plain, int64(7)
	if isMarked {
		text, number = Canary, CanaryNumber
	}
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(number))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(number))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(number))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(number))
	default:
		return protoreflect.ValueOfInt64(number)
	}
}
