package store

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRow: only what sealRow has made opens.
func FuzzRow(f *testing.F) {
	f.Add(sealRow("bed", []byte("key"), 1, 300, []byte("payload")).raw)
	f.Add([]byte{rowFormat})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := openRow("bed", []byte("key"), raw)
		if err == nil && !bytes.Equal(sealRow("bed", []byte("key"), r.schema, r.version, r.payload).raw, raw) {
			t.Error("a row opened that does not seal to the same bytes")
		}
		decodeFileMeta(raw)
		decodeStat("bed", raw)
	})
}

// FuzzPages: no bytes make the walk panic or run on for ever.
func FuzzPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), "beds.db")
	db, err := Open(context.Background(), Options{Path: path, Schema: NewSchema("beds", 1)})
	if err != nil {
		f.Fatal(err)
	}
	db.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, oneHead := range []bool{false, true} {
			walkFile(bytes.NewReader(content), int64(len(content)), true, oneHead)
		}
	})
}

// FuzzBackup: no bytes make Restore panic, and it accepts only what a Backup has written.
func FuzzBackup(f *testing.F) {
	schema := NewSchema("beds", 1)
	db, err := Open(context.Background(), Options{Engine: NewMemory(), Schema: schema})
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	var backup bytes.Buffer
	if err := db.Backup(context.Background(), &backup); err != nil {
		f.Fatal(err)
	}
	f.Add(backup.Bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		err := Restore(context.Background(), bytes.NewReader(content), Options{Engine: NewMemory(), Schema: schema}, false)
		if err == nil && !bytes.Equal(content[:len(backupMagic)], []byte(backupMagic)) {
			t.Error("Restore took something that is no backup")
		}
	})
}
