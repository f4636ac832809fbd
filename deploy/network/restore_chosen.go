package network

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/durable"
	"amanat.example/services/kit/identity"
)

// chosen is a backup from which a node is restored: its artefacts, complete and of one node.
type chosen struct {
	node         string
	data, keys   kept
	rows, sealed map[string]artefactFile // by service
	own          artefactFile            // what makes the node itself
}

// choose takes the data that is asked for, and the latest keys.
func (r Restoration) choose() (*chosen, error) {
	all, err := manifests(r.From, dataManifest, "")
	if err != nil {
		return nil, err
	}
	nodes := map[string]bool{}
	var of []kept
	for _, m := range all {
		nodes[m.GetNode()] = true
	}
	node := r.Node
	switch names := slices.Sorted(maps.Keys(nodes)); {
	case len(names) == 0:
		return nil, fmt.Errorf("from: %s holds no backup; its manifests end in %s", r.From, dataManifest)
	case node == "" && len(names) > 1:
		return nil, fmt.Errorf("node: %s holds backups of %s: name one with --node", r.From, strings.Join(names, ", "))
	case node == "":
		node = names[0]
	case !nodes[node]:
		return nil, fmt.Errorf("node: %s holds backups of %s, and none of %s", r.From, strings.Join(names, ", "), node)
	}
	var times []string
	for _, m := range all {
		if at := m.GetBeginTime().AsTime().Format(stamp); m.GetNode() == node {
			times = append(times, at)
			if r.At == "" || r.At == at {
				of = append(of, m)
			}
		}
	}
	if len(of) == 0 {
		return nil, fmt.Errorf("time: %s holds no backup of %s of %s; there are %s", r.From, node, r.At, strings.Join(times, ", "))
	}
	keys, err := manifests(r.KeysFrom, keysManifest, node)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("keys-from: %s holds no keys of %s; without them nobody's records can be read", r.KeysFrom, node)
	}
	c := &chosen{node: node, data: of[len(of)-1], keys: keys[len(keys)-1]}
	return c, c.complete(r)
}

// complete sorts the artefacts and says what is missing.
func (c *chosen) complete(r Restoration) error {
	if c.keys.GetBeginTime().AsTime().Before(c.data.GetBeginTime().AsTime()) {
		return fmt.Errorf("the keys in %s (%s) are older than the data (%s), and what was recorded between could not be read: bring the keys of that backup or later ones, "+
			"or take older data with --time", r.KeysFrom, c.keys.GetBeginTime().AsTime().Format(stamp), c.data.GetBeginTime().AsTime().Format(stamp))
	}
	c.rows, c.sealed = map[string]artefactFile{}, map[string]artefactFile{}
	for _, m := range []kept{c.data, c.keys} {
		for _, a := range m.GetArtefacts() {
			label, f := a.GetLabel(), artefactFile{a, filepath.Join(filepath.Dir(m.path), a.GetFile())}
			if label.GetNode() != c.node {
				return fmt.Errorf("%s names a file of another node, %s: take the manifest as it was written", m.path, label.GetNode())
			}
			switch label.GetPart() {
			case backupv1.Part_PART_DATA:
				c.rows[label.GetService()] = f
			case backupv1.Part_PART_KEYS:
				c.sealed[label.GetService()] = f
			case backupv1.Part_PART_NODE:
				c.own = f
			}
		}
	}
	if c.own.Artefact == nil {
		return fmt.Errorf("%s does not name what makes the node itself: take the manifest as it was written", c.keys.path)
	}
	for _, service := range c.services() {
		if _, ok := c.sealed[service]; !ok || restores[service] == nil {
			return fmt.Errorf("%s has data of %s, for which there are no keys in %s, or which this program does not know: take both from one node's backups", c.data.path, service, c.keys.path)
		}
	}
	return nil
}

func (c *chosen) services() []string { return slices.Sorted(maps.Keys(c.rows)) }

func (c *chosen) files() []artefactFile {
	files := []artefactFile{c.own}
	for _, service := range c.services() {
		files = append(files, c.rows[service], c.sealed[service])
	}
	return files
}

func (c *chosen) restore(ctx context.Context, stage, service string, identities []age.Identity) error {
	return c.sealed[service].open(identities, func(keys io.Reader) error {
		return c.rows[service].open(identities, func(rows io.Reader) error {
			return restores[service](ctx, stage, c.node, rows, keys)
		})
	})
}

// identity unpacks what makes the node itself.
func (c *chosen) identity(stage string, identities []age.Identity) error {
	return c.own.open(identities, func(body io.Reader) error {
		if err := unpack(body, stage, c.node); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, body) // to the end, which age verifies
		return err
	})
}

// unpack puts the files of an archive that writeNodeFiles wrote into a folder, and none that is not of the node.
func unpack(body io.Reader, stage, node string) error {
	archive := tar.NewReader(body)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.FromSlash(header.Name)
		inside := name == layoutFile || strings.HasPrefix(name, node+string(filepath.Separator))
		if header.Typeflag != tar.TypeReg || !filepath.IsLocal(name) || !inside || filepath.Clean(name) != name || header.Size > identity.MaxFile {
			return fmt.Errorf("it holds %q, which is no file of this node", header.Name)
		}
		raw, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := durable.Create(filepath.Join(stage, name), raw); err != nil {
			return err
		}
	}
}

// ownAddresses are those of a node, and where it finds the hub.
func ownAddresses(root, node string) ([]byte, error) {
	all, err := loadAddresses(root)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(at, _ string) bool { return at != key(FederalNode, Hub) && !strings.HasPrefix(at, node+"/") })
	return json.MarshalIndent(all, "", "  ")
}

// addAddresses enters addresses from a file under a root. Those that are there stay: they may have been changed since.
func addAddresses(root, path string) error {
	all, err := readAddresses(path)
	if err != nil {
		return fmt.Errorf("the addresses in the backup: %w", err)
	}
	there, err := loadAddresses(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	maps.Copy(all, there)
	if maps.Equal(all, there) {
		return nil
	}
	return saveAddresses(root, all)
}
