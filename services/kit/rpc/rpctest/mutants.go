package rpctest

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	"amanat.example/services/kit/privacy"
)

const (
	// unknown is what no code list, name or token holds. It must not come back in an error.
	unknown = "Zubaida of nowhere"
	// broken is replaced by bytes that are no UTF-8.
	broken = "~broken-utf-8-goes-here~"
	// tooLong and tooMany are beyond any rule that makes sense, and within the size of a message.
	tooLong = 20_000
	tooMany = 1_001
)

// mutant is a valid request with one field made bad.
type mutant struct {
	name string // field and what is wrong, such as "needs.age_to negative"
	path string // the field
	etag bool   // the field says which state the caller has seen
	body []byte
}

// mutator derives mutants from one request.
type mutator struct {
	root    proto.Message
	mutants []mutant
	reached map[protoreflect.FullName]bool // messages that were there to be walked
	absent  map[string]string              // fields of message kind that were not, and their type
}

func newMutator(request proto.Message) *mutator {
	m := &mutator{root: proto.Clone(request), reached: map[protoreflect.FullName]bool{}, absent: map[string]string{}}
	m.walk("", m.root.ProtoReflect())
	return m
}

// add notes the request as it stands now.
func (m *mutator) add(path, what string) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.root)
	if err != nil { // Only text that is not UTF-8 fails, and that is put in below.
		body = nil
	}
	last := path[strings.LastIndexByte(path, '.')+1:]
	m.mutants = append(m.mutants, mutant{name: path + " " + what, path: path, etag: last == "etag" && what == "unknown", body: bytes.ReplaceAll(body, []byte(broken), bytes.Repeat([]byte{0xff}, len(broken)))})
}

func (m *mutator) walk(prefix string, message protoreflect.Message) {
	m.reached[message.Descriptor().FullName()] = true
	for i := range message.Descriptor().Fields().Len() {
		field := message.Descriptor().Fields().Get(i)
		m.field(prefix+string(field.Name()), message, field)
	}
}

func (m *mutator) field(path string, message protoreflect.Message, field protoreflect.FieldDescriptor) {
	given := message.Has(field)
	kept := proto.Clone(message.Interface()).ProtoReflect()
	restore := func() {
		message.Clear(field)
		if given {
			message.Set(field, kept.Get(field))
			kept = proto.Clone(message.Interface()).ProtoReflect()
		}
	}
	set := func(value protoreflect.Value) func(string) {
		return func(what string) {
			if field.IsList() {
				list := message.NewField(field).List()
				list.Append(value)
				message.Set(field, protoreflect.ValueOfList(list))
				m.add(path+"[0]", what)
			} else {
				message.Set(field, value)
				m.add(path, what)
			}
			restore()
		}
	}
	if ignored(field) { // A caller's value is not taken (AIP-203), but must be a value.
		if field.Kind() == protoreflect.StringKind {
			set(protoreflect.ValueOfString(broken))("not UTF-8")
		}
		return
	}
	if given && required(field) {
		message.Clear(field)
		m.add(path, "missing")
		restore()
	}
	if field.IsList() {
		m.many(path, message, field, restore)
	}
	switch field.Kind() {
	case protoreflect.MessageKind:
		m.inner(path, message, field, restore)
	case protoreflect.EnumKind:
		set(protoreflect.ValueOfEnum(9999))("unknown")
	case protoreflect.StringKind:
		set(protoreflect.ValueOfString(broken))("not UTF-8")
		set(protoreflect.ValueOfString(strings.Repeat("z", tooLong)))("too long")
		if !words(field) {
			set(protoreflect.ValueOfString(unknown))("unknown")
		}
	case protoreflect.BytesKind:
		set(protoreflect.ValueOfBytes(bytes.Repeat([]byte{7}, tooLong)))("too long")
		set(protoreflect.ValueOfBytes([]byte{7}))("too short")
	default:
		for what, value := range numbers(field.Kind()) {
			set(value)(what)
		}
	}
}

// many makes lists too long.
func (m *mutator) many(path string, message protoreflect.Message, field protoreflect.FieldDescriptor, restore func()) {
	list := message.Mutable(field).List()
	element := list.NewElement()
	if list.Len() > 0 {
		element = list.Get(0)
	}
	for list.Len() < tooMany {
		list.Append(element)
	}
	m.add(path, "too many")
	restore()
}

// inner walks into a message that is there.
func (m *mutator) inner(path string, message protoreflect.Message, field protoreflect.FieldDescriptor, restore func()) {
	if !message.Has(field) {
		m.absent[path] = string(field.Message().FullName())
		return
	}
	var child protoreflect.Message
	if field.IsList() {
		path += "[0]"
		child = message.Mutable(field).List().Get(0).Message()
	} else {
		child = message.Mutable(field).Message()
	}
	m.walk(path+".", child)
	restore()
}

// numbers are those nobody means.
func numbers(kind protoreflect.Kind) map[string]protoreflect.Value {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return map[string]protoreflect.Value{"negative": protoreflect.ValueOfInt32(-1), "absurd": protoreflect.ValueOfInt32(math.MaxInt32)}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return map[string]protoreflect.Value{"negative": protoreflect.ValueOfInt64(math.MinInt64), "absurd": protoreflect.ValueOfInt64(math.MaxInt64)}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return map[string]protoreflect.Value{"absurd": protoreflect.ValueOfUint32(math.MaxUint32)}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return map[string]protoreflect.Value{"absurd": protoreflect.ValueOfUint64(math.MaxUint64)}
	case protoreflect.FloatKind:
		return map[string]protoreflect.Value{"absurd": protoreflect.ValueOfFloat32(float32(math.NaN()))}
	case protoreflect.DoubleKind:
		return map[string]protoreflect.Value{"absurd": protoreflect.ValueOfFloat64(math.NaN())}
	}
	return nil
}

func behaves(field protoreflect.FieldDescriptor, as annotations.FieldBehavior) bool {
	stated, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	for _, b := range stated {
		if b == as {
			return true
		}
	}
	return false
}

func ignored(field protoreflect.FieldDescriptor) bool {
	return behaves(field, annotations.FieldBehavior_OUTPUT_ONLY)
}

// required says that the contract wants the field, in whichever of its words.
func required(field protoreflect.FieldDescriptor) bool {
	if behaves(field, annotations.FieldBehavior_REQUIRED) {
		return true
	}
	rules, err := protovalidate.ResolveFieldRules(field)
	return err == nil && (rules.GetRequired() || rules.GetString().GetMinLen() > 0 || rules.GetString().GetLen() > 0 ||
		rules.GetBytes().GetLen() > 0 || rules.GetRepeated().GetMinItems() > 0)
}

// words says that a field holds a name or what a person tells: any text is one.
func words(field protoreflect.FieldDescriptor) bool {
	rules, err := protovalidate.ResolveFieldRules(field)
	if err == nil && rules.GetString().GetPattern() != "" {
		return false
	}
	kind := privacy.Kind(field)
	return kind == privacyv1.PersonalData_PERSONAL_DATA_NAME || kind == privacyv1.PersonalData_PERSONAL_DATA_FREE_TEXT
}

// within says that a named field is the path or a message around it, as rules over several fields
// name their message.
func within(path, named string) bool {
	return named != "" && (path == named || strings.HasPrefix(path, named+".") || strings.HasPrefix(path, named+"[") ||
		strings.HasPrefix(named, path+"["))
}

// index strips "[0]" from a path, for exceptions that hold for every element.
func index(name string) string { return strings.ReplaceAll(name, "["+strconv.Itoa(0)+"]", "") }
