package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openFile opens the bbolt file of o.Path and makes it first when it is absent. A process that died may have left its last commit,
// or the file's name, written and not synced: both are synced before anything is read here and told on.
func openFile(o Options) (Engine, error) {
	if o.Path == "" {
		return nil, errors.New("store.Open: Options.Path or Options.Engine is required")
	}
	_, err := os.Lstat(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		err = writeFile(o.Path, false, func(e Engine) error { return initialise(e, o) })
		if errors.Is(err, ErrExists) {
			err = nil // another process was quicker
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make store %s: %w", o.Schema.name, err)
	}
	e, err := openBolt(o.Path, boltOptions{lockWait: o.LockWait, reserve: boltReserve})
	if err != nil {
		return nil, err
	}
	if err := syncAsLeft(e.file, o.Path); err != nil {
		return nil, errors.Join(fmt.Errorf("sync %s as it was left: %w", o.Path, err), e.Close())
	}
	return e, nil
}

func syncAsLeft(f *os.File, path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(syncFile(f), syncFile(dir), dir.Close())
}

// initialise writes a new store: its file row and an empty count for every bucket.
func initialise(e Engine, o Options) error {
	now := o.Clock()
	m := fileMeta{incarnation: incarnationAt(now), created: now.UnixNano(), schema: o.Schema.version, name: o.Schema.name}
	if _, err := io.ReadFull(o.Rand, m.id[:]); err != nil {
		return fmt.Errorf("make a store id: %w", err)
	}
	tx, err := e.Begin(true)
	if err != nil {
		return err
	}
	err = putMeta(tx, m)
	declared := o.Schema.declared()
	for _, name := range sortedNames(declared) {
		if err == nil {
			err = putStat(tx, m.schema, name, stat{kind: declared[name]})
		}
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// syncFile is a variable so that a test can see what is synced when.
var syncFile = (*os.File).Sync

// writeFile makes a bbolt file appear under path whole or not at all: it is filled beside its place, synced, and renamed into
// it, and then the folder is synced. A lock on the folder keeps two processes from doing so at once. Without replace, a file
// that is there gives ErrExists.
func writeFile(path string, replace bool, fill func(Engine) error) (err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }() // unlocks too
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock folder %s: %w", dir.Name(), err)
	}
	switch _, err := os.Lstat(path); {
	case err == nil && !replace:
		return fmt.Errorf("file %s: %w", path, ErrExists)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // left by a crash
	}
	defer os.Remove(temp) // gone after the rename; after an error the error matters more
	if err := fillFile(temp, fill); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncFile(dir)
}

func fillFile(path string, fill func(Engine) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	e, err := openBolt(path, boltOptions{fresh: true})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	err = errors.Join(fill(e), e.Close())
	if err == nil {
		err = syncFile(f)
	}
	return errors.Join(err, f.Close())
}
