package privacytest

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestEveryContractIsImported fails when a proto file is added without its package being imported
// here: its messages would escape every test that walks Types.
func TestEveryContractIsImported(t *testing.T) {
	contracts := os.DirFS("../../../../proto")
	found := 0
	err := fs.WalkDir(contracts, "amanat", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".proto") {
			return err
		}
		found++
		if _, err := protoregistry.GlobalFiles.FindFileByPath(path); err != nil {
			t.Errorf("%s is not registered: import its Go package in privacytest.go", path)
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Fatalf("%d contracts found, %v", found, err)
	}
}
