// Command exportprotos writes the annotation files our protos import (validation, HTTP routes,
// field behaviour, OpenAPI) as .proto text, printed from the descriptors that are linked into the
// Go modules. So generating code needs no network and no copy of foreign files in the tree.
package main

import (
	"flag"
	"fmt"
	"os"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	_ "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2/options"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/api/httpbody"
	_ "google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/jhump/protoreflect/desc"
	"github.com/jhump/protoreflect/desc/protoprint"
)

// google/api/client.proto is linked too, and left out: its printed form does not compile.
var files = []string{
	"buf/validate/validate.proto",
	"google/api/annotations.proto",
	"google/api/field_behavior.proto",
	"google/api/http.proto",
	"google/api/httpbody.proto",
	"google/api/resource.proto",
	"google/type/date.proto",
	"protoc-gen-openapiv2/options/annotations.proto",
	"protoc-gen-openapiv2/options/openapiv2.proto",
}

func main() {
	out := flag.String("out", "../third_party", "folder to write to")
	flag.Parse()
	if err := export(*out); err != nil {
		fmt.Fprintln(os.Stderr, "exportprotos:", err)
		os.Exit(1)
	}
}

func export(out string) error {
	var descriptors []*desc.FileDescriptor
	for _, path := range files {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			return fmt.Errorf("%s is not linked: %w", path, err)
		}
		wrapped, err := desc.WrapFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		descriptors = append(descriptors, wrapped)
	}
	printer := protoprint.Printer{Compact: true}
	return printer.PrintProtosToFileSystem(descriptors, out)
}
