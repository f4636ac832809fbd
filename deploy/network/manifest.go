package network

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"

	backupv1 "amanat.example/proto/amanat/backup/v1"
	"amanat.example/services/kit/durable"
)

// How the names of manifests end.
const (
	dataManifest = ".data.json"
	keysManifest = ".keys.json"
)

// kept is a manifest in a folder.
type kept struct {
	*backupv1.Manifest
	path string
}

// manifests are those of one node in a folder, or of all where node is empty; the oldest first.
func manifests(dir, suffix, node string) (all []kept, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name := e.Name(); name[0] == '.' || !strings.HasSuffix(name, suffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		m := &backupv1.Manifest{}
		if err := protojson.Unmarshal(raw, m); err != nil {
			return nil, fmt.Errorf("%s is no manifest of a backup, or not all of it: copy it again from where it was kept, or move it away: %w", path, err)
		}
		if err := protovalidate.Validate(m); err != nil {
			return nil, fmt.Errorf("%s is no manifest of a backup: copy it again from where it was kept, or move it away: %w", path, err)
		}
		if node == "" || m.GetNode() == node {
			all = append(all, kept{m, path})
		}
	}
	slices.SortFunc(all, func(a, b kept) int {
		return cmp.Or(a.GetBeginTime().AsTime().Compare(b.GetBeginTime().AsTime()), cmp.Compare(a.path, b.path))
	})
	return all, nil
}

// artefactOf matches the names of one node's files; another node's name may begin with this one's.
func artefactOf(node string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.QuoteMeta(node) + "-((" + strings.Join([]string{Protection, Referral, Shelter, Federal}, "|") + `)-[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9]+\.(data|keys)|[0-9]{8}T[0-9]{6}\.[0-9]{3}Z\.node)\.age$`)
}

// removeOlder leaves the latest keys of a node in their folder, and as many backups of the data as are to be kept. What a backup that was
// broken off has left goes, too. The folders are locked.
func removeOlder(b Backup) (removed []string, err error) {
	remove := func(path string) error {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			removed = append(removed, filepath.Base(path))
		}
		return err
	}
	named := map[string]bool{}
	for _, of := range []struct {
		dir, suffix string
		keep        int
	}{{b.KeysTo, keysManifest, 1}, {b.To, dataManifest, b.Keep}} {
		all, err := manifests(of.dir, of.suffix, b.Node)
		if err != nil {
			return removed, err
		}
		older := max(0, len(all)-of.keep)
		// The manifests first: what is left of a backup that is half gone must not look whole.
		for _, old := range all[:older] {
			if err := remove(old.path); err != nil {
				return removed, err
			}
		}
		for _, m := range all[older:] {
			for _, a := range m.GetArtefacts() {
				named[a.GetFile()] = true
			}
		}
	}
	ours := artefactOf(b.Node)
	for _, dir := range slices.Compact([]string{b.KeysTo, b.To}) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return removed, err
		}
		for _, e := range entries {
			left := strings.HasPrefix(e.Name(), ".new-") || strings.HasPrefix(e.Name(), "."+b.Node+"-") && strings.HasSuffix(e.Name(), ".part")
			if left || ours.MatchString(e.Name()) && !named[e.Name()] {
				if err := remove(filepath.Join(dir, e.Name())); err != nil {
					return removed, err
				}
			}
		}
		if err := durable.SyncName(filepath.Join(dir, "names")); err != nil {
			return removed, err
		}
	}
	return removed, nil
}
