package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestCreateAndReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "key")
	if err := Create(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v", err)
	}
	expect(t, path, "first")
	if err := Replace(path, []byte("third")); err != nil {
		t.Fatal(err)
	}
	expect(t, path, "third")
	if err := Replace(filepath.Dir(path), []byte("x")); err == nil {
		t.Error("a folder was replaced")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
}

func expect(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNewFoldersAreSyncedIntoThoseAbove(t *testing.T) {
	root := t.TempDir()
	var synced []string
	really := syncFolder
	syncFolder = func(path string) error {
		synced = append(synced, path)
		return really(path)
	}
	files := 0
	syncFile = func(f *os.File) error {
		files++
		return f.Sync()
	}
	defer func() { syncFolder, syncFile = really, (*os.File).Sync }()
	folder := filepath.Join(root, "node", "service")
	for range 2 {
		if err := Create(filepath.Join(folder, "key"), nil); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	node := filepath.Join(root, "node")
	want := []string{filepath.Dir(root), root, node, folder, node} // a folder that was there may have been made by one who died
	if !slices.Equal(synced, want) || files != 2 {                 // the second file gets no name
		t.Errorf("synced %v and %d files, want %v and 2", synced, files, want)
	}
	if err := MakeFolder(filepath.Join(folder, "key", "below")); err == nil {
		t.Error("a folder was made below a file")
	}
}

// What fails half way leaves nothing, under its name or another.
func TestCreateWithThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup")
	broken := errors.New("the service ended")
	err := CreateWith(path, func(w io.Writer) error {
		if _, err := w.Write([]byte("half")); err != nil {
			return err
		}
		return broken
	})
	entries, listed := os.ReadDir(filepath.Dir(path))
	if !errors.Is(err, broken) || listed != nil || len(entries) > 0 {
		t.Errorf("%v; left behind: %v, %v", err, entries, listed)
	}
}
