package disktest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"amanat.example/deploy/disktest"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/soaktest"
)

// trial is work on a disk whose power can go, or whose process can die, at any step.
type trial struct {
	begin func()       // before anything; the disk is empty
	work  func() error // may be called again on what an earlier call left; its first error ends it
	look  func() error // says whether all that was promised is there
}

// atEverySync cuts the power at every sync of the work, just before or just after it, and looks; and lets the process die there,
// the next one look, or do the work too, on what it finds, and looks again after the power was cut. A soak does each at every step. A
// stride above 1 takes that part of the syncs.
func atEverySync(t *testing.T, d *disktest.Disk, try trial, stride int) {
	t.Helper()
	start := func(p disktest.Plan) {
		d.Erase()
		try.begin()
		d.Plan(p)
	}
	start(disktest.Plan{})
	err := try.work()
	all := d.Counts()
	if err := errors.Join(err, try.look()); err != nil {
		t.Fatal(err)
	}
	cuts := uint64(0)
	lose := func(seed uint64, what string) {
		d.Restore(seed)
		cuts++
		if err := try.look(); err != nil {
			t.Errorf("%s, seed %d: %v", what, seed, err)
		} else if err := errors.Join(try.work(), try.look()); err != nil {
			t.Errorf("%s, seed %d: going on: %v", what, seed, err)
		}
	}
	steps, soak := all.Syncs, soaktest.Soak()
	if soak {
		steps = nil
		for step := range all.Steps {
			steps = append(steps, step+1)
		}
	}
	either := func(n int) []bool {
		if soak {
			return []bool{false, true}
		}
		return []bool{n%2 == 0}
	}
	for n := 0; n < len(steps); n += stride {
		step := steps[n]
		for _, after := range either(n) {
			start(disktest.Plan{CutAt: step, CutAfter: after})
			if err := try.work(); err != nil && !d.Counts().PowerLost {
				t.Errorf("step %d, with power: %v", step, err)
			}
			lose(1+cuts, fmt.Sprintf("cut at step %d, after it %t", step, after))
		}
		for _, works := range either(n / 2) {
			start(disktest.Plan{DieAt: step})
			if err := try.work(); err == nil {
				t.Errorf("the process outlived its death at step %d", step)
			}
			d.Plan(disktest.Plan{})
			err := try.look()
			if err == nil && works {
				err = try.work()
			}
			if err != nil {
				t.Errorf("death at step %d, with power: %v", step, err)
				continue
			}
			lose(disktest.KeepNothing, fmt.Sprintf("death at step %d, and a cut after the next has looked, or worked %t", step, works))
		}
	}
	t.Logf("%d cuts and deaths, at one in %d of %d of %d steps, of which %d were syncs", cuts, stride, len(steps), all.Steps, len(all.Syncs))
}

// vault is a keyring and what was sealed under it, which lies elsewhere and is never lost.
type vault struct {
	dir    string
	sealed map[string][]byte
	erased map[string]bool
	index  []byte
}

func (v *vault) open() (*privacy.Keyring, error) {
	k, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: v.dir})
	if err != nil {
		return nil, err
	}
	if index := k.BlindIndex("name", []byte("token")); v.index == nil {
		v.index = index
	} else if !bytes.Equal(index, v.index) {
		return nil, errors.Join(errors.New("the key of the indexes is another"), k.Close())
	}
	return k, nil
}

// prepare makes a key and seals something under it.
func (v *vault) prepare(k *privacy.Keyring, name string) error {
	err := k.Prepare(context.Background(), name)
	if errors.Is(err, privacy.ErrErased) {
		return nil // by an earlier run
	}
	if err == nil && v.sealed[name] == nil {
		v.sealed[name], err = k.Seal(name, "note", []byte("of "+name))
	}
	return err
}

func (v *vault) work() error {
	k, err := v.open()
	if err != nil {
		return err
	}
	ctx := context.Background()
	for _, do := range []func() error{
		func() error { return v.prepare(k, "person/1") },
		func() error { return v.prepare(k, "person/2") },
		func() error { return k.TurnOver(ctx) },
		func() error { return v.prepare(k, "person/3") },
		func() error { return k.Erase(ctx, "person/1") },
		func() error { v.erased["person/1"] = true; return k.TurnOver(ctx) },
	} {
		if err = do(); err != nil {
			break
		}
	}
	return errors.Join(err, k.Close())
}

// look opens everything that was sealed. What it has read of a key it may tell, so a key that was being erased stays so.
func (v *vault) look() error {
	k, err := v.open()
	if err != nil {
		return err
	}
	for name, sealed := range v.sealed {
		plain, openErr := k.Open(name, "note", sealed)
		switch {
		case errors.Is(openErr, privacy.ErrErased) && name == "person/1":
			v.erased[name] = true
		case openErr != nil:
			err = errors.Join(err, fmt.Errorf("%s: %w", name, openErr))
		case v.erased[name]:
			err = errors.Join(err, fmt.Errorf("%s is back though it was erased", name))
		case string(plain) != "of "+name:
			err = errors.Join(err, fmt.Errorf("%s reads %q", name, plain))
		}
	}
	err = errors.Join(err, k.Close())
	report, checkErr := privacy.CheckKeys(context.Background(), v.dir)
	return errors.Join(err, checkErr, report.Err())
}

// Power is lost at every sync while keys are made, erased, and the wrapping key turned over: what was sealed opens, what was
// erased stays erased, and the keyring opens again by itself.
func TestPowerIsCutUnderTheKeys(t *testing.T) {
	d := disktest.New(t)
	atEverySync(t, d, vaultTrial(d), soaktest.Alone(1, 3))
}

// vaultTrial makes and erases keys, and turns the wrapping key over.
func vaultTrial(d *disktest.Disk) trial {
	var v *vault
	return trial{
		begin: func() { v = &vault{dir: d.Folder(), sealed: map[string][]byte{}, erased: map[string]bool{}} },
		work:  func() error { return v.work() },
		look:  func() error { return v.look() },
	}
}
