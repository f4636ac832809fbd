package disktest

import (
	"errors"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a mounted disk, for one test. Its methods end the test when the server fails.
type Disk struct {
	tb     testing.TB
	folder string
	calls  *rpc.Client
}

// New mounts an empty disk until the test ends. Where the machine has no FUSE, or nothing by which this user could mount, the test is skipped, and
// says why; any other failure to mount fails it.
func New(tb testing.TB) *Disk {
	tb.Helper()
	d := &Disk{tb: tb, folder: filepath.Join(tb.TempDir(), "disk")}
	if err := os.Mkdir(d.folder, 0o700); err != nil {
		tb.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), folderVariable+"="+d.folder)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	d.calls = rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	tb.Cleanup(func() {
		if err := errors.Join(d.calls.Close(), command.Wait()); err != nil {
			tb.Errorf("the disk's server: %v", err)
		}
	})
	err = d.calls.Call("Disk.Erase", Nothing{}, &Nothing{})
	switch refused := rpc.ServerError(""); {
	case errors.As(err, &refused):
		if why := cannotMount(d.folder); why != nil {
			tb.Skipf("no disk can be mounted here (%v): %v", why, err)
		}
		tb.Fatalf("this machine has FUSE, and no disk can be mounted: %v", err)
	case err != nil:
		tb.Fatal(err)
	}
	return d
}

// cannotMount says why nobody could mount a file system on a folder: there is no /dev/fuse that can be opened, or this user is not root and there is
// no fusermount3, or this is a root who may mount nothing, as in most containers. The kernel looks for that right before it looks at what is to be
// mounted, which here is nothing.
func cannotMount(folder string) error {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := device.Close(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		_, err := exec.LookPath("fusermount3")
		return err
	}
	if err := syscall.Mount("none", folder, "no-such-file-system", 0, ""); errors.Is(err, syscall.EPERM) {
		return err
	}
	return nil
}

func (d *Disk) call(method string, in, out any) {
	d.tb.Helper()
	if err := d.calls.Call("Disk."+method, in, out); err != nil {
		d.tb.Fatalf("disk: %s: %v", method, err)
	}
}

// Folder is where the disk is mounted.
func (d *Disk) Folder() string { return d.folder }

// Plan makes a plan in place of the last, and counts from here.
func (d *Disk) Plan(p Plan) { d.tb.Helper(); d.call("SetPlan", p, &Nothing{}) }

// Counts says what happened since the last plan.
func (d *Disk) Counts() (c Counts) { d.tb.Helper(); d.call("Counts", Nothing{}, &c); return c }

// Cut takes the power. Whoever has a file open gets EIO from then on.
func (d *Disk) Cut() { d.tb.Helper(); d.call("Cut", Nothing{}, &Nothing{}) }

// Restore brings the power back, after taking it where that was not done. The seed draws what the disk kept of what was not
// synced; see KeepNothing. Plan and counts begin anew.
func (d *Disk) Restore(seed uint64) { d.tb.Helper(); d.call("Restore", seed, &Nothing{}) }

// Erase puts an empty disk in.
func (d *Disk) Erase() { d.tb.Helper(); d.call("Erase", Nothing{}, &Nothing{}) }

// Flip turns around one bit of a file, named from the root of the disk. It must be synced. Who has the file open, or mapped, sees
// it too.
func (d *Disk) Flip(file string, bit int64) {
	d.tb.Helper()
	d.call("Flip", Place{file, bit}, &Nothing{})
}
