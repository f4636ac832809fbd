package privacy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/store"
)

// A backup of a keyring is: keysMagic; wrapping.key, with its length before it as a uvarint; and the backup of keys.db.
const keysMagic = "amanat keys backup 1\n"

// maxWrappingFile bounds what a damaged length can make RestoreKeys allocate.
const maxWrappingFile = 1 << 20

// Backup writes the key file and what its keys are wrapped under, of one time: a turnover waits until it is done. Whoever has it
// reads everybody whose key was not erased by then, so only the latest may exist. A copy of the data that was begun before finds its
// keys in it.
func (k *Keyring) Backup(ctx context.Context, w io.Writer) error {
	k.turning.Lock()
	defer k.turning.Unlock()
	k.mu.Lock()
	wrapping := encodeWrappingKeys(k.wrapping)
	k.mu.Unlock()
	head := binary.AppendUvarint([]byte(keysMagic), uint64(len(wrapping)))
	if _, err := w.Write(append(head, wrapping...)); err != nil {
		return fmt.Errorf("back up the keyring: %w", err)
	}
	return k.db.Backup(ctx, w)
}

// RestoreKeys makes the key file and its wrapping key in a folder that has neither, and looks whether they belong together. A backup
// that is damaged or cut short gives store.ErrDamaged; then what was made is of no use.
func RestoreKeys(ctx context.Context, dir string, r io.Reader) error {
	in := bufio.NewReader(r)
	magic := make([]byte, len(keysMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != keysMagic {
		return errors.Join(fmt.Errorf("this is no backup of keys: %w", store.ErrDamaged), err)
	}
	size, err := binary.ReadUvarint(in)
	if err != nil || size > maxWrappingFile {
		return errors.Join(fmt.Errorf("the backup of keys is damaged: %w", store.ErrDamaged), err)
	}
	wrapping := make([]byte, size)
	if _, err := io.ReadFull(in, wrapping); err != nil {
		return errors.Join(fmt.Errorf("the backup of keys is cut short: %w", store.ErrDamaged), err)
	}
	if err := store.Restore(ctx, in, store.Options{Path: filepath.Join(dir, keysFile), Schema: keysSchema}, false); err != nil {
		return err
	}
	if err := durable.Create(filepath.Join(dir, wrappingFile), wrapping); err != nil {
		return err
	}
	k, err := OpenKeyring(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	return k.Close()
}
