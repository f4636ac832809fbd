package disktest

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/rpc"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// folderVariable names the environment's variable that makes a process a server, and says where it mounts.
const folderVariable = "DISK_FOLDER"

// Serve serves a disk and does not return, in the process that New has started; in any other it does nothing.
func Serve() {
	folder := os.Getenv(folderVariable)
	if folder == "" {
		return
	}
	s := &server{folder: folder}
	if err := serve(s); err != nil {
		fmt.Fprintln(os.Stderr, "disk:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers calls until the test closes its end.
func serve(s *server) error {
	calls := rpc.NewServer()
	if err := calls.RegisterName("Disk", s); err != nil {
		return err
	}
	calls.ServeConn(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
	return s.eject()
}

// quiet keeps back that a reader died before it was answered.
var quiet = log.New(io.Discard, "", 0)

// server mounts one drive after the other on its folder: as root by itself, else by fusermount3. Its exported methods are those of net/rpc.
type server struct {
	folder string
	drive  *drive
	root   *entry
}

func (s *server) insert(d *drive) error {
	s.root = &entry{drive: d, node: d.root}
	_, err := fs.Mount(s.folder, s.root, &fs.Options{
		MountOptions:    fuse.MountOptions{DirectMount: true, FsName: "amanat-test-disk", Name: "disk", Logger: quiet},
		NullPermissions: true,
		UID:             uint32(os.Geteuid()),
		GID:             uint32(os.Getegid()),
		Logger:          quiet,
		RootStableAttr:  &fs.StableAttr{Ino: d.root.id},
	})
	if err != nil {
		return fmt.Errorf("mount %s, which takes root or fusermount3, and /dev/fuse: %w", s.folder, err)
	}
	s.drive = d
	return nil
}

// eject lets those who still have files open keep a disk that answers EIO. Where none was inserted it does nothing.
func (s *server) eject() error {
	if s.drive == nil {
		return nil
	}
	s.drive.cut()
	err := syscall.Unmount(s.folder, syscall.MNT_DETACH)
	if errors.Is(err, syscall.EPERM) { // fusermount3 has mounted it
		err = exec.Command("fusermount3", "-u", "-z", s.folder).Run()
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", s.folder, err)
	}
	return nil
}

// Nothing is what a call takes or gives that has nothing to say.
type Nothing struct{}

// SetPlan makes a plan, and counts from here.
func (s *server) SetPlan(p Plan, _ *Nothing) error {
	s.drive.setPlan(p)
	return nil
}

// Counts says what happened since the last plan.
func (s *server) Counts(_ Nothing, c *Counts) error {
	*c = s.drive.count()
	return nil
}

// Cut takes the power.
func (s *server) Cut(Nothing, *Nothing) error {
	s.drive.cut()
	return nil
}

// Restore brings the power back.
func (s *server) Restore(seed uint64, _ *Nothing) error {
	if err := s.eject(); err != nil {
		return err
	}
	return s.insert(s.drive.afterLoss(seed))
}

// Erase puts an empty disk in.
func (s *server) Erase(Nothing, *Nothing) error {
	if err := s.eject(); err != nil {
		return err
	}
	return s.insert(newDrive())
}

// Place is a bit of a file.
type Place struct {
	File string // from the root of the disk, with slashes
	Bit  int64
}

// Flip turns a bit around where the disk has it, and has the kernel read it anew.
func (s *server) Flip(p Place, _ *Nothing) error {
	if err := s.drive.flip(p); err != nil {
		return err
	}
	inode := s.root.EmbeddedInode()
	for part := range strings.SplitSeq(path.Clean(p.File), "/") {
		if inode = inode.GetChild(part); inode == nil {
			return nil // the kernel does not know it
		}
	}
	if errno := inode.NotifyContent(0, 0); errno != 0 && errno != syscall.ENOENT {
		return errno
	}
	return nil
}

func (d *drive) flip(p Place) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.find(p.File)
	if n == nil || n.file == nil || p.Bit < 0 || p.Bit >= 8*n.file.size {
		return errors.New("no such place")
	}
	n.file.flip(p.Bit)
	return nil
}
