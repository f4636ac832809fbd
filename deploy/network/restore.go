package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"google.golang.org/protobuf/proto"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/federal"
	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/store"
	"amanat.example/services/protection"
	"amanat.example/services/referral"
	"amanat.example/services/shelter"
)

// Restoration says from where a node is brought back.
type Restoration struct {
	// Root is the folder of the data.
	Root string
	// Node to be brought back; empty for the only one in From.
	Node string
	// From and KeysFrom are the folders of the data and of the keys, as Backup.To and KeysTo.
	From, KeysFrom string
	// At is which data to take: the time in the name of its manifest; empty for the latest.
	At string
	// Identities open it.
	Identities []age.Identity
	// Replace puts it in the place of a node that is there and does not run.
	Replace bool
}

// Restored is what came of it.
type Restored struct {
	Node string
	// Data and Keys are the manifests it was restored from.
	Data, Keys *backupv1.Manifest
	// Replaced is where the files lie that were there before; empty where there were none.
	Replaced string
}

var restores = map[string]func(ctx context.Context, data, node string, rows, keys io.Reader) error{
	Federal: federal.Restore, Protection: protection.Restore, Referral: referral.Restore, Shelter: shelter.Restore,
}

// Restore brings a node back from the data of a backup, the latest keys, and the secret key that opens them. All is restored and checked
// beside its place and then renamed into it: on an error nothing has changed. Each store begins a new life; when the node is started, its
// services ask the other nodes what they lost.
func Restore(ctx context.Context, r Restoration) (_ *Restored, err error) {
	b, err := r.choose()
	if err != nil {
		return nil, err
	}
	node := b.node
	if err := r.mayWrite(node); err != nil {
		return nil, err
	}
	for _, f := range b.files() {
		if err := f.whole(); err != nil {
			return nil, err
		}
	}
	stage := filepath.Join(r.Root, ".restoring-"+node)
	if err := errors.Join(os.RemoveAll(stage), durable.MakeFolder(stage)); err != nil { // left by a restore that was broken off
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	if err := b.identity(stage, r.Identities); err != nil {
		return nil, err
	}
	for _, service := range b.services() {
		if err := b.restore(ctx, stage, service, r.Identities); err != nil {
			return nil, fmt.Errorf("%s of %s cannot be restored: %w", service, node, err)
		}
	}
	if err := r.prove(ctx, stage, b); err != nil {
		return nil, err
	}
	replaced, err := r.put(stage, node)
	if err != nil {
		return nil, err
	}
	return &Restored{Node: node, Data: b.data.Manifest, Keys: b.keys.Manifest, Replaced: replaced}, nil
}

// mayWrite refuses a place that is taken, and a node that runs.
func (r Restoration) mayWrite(node string) error {
	folder := filepath.Join(r.Root, node)
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if !r.Replace {
		return fmt.Errorf("data: %s is there already: name an empty folder, or say --replace to put the backup in its place", folder)
	}
	for service := range restores {
		err := store.InUse(filepath.Join(folder, service, service+".db"))
		if errors.Is(err, store.ErrLocked) {
			return fmt.Errorf("%s of %s runs: stop the node before it is replaced: %w", service, node, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prove looks whether what was restored is a node that can start, before anything is put in its place.
func (r Restoration) prove(ctx context.Context, stage string, b *chosen) error {
	roster, err := identity.LoadRoster(stage, b.node)
	if err != nil {
		return fmt.Errorf("the roster in the backup: %w", err)
	}
	// A roster is only ever extended: where a newer one is there still, the node keeps it.
	there, err := identity.LoadRoster(r.Root, b.node)
	if err == nil && there.Version() > roster.Version() {
		if err := identity.InstallRoster(stage, b.node, there.Log()); err != nil {
			return fmt.Errorf("the node that is to be replaced has a roster which does not continue the backup's; move %s away first: %w", filepath.Join(r.Root, b.node), err)
		}
	}
	for _, service := range append(b.services(), Gateway, Bus) {
		if _, err := identity.Load(stage, b.node, service); err != nil {
			return fmt.Errorf("the identity in the backup: %w", err)
		}
	}
	files, err := Check(ctx, stage, b.node)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := f.Err(); err != nil {
			return fmt.Errorf("what was restored is not sound, take an older backup with --time: %s: %w", filepath.Base(f.Path), err)
		}
	}
	return nil
}

// put renames what was restored into its place.
func (r Restoration) put(stage, node string) (replaced string, err error) {
	if err := r.mayWrite(node); err != nil { // it may have been started meanwhile
		return "", err
	}
	if err := addAddresses(r.Root, filepath.Join(stage, layoutFile)); err != nil {
		return "", err
	}
	place := filepath.Join(r.Root, node)
	if _, err := os.Lstat(place); err == nil {
		replaced = filepath.Join(r.Root, "replaced", node+"-"+time.Now().UTC().Format(stamp))
		if err := durable.MakeFolder(filepath.Dir(replaced)); err != nil {
			return "", err
		}
		if err := os.Rename(place, replaced); err != nil {
			return "", err
		}
	}
	if err := os.Rename(filepath.Join(stage, node), place); err != nil {
		if replaced != "" {
			err = errors.Join(err, os.Rename(replaced, place))
		}
		return "", err
	}
	if replaced != "" {
		if err := durable.SyncName(replaced); err != nil {
			return replaced, err
		}
	}
	return replaced, durable.SyncName(place)
}

// artefactFile is an artefact in its folder.
type artefactFile struct {
	*backupv1.Artefact
	path string
}

// whole says whether the file is the one of the manifest.
func (a artefactFile) whole() error {
	f, err := os.Open(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s, which its manifest names, is missing: copy it there from where it was kept: %w", a.path, err)
	}
	if err != nil {
		return err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if size != a.GetSize() || !bytes.Equal(sum.Sum(nil), a.GetSha256()) {
		return fmt.Errorf("%s is not as its manifest says (%d bytes, want %d): %w", a.path, size, a.GetSize(), backup.ErrTorn)
	}
	return nil
}

// open opens the file and sees that it is what the manifest says it is, by what is under the encryption.
func (a artefactFile) open(identities []age.Identity, use func(io.Reader) error) (err error) {
	f, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	label, body, err := backup.Open(f, identities)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	if !proto.Equal(label, a.GetLabel()) {
		return fmt.Errorf("%s is the %s of %s/%s, and its manifest says another thing: it was renamed or exchanged; take the files as they were written",
			a.path, partNames[label.GetPart()], label.GetNode(), label.GetService())
	}
	if err := use(body); err != nil {
		if errors.Is(err, store.ErrNewer) {
			return fmt.Errorf("%s was written by a newer program (%q): restore it with that one or a later one: %w", a.path, label.GetProgram(), err)
		}
		return fmt.Errorf("%s: %w", a.path, err)
	}
	return nil
}

var partNames = map[backupv1.Part]string{backupv1.Part_PART_DATA: "data", backupv1.Part_PART_KEYS: "keys", backupv1.Part_PART_NODE: "identity"}
