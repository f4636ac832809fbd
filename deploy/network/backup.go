package network

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/backup"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/release"
	"amanat.example/services/kit/rpc"
)

// Backup says where the backup of a node goes.
type Backup struct {
	// Node that runs.
	Node string
	// To and KeysTo are the folders of the data and of the keys. They may be the same.
	To, KeysTo string
	// Keep is how many backups of the data stay in To, this one among them; at least 1. Of the keys only this one stays.
	Keep int
}

// BackedUp is what came of it: what each manifest says, and which files of older backups were removed.
type BackedUp struct {
	Data, Keys *backupv1.Manifest
	Removed    []string
}

// stamp is the time in the names of files, to the millisecond, so that names sort by it.
const stamp = "20060102T150405.000Z"

// BackUp has every service of a node that runs write its data and its keys, encrypted to the node's recipients, and adds what makes the
// node itself. On an error no backup is there that was not before.
func (l *Layout) BackUp(ctx context.Context, b Backup) (_ *BackedUp, err error) {
	n, err := l.Node(b.Node)
	if err != nil {
		return nil, err
	}
	if b.Keep < 1 {
		return nil, fmt.Errorf("keep: %d backups of the data cannot stay: use 1 or more", b.Keep)
	}
	b.To, b.KeysTo = filepath.Clean(b.To), filepath.Clean(b.KeysTo)
	for _, dir := range slices.Compact([]string{b.To, b.KeysTo}) {
		unlock, err := lockFolder(dir)
		if err != nil {
			return nil, err
		}
		defer func() { _ = unlock() }()
	}
	now := time.Now().UTC()
	w := &backupWriting{layout: l, node: b.Node, at: now.Format(stamp)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.undo())
		}
	}()
	done := &BackedUp{
		Data: &backupv1.Manifest{Node: b.Node, BeginTime: timestamppb.New(now)}, Keys: &backupv1.Manifest{Node: b.Node, BeginTime: timestamppb.New(now)},
	}
	// Keys after the data of every service: a key is written before what is sealed under it, so no row lacks its key.
	for _, part := range []backupv1.Part{backupv1.Part_PART_DATA, backupv1.Part_PART_KEYS} {
		for _, service := range n.Services {
			if service == Gateway {
				continue // it has no store; its tokens go with the node
			}
			manifest, dir := done.Data, b.To
			if part == backupv1.Part_PART_KEYS {
				manifest, dir = done.Keys, b.KeysTo
			}
			artefact, err := w.service(ctx, dir, service, part)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %s", service, b.Node, status.Convert(err).Message())
			}
			manifest.Artefacts = append(manifest.Artefacts, artefact)
		}
	}
	own, err := w.identity(b.KeysTo, now)
	if err != nil {
		return nil, err
	}
	done.Keys.Artefacts = append(done.Keys.Artefacts, own)
	// The keys' manifest first: data that is whole has its keys.
	if err := w.manifest(b.KeysTo, keysManifest, done.Keys); err != nil {
		return nil, err
	}
	if err := w.manifest(b.To, dataManifest, done.Data); err != nil {
		return nil, err
	}
	w.written = nil // from here on this backup stays
	done.Removed, err = removeOlder(b)
	if err != nil {
		return done, fmt.Errorf("the backup is there, but older ones could not be removed, and of keys only the latest may exist: %w", err)
	}
	return done, nil
}

// lockFolder keeps two backups from tidying one folder at once. It makes the folder.
func lockFolder(path string) (unlock func() error, err error) {
	if err := durable.MakeFolder(path); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another backup goes into %s now: wait for it, or name another folder: %w", path, err), dir.Close())
	}
	return dir.Close, nil
}

// backupWriting writes the files of one backup.
type backupWriting struct {
	layout   *Layout
	node, at string
	written  []string // paths, to be removed when the backup does not become whole
}

func (w *backupWriting) undo() (err error) {
	for _, path := range w.written {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// service has one service write one part.
func (w *backupWriting) service(ctx context.Context, dir, service string, part backupv1.Part) (artefact *backupv1.Artefact, err error) {
	trust, err := identity.OperatorTLS(w.layout.Root, w.node, service)
	if err != nil {
		return nil, err
	}
	conn, err := rpc.Dial(w.layout.Address(w.node, service), trust)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	kind := map[backupv1.Part]string{backupv1.Part_PART_DATA: "data", backupv1.Part_PART_KEYS: "keys"}[part]
	temp := filepath.Join(dir, fmt.Sprintf(".%s-%s-%s.%s.part", w.node, service, w.at, kind))
	artefact, err = w.file(temp, func(out io.Writer) (*backupv1.Label, error) { return backup.Fetch(ctx, conn, part, out) })
	if err != nil {
		return nil, err
	}
	// The incarnation is known now.
	artefact.File = fmt.Sprintf("%s-%s-%s-%d.%s.age", w.node, service, w.at, artefact.GetLabel().GetIncarnation(), kind)
	path := filepath.Join(dir, artefact.GetFile())
	if err := os.Rename(temp, path); err != nil {
		return nil, err
	}
	w.written[len(w.written)-1] = path
	return artefact, durable.SyncName(path)
}

// file writes one file that appears whole or not at all, and tells its size and sum.
func (w *backupWriting) file(path string, write func(io.Writer) (*backupv1.Label, error)) (*backupv1.Artefact, error) {
	sum, count := sha256.New(), &counter{}
	artefact := &backupv1.Artefact{File: filepath.Base(path)}
	err := durable.CreateWith(path, func(f io.Writer) (err error) {
		out := bufio.NewWriterSize(io.MultiWriter(f, sum, count), 1<<20)
		if artefact.Label, err = write(out); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		return nil, err
	}
	w.written = append(w.written, path)
	artefact.Size, artefact.Sha256 = count.bytes, sum.Sum(nil)
	return artefact, nil
}

type counter struct{ bytes int64 }

func (c *counter) Write(data []byte) (int, error) {
	c.bytes += int64(len(data))
	return len(data), nil
}

// identity writes what makes the node itself: no service runs without it, and the others know the node by it.
func (w *backupWriting) identity(dir string, now time.Time) (*backupv1.Artefact, error) {
	recipients, err := backup.ReadRecipients(backup.RecipientsPath(w.layout.Root, w.node))
	if err != nil {
		return nil, err
	}
	label := &backupv1.Label{Node: w.node, Part: backupv1.Part_PART_NODE, BeginTime: timestamppb.New(now), Program: release.Version()}
	path := filepath.Join(dir, fmt.Sprintf("%s-%s.node.age", w.node, w.at))
	return w.file(path, func(out io.Writer) (*backupv1.Label, error) {
		return label, backup.Seal(out, recipients, label, func(out io.Writer) error { return writeNodeFiles(w.layout.Root, w.node, out) })
	})
}

func (w *backupWriting) manifest(dir, suffix string, m *backupv1.Manifest) error {
	raw, err := protojson.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, w.node+"-"+w.at+suffix)
	if err := durable.Create(path, append(raw, '\n')); err != nil {
		return err
	}
	w.written = append(w.written, path)
	return nil
}

// writeNodeFiles writes a tar of what makes a node beside its stores: the certificate authority, certificates and keys of node, services,
// bus, hub and operator; the roster; the gateway's tokens, of which only sums are kept; the recipients; and its addresses.
func writeNodeFiles(root, node string, out io.Writer) error {
	archive := tar.NewWriter(out)
	for _, pattern := range []string{"identity/*", "*/identity/*", identity.OperatorDir("", "") + "/*", "gateway/tokens.json", "hub/" + hubKeeperFile, "backup-recipients"} {
		paths, err := filepath.Glob(filepath.Join(root, node, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			info, err := os.Lstat(path)
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() || filepath.Base(path)[0] == '.' {
				continue // what is being written beside its place
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if err := addFile(archive, name, raw); err != nil {
				return err
			}
		}
	}
	addresses, err := ownAddresses(root, node)
	if err != nil {
		return err
	}
	if err := addFile(archive, layoutFile, addresses); err != nil {
		return err
	}
	return archive.Close()
}

func addFile(archive *tar.Writer, name string, content []byte) error {
	if err := archive.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}
