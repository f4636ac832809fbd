package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/privacy/privacytest"
)

// leaf is a marked field that can be reached from a request, such as
// `amanat.protection.v1.CreateCaseRequest:case.person.given_name`.
type leaf struct {
	id   string
	path []protoreflect.FieldDescriptor
}

func (l leaf) field() protoreflect.FieldDescriptor { return l.path[len(l.path)-1] }

// in opens the message that holds the leaf; of a list the first.
func (l leaf) in(request proto.Message) protoreflect.Message {
	m := request.ProtoReflect()
	for _, field := range l.path[:len(l.path)-1] {
		if !field.IsList() {
			m = m.Mutable(field).Message()
			continue
		}
		list := m.Mutable(field).List()
		if list.Len() == 0 {
			list.AppendMutable()
		}
		m = list.Get(0).Message()
	}
	return m
}

// leaves are those of a request that can stand in it: not what belongs to another choice than the one it has made, of a oneof, or of an agency
// outside the network where a unit is asked.
func leaves(request proto.Message) []leaf {
	return slices.DeleteFunc(leavesOf(request.ProtoReflect().Descriptor()), func(l leaf) bool {
		m := request.ProtoReflect()
		for _, field := range l.path {
			chosen := field
			if oneof := field.ContainingOneof(); oneof != nil {
				chosen = m.WhichOneof(oneof)
			}
			unit := m.Descriptor().Fields().ByName("to_unit")
			if chosen != nil && chosen != field || field.Name() == "external" && unit != nil && m.Has(unit) {
				return true
			}
			switch {
			case !m.Has(field) || field.Message() == nil:
				return false
			case field.IsList():
				m = m.Get(field).List().Get(0).Message()
			default:
				m = m.Get(field).Message()
			}
		}
		return false
	})
}

// leavesOf lists the marked fields of a request. A marked message marks all that is in it; a
// message that is not of our contracts, such as a date, is one value.
func leavesOf(request protoreflect.MessageDescriptor) (all []leaf) {
	var walk func(protoreflect.MessageDescriptor, []protoreflect.FieldDescriptor, bool)
	walk = func(m protoreflect.MessageDescriptor, above []protoreflect.FieldDescriptor, marked bool) {
		for i := range m.Fields().Len() {
			field := m.Fields().Get(i)
			path, marked := append(slices.Clone(above), field), marked || privacy.Kind(field) != 0
			if field.Message() != nil && !field.IsMap() && strings.HasPrefix(string(field.Message().FullName()), "amanat.") {
				walk(field.Message(), path, marked)
				continue
			}
			if marked || field.Message() != nil && privacy.Marked(field.Message()) {
				var names []string
				for _, f := range path {
					names = append(names, string(f.Name()))
				}
				all = append(all, leaf{string(request.FullName()) + ":" + strings.Join(names, "."), path})
			}
		}
	}
	walk(request, nil, false)
	return all
}

// methods lists the methods of all our services.
func methods() (all []protoreflect.MethodDescriptor) {
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				if strings.HasPrefix(string(s.FullName()), "amanat.") {
					all = append(all, s.Methods().Get(j))
				}
			}
		}
		return true
	})
	return all
}

// flock are canaries: values that stand in marked fields and nowhere else. Texts have a stem in
// common, which is what is sought, and a number that says whose they are.
//
// A code, a date and an age are no secrets by themselves; they are sought as they would stand
// beside their field's name or tag, or as a code that nothing else of the run uses. A lone small
// number cannot be sought: that it is sealed with the rest of its message is shown in kit/privacy.
type flock struct {
	stem, digits string
	numbers      map[string]int // by leaf
	// sent are the leaves that went out in a request that was taken, refused in one that was not.
	sent, refused map[string]bool
	searcher      *searcher
}

const (
	bigNumber           = 1481516234 // stands where an age is too large
	oldest, oldestTo    = 93, 117
	gender              = "TransgenderMasculine"
	district            = "PK-KP-SWZ-LOWER"
	birthYear, saidYear = 1903, 1917
)

var (
	languages    = []string{"khw", "bft", "gju"}
	exploitation = []string{"OrganRemoval", "VaniOrSwara"}
	birthDate    = &date.Date{Year: birthYear, Month: 11, Day: 23}
	ageAsOf      = &date.Date{Year: saidYear, Month: 10, Day: 29}
)

func newFlock() *flock {
	f := &flock{
		stem: "canary" + strings.ToLower(rand.Text()[:12]), numbers: map[string]int{},
		sent: map[string]bool{}, refused: map[string]bool{}, searcher: &searcher{},
	}
	for _, b := range []byte(rand.Text()[:9]) {
		f.digits += strconv.Itoa(int(b)%9 + 1)
	}
	s := f.searcher
	for what, text := range map[string]string{
		"a text": f.stem, "digits": f.digits, "a CNIC": f.cnic(), "a CNIC's digits": strings.ReplaceAll(f.cnic(), "-", ""),
		"a gender": gender, "a district": district, "an exploitation": exploitation[0], "another exploitation": exploitation[1],
		"languages": strings.Join(languages, ","), "languages in JSON": strings.Join(languages, `","`),
		"languages in text": strings.Join(languages, `"languages:"`), "a number": strconv.Itoa(bigNumber),
		"an age in JSON": fmt.Sprintf(`age_from":%d`, oldest), "an age in text": fmt.Sprintf(`age_from:%d`, oldest),
		"an age in camel case": fmt.Sprintf(`agefrom":%d`, oldest), "the oldest age in camel case": fmt.Sprintf(`ageto":%d`, oldestTo),
		"the oldest age in JSON": fmt.Sprintf(`age_to":%d`, oldestTo), "the oldest age in text": fmt.Sprintf(`age_to:%d`, oldestTo),
		"a year in JSON": fmt.Sprintf(`year":%d`, birthYear), "a year in text": fmt.Sprintf(`year:%d`, birthYear),
		"the year of an age in JSON": fmt.Sprintf(`year":%d`, saidYear), "the year of an age in text": fmt.Sprintf(`year:%d`, saidYear),
		"a date": fmt.Sprintf("%d-11-23", birthYear), "the day of an age": fmt.Sprintf("%d-10-29", saidYear),
	} {
		s.seek(what, []byte(text))
	}
	s.seek("spoken languages", []byte(strings.Join(languages, " ")))
	var spoken, ages []byte
	for _, l := range languages {
		spoken = protowire.AppendString(protowire.AppendTag(spoken, 11, protowire.BytesType), l)
	}
	s.seek("languages as protobuf", spoken)
	ages = protowire.AppendVarint(protowire.AppendTag(ages, 6, protowire.VarintType), oldest)
	ages = protowire.AppendVarint(protowire.AppendTag(ages, 7, protowire.VarintType), oldestTo)
	s.seek("ages as protobuf", protowire.AppendTag(ages, 8, protowire.BytesType))
	for what, m := range map[string]proto.Message{"a birth date as protobuf": birthDate, "the day of an age as protobuf": ageAsOf} {
		raw, err := proto.Marshal(m)
		if err != nil {
			panic(err)
		}
		s.seek(what, raw)
	}
	s.seek("a number as protobuf", protowire.AppendVarint(nil, bigNumber))
	s.seek("a time as protobuf", protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), uint64(f.nanos())))
	return f
}

func (f *flock) cnic() string { return "4" + f.digits[:4] + "-" + f.digits[2:] + "-7" }

func (f *flock) nanos() int32 {
	n, err := strconv.ParseInt(f.digits, 10, 32)
	if err != nil {
		panic(err)
	}
	return int32(n)
}

func (f *flock) number(l leaf) int {
	if f.numbers[l.id] == 0 {
		f.numbers[l.id] = len(f.numbers) + 10
	}
	return f.numbers[l.id]
}

// plant puts a canary into every marked field of a request.
func (f *flock) plant(t testing.TB, request proto.Message) {
	t.Helper()
	for _, l := range leaves(request) {
		m, field := l.in(request), l.field()
		if value := f.value(l); value.IsValid() {
			m.Set(field, value)
			continue
		}
		list := map[protoreflect.Name][]string{"languages": languages, "exploitation": exploitation}[field.Name()]
		if list == nil || !field.IsList() {
			t.Fatalf("%s has no canary yet: teach flock.value what it may hold", l.id)
		}
		m.Clear(field)
		for _, code := range list {
			m.Mutable(field).List().Append(protoreflect.ValueOfString(code))
		}
	}
}

// value is a canary that the field's own rules take; invalid where there is none.
func (f *flock) value(l leaf) (none protoreflect.Value) {
	field := l.field()
	if field.IsList() || field.IsMap() {
		return none
	}
	switch field.Name() {
	case "phone":
		return protoreflect.ValueOfString(fmt.Sprintf("+92%s%d", f.digits, f.number(l)))
	case "email":
		return protoreflect.ValueOfString(fmt.Sprintf("%s-%d@cpu.example", f.stem, f.number(l)))
	case "cnic":
		return protoreflect.ValueOfString(f.cnic())
	case "gender":
		return protoreflect.ValueOfString(gender)
	case "found_district":
		return protoreflect.ValueOfString(district)
	case "age_from":
		return protoreflect.ValueOfInt32(oldest)
	case "age_to":
		return protoreflect.ValueOfInt32(oldestTo)
	case "birth_date":
		return protoreflect.ValueOfMessage(proto.CloneOf(birthDate).ProtoReflect())
	case "age_as_of":
		return protoreflect.ValueOfMessage(proto.CloneOf(ageAsOf).ProtoReflect())
	case "meeting_time":
		soon := timestamppb.New(time.Now().Add(23 * time.Hour))
		soon.Nanos = f.nanos()
		return protoreflect.ValueOfMessage(soon.ProtoReflect())
	}
	text := fmt.Sprintf("%s-%d", f.stem, f.number(l))
	if field.Name() == "worker" && field.Kind() == protoreflect.StringKind { // A resource name, and nothing else.
		return protoreflect.ValueOfString("nodes/" + there + "/workers/" + text)
	}
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text + ` "زینب"`)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text))
	}
	return none
}

// spoil makes requests that break a rule of one marked field each, with a canary in it.
func (f *flock) spoil(request proto.Message) map[string]proto.Message {
	spoiled := map[string]proto.Message{}
	for _, l := range leaves(request) {
		text := fmt.Sprintf("%s-%d", f.stem, f.number(l))
		put := func(how string, value protoreflect.Value) {
			s := proto.Clone(request)
			m := l.in(s)
			if l.field().IsList() {
				m.Mutable(l.field()).List().Append(value)
			} else {
				m.Set(l.field(), value)
			}
			spoiled[l.id+", "+how] = s
		}
		switch l.field().Kind() {
		case protoreflect.StringKind:
			put("too long", protoreflect.ValueOfString(text+strings.Repeat("x", 9000)))
			if slices.Contains([]protoreflect.Name{"phone", "email", "cnic", "gender", "found_district", "languages", "exploitation"}, l.field().Name()) {
				put("no such code", protoreflect.ValueOfString(f.digits+f.stem[len(f.stem)-8:]))
			}
		case protoreflect.BytesKind:
			put("too long", protoreflect.ValueOfBytes([]byte(text+strings.Repeat("x", 9000))))
		case protoreflect.Int32Kind:
			put("too large", protoreflect.ValueOfInt32(bigNumber))
		}
	}
	return spoiled
}

// note remembers which leaves a request carried.
func (f *flock) note(in map[string]bool, request proto.Message) {
	for _, l := range leaves(request) {
		in[l.id] = true
	}
}

// owed lists the leaves of all requests that were not in a request of that kind.
func (f *flock) owed(in map[string]bool) (missing []string) {
	for _, m := range methods() {
		for _, l := range leavesOf(m.Input()) {
			if !in[l.id] {
				missing = append(missing, l.id)
			}
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// made are marked fields that no request can carry, with what services put into them.
var made = map[protoreflect.FullName]string{
	"amanat.protection.v1.Dossier.person":         "the person of the case",
	"amanat.protection.v1.Dossier.exploitation":   "that of the case",
	"amanat.protection.v1.Dossier.narrative":      "that of the case",
	"amanat.protection.v1.Dossier.found_district": "that of the case",
	"amanat.custody.v1.Annex.content":             "an AnnexContent",
	"amanat.custody.v1.AnnexContent.note":         "the notes and the feedback of requests",
	"amanat.custody.v1.AnnexContent.worker":       "the worker who accepts",
	"amanat.custody.v1.AnnexContent.escort":       "the escort of the dispatch",
	"amanat.custody.v1.AnnexContent.destination":  "the location of the shelter",
	"amanat.custody.v1.Destination.address":       "that of the shelter",
	"amanat.custody.v1.Destination.phone":         "that of the shelter",
	"amanat.shelter.v1.Hold.location":             "that of the shelter, once the hold is confirmed",
	"amanat.shelter.v1.Location.address":          "that of the shelter",
	"amanat.shelter.v1.Location.phone":            "that of the shelter",
}

// unreached lists the marked fields of all our messages that were in no request and are not made
// of what was.
func unreached() (missing []string) {
	reached := map[protoreflect.FullName]bool{}
	for _, m := range methods() {
		for _, l := range leavesOf(m.Input()) {
			for _, field := range l.path {
				reached[field.FullName()] = true
			}
		}
	}
	for _, kind := range privacytest.Types() {
		fields := kind.Descriptor().Fields()
		for i := range fields.Len() {
			field := fields.Get(i)
			if privacy.Kind(field) != 0 && !reached[field.FullName()] && made[field.FullName()] == "" {
				missing = append(missing, string(field.FullName()))
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// provesItself shows that each marked field alone would be found, in whatever of the usual forms a
// request with it lay in a file of the network.
func (f *flock) provesItself(t *testing.T, root string) {
	t.Helper()
	folder := filepath.Join(root, "control")
	must(t, os.Mkdir(folder, 0o700))
	what := map[string]string{} // by path
	for _, m := range methods() {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
		must(t, err)
		whole := kind.New().Interface()
		f.plant(t, whole)
		for _, l := range leavesOf(m.Input()) {
			request := kind.New().Interface()
			l.in(request).Set(l.field(), l.in(whole).Get(l.field()))
			for form, content := range formsOf(t, l, request) {
				path := filepath.Join(folder, strconv.Itoa(len(what)))
				what[path] = fmt.Sprintf("%s in %s: %q", l.id, form, content)
				must(t, os.WriteFile(path, content, 0o600))
			}
		}
	}
	eachFile(t, root, func(path string, content []byte) {
		if len(f.searcher.find(content)) > 0 {
			delete(what, path)
		}
	})
	for _, missed := range what {
		t.Errorf("this would not be found: %s", missed)
	}
	must(t, os.RemoveAll(folder))
}

// formsOf are the usual forms of a request that holds one marked field.
func formsOf(t *testing.T, l leaf, request proto.Message) map[string][]byte {
	t.Helper()
	binary, err := proto.Marshal(request)
	must(t, err)
	json, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(request)
	must(t, err)
	text, err := prototext.Marshal(request)
	must(t, err)
	if strings.HasPrefix(string(l.field().Name()), "age_") && l.field().Message() == nil {
		return map[string][]byte{"JSON": json, "text": text} // a lone small number; see flock
	}
	return map[string][]byte{
		"binary": binary, "JSON": json, "text": text,
		"base64": []byte(base64.StdEncoding.EncodeToString(binary)), "hex": []byte(hex.EncodeToString(binary)),
	}
}
