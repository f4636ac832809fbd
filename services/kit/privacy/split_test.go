package privacy_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"

	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/privacy/privacytest"
)

// everyShape is a message with a marked and an unmarked field of every shape: text, list, map,
// oneof, message, list of messages, map of messages, itself.
func everyShape(t interface{ Fatal(...any) }) protoreflect.MessageDescriptor {
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("shape.proto"), Package: proto.String("shape"), Syntax: proto.String("proto3"),
		Dependency: []string{"amanat/privacy/v1/privacy.proto"},
	}
	shape := &descriptorpb.DescriptorProto{Name: proto.String("Shape"), OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("choice")}}}
	add := func(name string, list bool, message string, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		field := &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(int32(len(shape.Field) + 1)), Type: kind.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if list {
			field.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		if message != "" {
			field.TypeName = proto.String(message)
		}
		if strings.HasPrefix(name, "marked") {
			field.Options = &descriptorpb.FieldOptions{}
			proto.SetExtension(field.Options, privacyv1.E_Personal, privacyv1.PersonalData_PERSONAL_DATA_NAME)
		}
		shape.Field = append(shape.Field, field)
		return field
	}
	const (
		text    = descriptorpb.FieldDescriptorProto_TYPE_STRING
		number  = descriptorpb.FieldDescriptorProto_TYPE_INT64
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	for _, prefix := range []string{"marked", "plain"} {
		add(prefix+"_text", false, "", text)
		add(prefix+"_number", false, "", number)
		add(prefix+"_texts", true, "", text)
		add(prefix+"_self", false, ".shape.Shape", message)
		add(prefix+"_selves", true, ".shape.Shape", message)
		for _, value := range []string{"text", "shape"} {
			entry := strings.ToUpper(prefix[:1]) + prefix[1:] + strings.ToUpper(value[:1]) + value[1:] + "MapEntry"
			add(prefix+"_"+value+"_map", true, ".shape.Shape."+entry, message)
			kind, name := text, ""
			if value == "shape" {
				kind, name = message, ".shape.Shape"
			}
			key := &descriptorpb.FieldDescriptorProto{Name: proto.String("key"), Number: proto.Int32(1), Type: text.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
			val := &descriptorpb.FieldDescriptorProto{Name: proto.String("value"), Number: proto.Int32(2), Type: kind.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
			if name != "" {
				val.TypeName = proto.String(name)
			}
			shape.NestedType = append(shape.NestedType, &descriptorpb.DescriptorProto{
				Name: proto.String(entry), Field: []*descriptorpb.FieldDescriptorProto{key, val},
				Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
			})
		}
	}
	for _, prefix := range []string{"marked", "plain"} {
		add(prefix+"_choice", false, "", text).OneofIndex = proto.Int32(0)
		add(prefix+"_choice_self", false, ".shape.Shape", message).OneofIndex = proto.Int32(0)
	}
	file.MessageType = []*descriptorpb.DescriptorProto{shape}
	made, err := protodesc.NewFile(file, registry{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Messages().Get(0)
}

type registry struct{}

func (registry) FindFileByPath(string) (protoreflect.FileDescriptor, error) {
	return privacyv1.File_amanat_privacy_v1_privacy_proto, nil
}

func (registry) FindDescriptorByName(protoreflect.FullName) (protoreflect.Descriptor, error) {
	return nil, errors.New("not needed")
}

// random sets fields of m as rapid draws, three deep, with unknown fields now and then.
func random(t *rapid.T, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !rapid.Bool().Draw(t, "set") || field.Message() != nil && depth >= 3 {
			continue
		}
		one := func(value protoreflect.Value, of protoreflect.FieldDescriptor) protoreflect.Value {
			switch of.Kind() {
			case protoreflect.MessageKind:
				random(t, value.Message(), depth+1)
				return value
			case protoreflect.StringKind:
				return protoreflect.ValueOfString(rapid.StringMatching(`[a-z]{0,3}`).Draw(t, "text"))
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "bytes"))
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(rapid.Int64Range(0, 3).Draw(t, "number"))
			default:
				return of.Default()
			}
		}
		switch value := m.NewField(field); {
		case field.IsMap():
			if field.MapKey().Kind() != protoreflect.StringKind {
				continue
			}
			for range rapid.IntRange(0, 2).Draw(t, "size") {
				key := protoreflect.ValueOfString(rapid.StringMatching(`[a-z]{0,2}`).Draw(t, "key")).MapKey()
				value.Map().Set(key, one(value.Map().NewValue(), field.MapValue()))
			}
			m.Set(field, value)
		case field.IsList():
			for range rapid.IntRange(0, 2).Draw(t, "size") {
				value.List().Append(one(value.List().NewElement(), field))
			}
			m.Set(field, value)
		default:
			m.Set(field, one(value, field))
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "unknown") == 0 {
		m.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 5))
	}
}

// findMarked names the first marked or unknown field that is set in m.
func findMarked(m protoreflect.Message) (found string) {
	if len(m.GetUnknown()) > 0 {
		return string(m.Descriptor().FullName()) + " unknown"
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case privacy.Kind(field) != 0:
			found = string(field.FullName())
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				found = findMarked(v.Message())
				return found == ""
			})
		case field.IsMap() || field.Message() == nil:
		case field.IsList():
			for i := 0; i < value.List().Len() && found == ""; i++ {
				found = findMarked(value.List().Get(i).Message())
			}
		default:
			found = findMarked(value.Message())
		}
		return found == ""
	})
	return found
}

func checkSplit(t interface {
	Errorf(string, ...any)
	Fatal(...any)
}, m proto.Message,
) {
	before := proto.Clone(m)
	public, marked := privacy.Split(m)
	if !proto.Equal(m, before) {
		t.Errorf("Split changed its argument")
	}
	if found := findMarked(public.ProtoReflect()); found != "" {
		t.Errorf("the public part holds %s", found)
	}
	if again, none := privacy.Split(public); !proto.Equal(again, public) || proto.Size(none) != 0 {
		t.Errorf("the public part has a marked part")
	}
	if err := privacy.Merge(public, marked); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(public, before) {
		t.Errorf("merged to %v, want %v", public, before)
	}
}

func TestMergeUndoesSplit(t *testing.T) {
	shape := everyShape(t)
	rapid.Check(t, func(t *rapid.T) {
		m := dynamicpb.NewMessage(shape)
		random(t, m, 0)
		checkSplit(t, m)
	})
}

func TestMergeUndoesSplitForEveryContract(t *testing.T) {
	for _, kind := range privacytest.Types() {
		for pick := range 12 {
			m := kind.New().Interface()
			privacytest.Fill(m, pick)
			checkSplit(t, m)
			data, err := proto.Marshal(privacy.Redact(m))
			if err != nil || privacytest.Holds(data) {
				t.Errorf("%s: the redacted message holds the canary (%v)", kind.Descriptor().FullName(), err)
			}
			whole, err := proto.Marshal(m)
			if isMarked := findMarked(m.ProtoReflect()) != ""; err != nil || privacytest.Holds(whole) != isMarked {
				t.Errorf("%s: a marked field is set: %v, and the canary is there: %v (%v)",
					kind.Descriptor().FullName(), isMarked, !isMarked, err)
			}
		}
	}
}

func TestMergeRefusesStrangers(t *testing.T) {
	shape := everyShape(t)
	field := func(name protoreflect.Name) protoreflect.FieldDescriptor { return shape.Fields().ByName(name) }
	whole := dynamicpb.NewMessage(shape)
	list := whole.Mutable(field("plain_selves")).List()
	list.AppendMutable().Message().Set(field("marked_text"), protoreflect.ValueOfString("x"))
	whole.Mutable(field("plain_shape_map")).Map().Mutable(protoreflect.ValueOfString("k").MapKey()).Message().
		Set(field("marked_text"), protoreflect.ValueOfString("x"))
	for _, name := range []protoreflect.Name{"plain_selves", "plain_shape_map"} {
		public, marked := privacy.Split[proto.Message](whole)
		public.ProtoReflect().Clear(field(name))
		if err := privacy.Merge(public, marked); !errors.Is(err, privacy.ErrUnfit) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	public, marked := privacy.Split[proto.Message](whole)
	public.ProtoReflect().Mutable(field("plain_selves")).List().AppendMutable()
	if err := privacy.Merge(public, marked); !errors.Is(err, privacy.ErrUnfit) {
		t.Errorf("with an element more: %v", err)
	}
}

func TestMarksAreFound(t *testing.T) {
	shape := everyShape(t)
	for _, c := range []struct {
		kind protoreflect.MessageDescriptor
		want bool
	}{
		{shape, true},
		{(&identityv1.WorkerContact{}).ProtoReflect().Descriptor(), true},
		{(&identityv1.RosterLog{}).ProtoReflect().Descriptor(), false},
		{(&timestamppb.Timestamp{}).ProtoReflect().Descriptor(), false},
	} {
		err := privacy.CheckUnmarked(c.kind)
		if privacy.Marked(c.kind) != c.want || errors.Is(err, privacy.ErrMarked) != c.want {
			t.Errorf("%s: marked %v, %v", c.kind.FullName(), privacy.Marked(c.kind), err)
		}
	}
	err := privacy.CheckUnmarked(shape)
	for _, name := range []string{"Shape.marked_text (", "Shape.marked_choice (", "Shape.marked_shape_map ("} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if err := privacy.CheckUnmarked((&eventsv1.Event{}).ProtoReflect().Descriptor()); !errors.Is(err, privacy.ErrMarked) {
		t.Errorf("an Any passed: %v", err)
	}
}

// TestNothingMarkedIsFederalOrAnEvent walks every message whose place is an event or the federal
// node.
func TestNothingMarkedIsFederalOrAnEvent(t *testing.T) {
	checked := 0
	for _, kind := range privacytest.Types() {
		path := kind.Descriptor().ParentFile().Path()
		isEvent := strings.HasSuffix(path, "/events.proto") && !strings.HasPrefix(path, "amanat/events/")
		if !isEvent && !strings.HasPrefix(path, "amanat/federal/") {
			continue
		}
		checked++
		if err := privacy.CheckUnmarked(kind.Descriptor()); err != nil {
			t.Error(err)
		}
	}
	if checked < 10 {
		t.Errorf("only %d messages were checked", checked)
	}
}

func TestAnyIsOpaqueUnlessKnownUnmarked(t *testing.T) {
	pack := func(m proto.Message) *anypb.Any {
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	contact := &identityv1.WorkerContact{Worker: "w", DisplayName: privacytest.Canary}
	unknown := pack(contact)
	unknown.TypeUrl = "type.googleapis.com/amanat.nowhere.v1.Nothing"
	for name, c := range map[string]struct {
		data *anypb.Any
		kept bool
	}{
		"unmarked": {pack(&identityv1.RosterSignature{Node: "sindh"}), true},
		"marked":   {pack(contact), false},
		"unknown":  {unknown, false},
	} {
		event := &eventsv1.Event{Id: "1", Data: c.data}
		checkSplit(t, event)
		got := privacy.Redact(event)
		if (len(got.GetData().GetValue()) > 0) != c.kept || got.GetData().GetTypeUrl() != c.data.GetTypeUrl() {
			t.Errorf("%s: redacted to %v", name, got)
		}
	}
}

// What Split would take out is what Carries sees.
func TestCarries(t *testing.T) {
	for name, c := range map[string]struct {
		message proto.Message
		want    bool
	}{
		"nothing set":          {&shelterv1.Hold{}, false},
		"nothing marked set":   {&shelterv1.Hold{Name: "nodes/punjab/holds/x", Quantity: 1}, false},
		"a marked message":     {&shelterv1.Hold{Location: &shelterv1.Location{}}, true},
		"a marked text":        {&shelterv1.Shelter{Address: "a"}, true},
		"within a list":        {&shelterv1.ListSheltersResponse{Shelters: []*shelterv1.Shelter{{Name: "n"}, {Phone: "+92"}}}, true},
		"a list without marks": {&shelterv1.ListSheltersResponse{Shelters: []*shelterv1.Shelter{{Name: "n"}}}, false},
	} {
		if got := privacy.Carries(c.message); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		public, _ := privacy.Split(c.message)
		if got := !proto.Equal(public, c.message); got != c.want {
			t.Errorf("%s: Split differs: %v", name, got)
		}
	}
	unknown := &shelterv1.Hold{}
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x7f, 1})
	if !privacy.Carries(unknown) {
		t.Error("what nobody knows is taken for harmless")
	}
}
