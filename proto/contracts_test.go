// Package proto_test holds the rules that DESIGN sections 8 and 8a claim of our contracts, over the
// descriptors that the generated code links. A rule that is broken on purpose stands in the rule's
// exceptions with its reason; an exception nobody needs any more is a fault too.
//
// What only the text of a .proto can show (that every message, field, call and value is explained) is
// held by buf lint, category COMMENTS.
package proto_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// rule is one claim. Its check reports the full name of whatever breaks it, and how.
type rule struct {
	name   string
	check  func(files []protoreflect.FileDescriptor, report func(name protoreflect.FullName, fault string))
	except map[protoreflect.FullName]string
}

func rules() []rule {
	return slices.Concat(methodRules(), fieldRules(), privacyRules())
}

func TestContracts(t *testing.T) {
	files := ours()
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			needed := map[protoreflect.FullName]bool{}
			r.check(files, func(name protoreflect.FullName, fault string) {
				if _, excused := r.except[name]; excused {
					needed[name] = true
					return
				}
				t.Errorf("%s %s", name, fault)
			})
			for name, reason := range r.except {
				if reason == "" {
					t.Errorf("%s is excused without a reason", name)
				}
				if !needed[name] {
					t.Errorf("%s is excused and breaks nothing: remove the exception", name)
				}
			}
		})
	}
}

// A rule that finds nothing in a file made to break it would hold nothing.
func TestEveryRuleBites(t *testing.T) {
	faulty := faultyFiles(t, "amanat.custody.v1", "amanat.events.v1", "amanat.federal.v1", "amanat.post.v1")
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			found := 0
			r.check(faulty, func(name protoreflect.FullName, fault string) {
				t.Log(name, fault)
				found++
			})
			if found == 0 {
				t.Error("finds no fault in testdata/faulty.txtpb")
			}
		})
	}
}

// faultyFiles reads testdata/faulty.txtpb once for each package.
func faultyFiles(t *testing.T, packages ...string) []protoreflect.FileDescriptor {
	t.Helper()
	text, err := os.ReadFile("testdata/faulty.txtpb")
	if err != nil {
		t.Fatal(err)
	}
	var faulty []protoreflect.FileDescriptor
	for _, name := range packages {
		var file descriptorpb.FileDescriptorProto
		if err := prototext.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		file.Name = proto.String(name + "/events.proto")
		file.Package = proto.String(name)
		descriptor, err := protodesc.NewFile(&file, protoregistry.GlobalFiles)
		if err != nil {
			t.Fatal(err)
		}
		faulty = append(faulty, descriptor)
	}
	return faulty
}

// A contract that is not linked here would be under no rule.
func TestEveryProtoIsLinked(t *testing.T) {
	found := 0
	err := filepath.WalkDir("amanat", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".proto" {
			return err
		}
		found++
		if _, err := protoregistry.GlobalFiles.FindFileByPath(filepath.ToSlash(path)); err != nil {
			t.Errorf("%s is not linked: import its Go package in contracts_test.go", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("no .proto files found")
	}
}

// ours answers the linked files of amanat.*, in order of path.
func ours() []protoreflect.FileDescriptor {
	var files []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(file.Package()), "amanat.") {
			files = append(files, file)
		}
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	return files
}

// messagesOf answers all messages of the files, nested ones too, without those made for maps.
func messagesOf(files []protoreflect.FileDescriptor) []protoreflect.MessageDescriptor {
	var all []protoreflect.MessageDescriptor
	var add func(messages protoreflect.MessageDescriptors)
	add = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			if m := messages.Get(i); !m.IsMapEntry() {
				all = append(all, m)
				add(m.Messages())
			}
		}
	}
	for _, file := range files {
		add(file.Messages())
	}
	return all
}

// methodsOf answers all calls of the files' services.
func methodsOf(files []protoreflect.FileDescriptor) []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for _, file := range files {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				all = append(all, methods.Get(j))
			}
		}
	}
	return all
}

// fieldsOf answers a message's own fields.
func fieldsOf(m protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	all := make([]protoreflect.FieldDescriptor, m.Fields().Len())
	for i := range all {
		all[i] = m.Fields().Get(i)
	}
	return all
}

// walk visits the fields that can be reached from a message, each once. It does not go on below a
// field for which visit answers false, nor into foreign messages.
func walk(root protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool, visit func(protoreflect.FieldDescriptor) bool) {
	if seen[root.FullName()] || !strings.HasPrefix(string(root.FullName()), "amanat.") {
		return
	}
	seen[root.FullName()] = true
	for _, field := range fieldsOf(root) {
		if visit(field) && field.Message() != nil {
			walk(field.Message(), seen, visit)
		}
	}
}
