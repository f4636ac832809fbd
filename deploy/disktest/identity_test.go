package disktest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	identityv1 "amanat.example/proto/amanat/identity/v1"

	"amanat.example/deploy/disktest"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/soaktest"
)

// registry is a node in the making, and the rosters installed there. The other node of its network lies elsewhere.
type registry struct {
	root      string
	other     *identityv1.NodeRequest
	made      bool
	installed int // versions
}

var registryNode = identity.Options{Node: "sindh", DisplayName: "Sindh", Province: "PK-SD", Services: []string{"referral"}}

func (r *registry) init() error {
	if r.made {
		return nil
	}
	o := registryNode
	o.Root = r.root
	_, err := identity.InitNode(o)
	if errors.Is(err, fs.ErrExist) && !exists(identity.RequestPath(r.root, o.Node)) {
		// Cut short: the operator moves it away, as the error says, and begins anew.
		if err := os.RemoveAll(filepath.Join(r.root, o.Node)); err != nil {
			return err
		}
		_, err = identity.InitNode(o)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		r.made = err == nil || r.made
		return nil
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// work makes the node, a first roster with it alone, and a second with the other node.
func (r *registry) work() error {
	if err := r.init(); err != nil {
		return err
	}
	data, err := os.ReadFile(identity.RequestPath(r.root, registryNode.Node))
	if err != nil {
		return err
	}
	request, err := identity.DecodeRequest(data)
	if err != nil {
		return err
	}
	for version := 1; version <= 2; version++ {
		log := &identityv1.RosterLog{}
		if roster, err := identity.LoadRoster(r.root, registryNode.Node); err == nil {
			log = roster.Log()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var next *identityv1.SignedRoster
		switch have := len(log.GetVersions()); {
		case have == 0:
			next, err = identity.NewRoster(time.Now(), request)
		case have == 1:
			next, err = identity.NextRoster(log, time.Now(), []*identityv1.NodeRequest{r.other}, nil)
		}
		if err != nil {
			return err
		}
		if next != nil {
			if err := identity.SignRoster(r.root, registryNode.Node, next); err != nil {
				return err
			}
			log.Versions = append(log.Versions, next)
		}
		if err := identity.InstallRoster(r.root, registryNode.Node, log); err != nil {
			return err
		}
		r.installed = max(r.installed, len(log.GetVersions()))
	}
	return nil
}

func (r *registry) look() error {
	roster, err := identity.LoadRoster(r.root, registryNode.Node)
	if err != nil && (r.installed > 0 || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if r.installed > 0 && len(roster.Log().GetVersions()) < r.installed {
		return fmt.Errorf("version %d of the roster was installed, version %d is there", r.installed, len(roster.Log().GetVersions()))
	}
	if !r.made {
		return nil
	}
	if !exists(identity.RequestPath(r.root, registryNode.Node)) {
		return errors.New("the node was made and has no request")
	}
	if r.installed == 0 {
		return nil
	}
	_, err = identity.Load(r.root, registryNode.Node, "referral")
	return err
}

// Power is lost at every sync while a node's keys and certificates are made and rosters installed: what was reported as made is there
// whole, no file is half there, and what was cut short can be done again.
func TestPowerIsCutUnderTheIdentity(t *testing.T) {
	d := disktest.New(t)
	atEverySync(t, d, registryTrial(t, d), soaktest.Alone(1, 3))
}

// registryTrial makes a node's identity and installs rosters.
func registryTrial(t *testing.T, d *disktest.Disk) trial {
	t.Helper()
	other, err := identity.InitNode(identity.Options{
		Root: t.TempDir(), Node: "punjab", DisplayName: "Punjab", Province: "PK-PB", Services: []string{"referral"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var r *registry
	return trial{
		begin: func() { r = &registry{root: filepath.Join(d.Folder(), "data"), other: other} },
		work:  func() error { return r.work() },
		look:  func() error { return r.look() },
	}
}
