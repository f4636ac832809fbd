// Package fuzztest makes of a real message what somebody hostile might send in its place, as the bytes of a fuzz run say. Bytes alone
// seldom get past the first check of a message; what is changed field by field does. It is used by tests alone.
package fuzztest

import (
	"math"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Canary stands in texts that a changed message has: no error may repeat it.
const Canary = "canary-of-a-fuzz"

// Choices are bytes read one after the other; behind the last they are 0.
type Choices struct{ rest []byte }

// NewChoices reads bytes of a fuzz run.
func NewChoices(data []byte) *Choices { return &Choices{data} }

// Next chooses one of n, at most 65536.
func (c *Choices) Next(n int) int {
	value := 0
	for range 2 {
		if len(c.rest) > 0 {
			value, c.rest = value<<8|int(c.rest[0]), c.rest[1:]
		}
		if n <= 256 {
			break
		}
	}
	return value % n
}

// Left says that there are choices left.
func (c *Choices) Left() bool { return len(c.rest) > 0 }

// place is a field of a message, or of one within it.
type place struct {
	of    protoreflect.Message
	field protoreflect.FieldDescriptor
}

func places(m protoreflect.Message) (all []place) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		all = append(all, place{m, f})
		if f.Kind() != protoreflect.MessageKind || f.IsMap() || !m.Has(f) {
			continue
		}
		if !f.IsList() {
			all = append(all, places(m.Get(f).Message())...)
			continue
		}
		for list, n := m.Get(f).List(), 0; n < min(list.Len(), 8); n++ {
			all = append(all, places(list.Get(n).Message())...)
		}
	}
	return all
}

// Mutate changes a message for as long as there are choices, in eight places at most. What it makes can be marshalled.
func Mutate(m proto.Message, c *Choices) {
	for n := 0; n < 8 && c.Left(); n++ {
		all := places(m.ProtoReflect())
		if len(all) == 0 {
			return
		}
		p := all[c.Next(max(len(all), 257))%len(all)]
		p.change(c)
	}
}

func (p place) change(c *Choices) {
	if p.field.IsMap() {
		p.of.Clear(p.field)
		return
	}
	if !p.field.IsList() {
		if c.Next(6) == 0 {
			p.of.Clear(p.field)
			return
		}
		p.of.Set(p.field, value(p.field, p.of.Get(p.field), p.of.NewField(p.field), c))
		return
	}
	list := p.of.Mutable(p.field).List()
	switch choice := c.Next(4); {
	case choice == 0:
		p.of.Clear(p.field)
	case choice == 1 && list.Len() > 0: // one of them twice
		list.Append(list.Get(c.Next(list.Len())))
	case choice == 2 && list.Len() > 0:
		list.Set(c.Next(list.Len()), value(p.field, list.Get(0), list.NewElement(), c))
	default:
		list.Append(list.NewElement())
	}
}

// value is another than the one there is.
func value(f protoreflect.FieldDescriptor, was, empty protoreflect.Value, c *Choices) protoreflect.Value {
	integers := []int64{0, 1, -1, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, 253402300799, -62135596800}
	integer := integers[c.Next(len(integers))]
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(!was.Bool())
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(c.Next(40)))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(integer))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(integer))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(integer)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if c.Next(2) == 0 {
			return protoreflect.ValueOfUint64(was.Uint() + uint64(integer))
		}
		return protoreflect.ValueOfUint64(uint64(integer))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(integer))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{math.NaN(), math.Inf(1), -1, 0}[c.Next(4)])
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text(was.String(), c))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(raw(was.Bytes(), c))
	}
	return empty
}

func text(was string, c *Choices) string {
	switch c.Next(8) {
	case 0:
		return ""
	case 1:
		return Canary
	case 2:
		return was + Canary
	case 3:
		return strings.Repeat(Canary, 400)
	case 4:
		return "nodes/" + was
	case 5:
		return "\u202e\x00ں" + Canary
	case 6:
		return strings.ToValidUTF8(was[:len(was)/2], "")
	}
	return strings.ToUpper(was)
}

func raw(was []byte, c *Choices) []byte {
	changed := append([]byte{}, was...)
	switch c.Next(5) {
	case 0:
		return nil
	case 1:
		return changed[:len(changed)/2]
	case 2:
		return append(changed, 0)
	case 3:
		return make([]byte, []int{16, 32, 64, 5000}[c.Next(4)])
	}
	if len(changed) > 0 {
		changed[c.Next(len(changed))%len(changed)] ^= byte(1 + c.Next(255))
	}
	return changed
}
