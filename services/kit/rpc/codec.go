package rpc

import (
	"strconv"
	"unicode/utf8"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"amanat.example/services/kit/fault"
)

// incoming is a request on its way in. grpc answers bytes that do not decode with INTERNAL, and
// too many of them with RESOURCE_EXHAUSTED, before any of our steps has run; so the codec keeps the
// fault here, and the call is refused in its turn: after the caller is known, with
// INVALID_ARGUMENT, a reason and the field's name.
type incoming struct {
	message proto.Message
	fault   error
}

// codec is the stock proto codec, but for what [incoming] says.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if data.Len() > MaxMessageBytes {
		in.fault = errRequestSize
		return nil
	}
	raw := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer raw.Free()
	// A field that this program does not know has no rule and no mark: it is not taken, so that it
	// can come to lie nowhere.
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw.ReadOnlyData(), in.message); err != nil {
		if field := notUTF8(raw.ReadOnlyData(), in.message.ProtoReflect().Descriptor()); field != "" {
			in.fault = fault.InvalidField(field, "must be valid UTF-8 text").Wrap(err)
		} else {
			in.fault = fault.New(fault.Field, "The request is not a well-formed "+
				string(in.message.ProtoReflect().Descriptor().FullName())+".").Wrap(err)
		}
	}
	return nil
}

// notUTF8 is the path of the first text field that is not UTF-8, or "" when there is none.
func notUTF8(raw []byte, message protoreflect.MessageDescriptor) string {
	seen := map[protowire.Number]int{}
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return ""
		}
		raw = raw[n:]
		n = protowire.ConsumeFieldValue(number, kind, raw)
		if n < 0 {
			return ""
		}
		value := raw[:n]
		raw = raw[n:]
		field := message.Fields().ByNumber(number)
		if field == nil || kind != protowire.BytesType {
			continue
		}
		path := string(field.Name())
		if field.IsList() {
			path += "[" + strconv.Itoa(seen[number]) + "]"
			seen[number]++
		}
		content, _ := protowire.ConsumeBytes(value)
		switch field.Kind() {
		case protoreflect.StringKind:
			if !utf8.Valid(content) {
				return path
			}
		case protoreflect.MessageKind:
			inner := notUTF8(content, field.Message())
			switch {
			case inner == "":
			case field.IsMap():
				return path // A map's key may itself be what is wrong; its name is enough.
			default:
				return path + "." + inner
			}
		}
	}
	return ""
}
