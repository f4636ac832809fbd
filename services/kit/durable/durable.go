// Package durable writes small files that appear whole or not at all: keys, certificates, the
// roster. Files are 0600 and the folders it makes 0700. When a call has returned nil, what it
// wrote survives the loss of power.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Create writes a file that must not exist yet: a key is never overwritten. The error wraps
// fs.ErrExist where something is in the way.
func Create(path string, data []byte) error {
	return CreateWith(path, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// CreateWith is Create for what is too long to be held in memory: the file appears when write has returned nil.
func CreateWith(path string, write func(io.Writer) error) error {
	temp, err := writeBeside(path, write)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	// A link, unlike a rename, refuses to replace what is there.
	if err := os.Link(temp, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s exists and is never overwritten: %w", path, fs.ErrExist)
		}
		return fmt.Errorf("create %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

// Replace writes a file that may exist. A reader sees the old content or the new.
func Replace(path string, data []byte) error {
	temp, err := writeBeside(path, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(fmt.Errorf("replace %s: %w", path, err), os.Remove(temp))
	}
	return syncFolder(filepath.Dir(path))
}

// MakeFolder makes a folder, and those above it, where they do not exist yet. A folder's name is kept by the one above it, so
// that one is synced too: else all that is written below could be gone with it. It is synced also where the folder is there
// already: a process may have made it and died.
func MakeFolder(path string) error {
	above := filepath.Dir(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if err := syncFolder(above); !errors.Is(err, fs.ErrPermission) { // who may not read it has made nothing in it
			return err
		}
		return nil
	}
	if above != path {
		if err := MakeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder %s: %w", path, err)
	}
	return syncFolder(above)
}

// SyncName makes a file's name survive the loss of power; its content is synced by whoever wrote it.
func SyncName(path string) error { return syncFolder(filepath.Dir(path)) }

func writeBeside(path string, write func(io.Writer) error) (name string, err error) {
	if err := MakeFolder(filepath.Dir(path)); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made 0600
	if err != nil {
		return "", fmt.Errorf("write beside %s: %w", path, err)
	}
	if err = write(f); err == nil {
		err = syncFile(f)
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return "", errors.Join(fmt.Errorf("write beside %s: %w", path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// syncFile and syncFolder are variables so that the test can see what is synced.
var syncFile = (*os.File).Sync

var syncFolder = func(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
