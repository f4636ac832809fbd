package disktest_test

import (
	"maps"
	"testing"

	"amanat.example/deploy/disktest"
	"amanat.example/services/kit/post/posttest"
)

// forgetful are programs that do not sync: their files, or their folders.
var forgetful = map[string]disktest.Plan{"file": {ForgetFiles: true}, "folder": {ForgetFolders: true}}

// A store that did not sync its file, or its folder, or no commit once it is made, would be found out.
func TestCutsFindAStoreThatDoesNotSync(t *testing.T) {
	d := disktest.New(t)
	mutants := maps.Clone(forgetful)
	mutants["commits"] = disktest.Plan{ForgetFiles: true}
	for name, forget := range mutants {
		t.Run(name, func(t *testing.T) {
			for n := range uint64(50) {
				b := newBook(d)
				if name == "commits" {
					if err := b.write(1); err != nil {
						t.Fatal(err)
					}
				}
				b.forgetFiles, b.forgetFolders = forget.ForgetFiles, forget.ForgetFolders
				if err := b.round(n); err != nil {
					t.Logf("found by cut %d: %v", n+1, err)
					return
				}
			}
			t.Error("50 cuts did not find it")
		})
	}
}

// A post on a store that did not sync its commits would be found out: what was acknowledged is gone.
func TestCutsFindAPostThatDoesNotSync(t *testing.T) {
	root, disks := posttest.Network(t), [2]*disktest.Disk{disktest.New(t), disktest.New(t)}
	c := newCountry(t, root, disks, 1)
	o := c.offices[0]
	o.disk.Plan(disktest.Plan{ForgetFiles: true})
	c.run(60)
	o.disk.Cut()
	o.close()
	o.disk.Restore(disktest.KeepNothing)
	if err := o.open(); err != nil {
		t.Fatal(err)
	}
	defer o.close()
	if n := uint64(len(o.texts(queued))); n >= o.acked || o.acked == 0 {
		t.Errorf("of %d acknowledged letters %d are there: the cut did not find it", o.acked, n)
	}
	c.offices[1].close()
}

// Keys, certificates and rosters that were written without a sync of the file, or of its folder, would be found out.
func TestCutsFindADurableWriteThatDoesNotSync(t *testing.T) {
	d := disktest.New(t)
	for name, forget := range forgetful {
		for what, try := range map[string]func() trial{
			"identity": func() trial { return registryTrial(t, d) },
			"keys":     func() trial { return vaultTrial(d) },
		} {
			t.Run(what+"/"+name, func(t *testing.T) {
				d.Erase()
				try := try()
				try.begin()
				d.Plan(forget)
				if err := try.work(); err != nil {
					t.Fatal(err)
				}
				d.Restore(disktest.KeepNothing)
				err := try.look()
				if err == nil {
					t.Fatal("a cut did not find it")
				}
				t.Log(err)
			})
		}
	}
}
