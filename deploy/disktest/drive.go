package disktest

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Plan says when the disk will cut or fail, counted from where the plan was made. The zero Plan does neither.
type Plan struct {
	// CutAt is the step at which power is lost: 1 is the next one. 0: none.
	CutAt int
	// CutAtSync is the sync at which power is lost, for work whose steps between syncs differ from run to run: 1 is the next one. 0: none.
	CutAtSync int
	// CutAfter lets that step happen, and its caller does not hear of it. Without it the step does not happen.
	CutAfter bool
	// DieAt is the step at which the one process that uses the disk dies: from it on nothing happens until the next plan. What it
	// wrote stays written. 0: none.
	DieAt int
	// Full makes the disk full after Room bytes more: then writes give ENOSPC, and so does making files and folders.
	Full bool
	Room int64
	// FailWrite and FailSync give the write or sync of this number EIO, without effect: 1 is the next one. 0: none.
	FailWrite, FailSync int
	// ForgetFiles and ForgetFolders let syncs do nothing and say that they did: so is a program tried that would not sync.
	ForgetFiles, ForgetFolders bool
}

// Counts is what happened since the last plan.
type Counts struct {
	Steps     int   // calls that would change what is on the disk
	Writes    int   // of them
	Bytes     int64 // written
	Syncs     []int // which of them synced a file or folder
	Failed    int   // calls that the plan let fail
	Unsynced  bool  // something written is not sure
	PowerLost bool
}

// drive is the state of one disk.
type drive struct {
	mu     sync.Mutex
	root   *node
	nextID uint64
	plan   Plan
	counts Counts
}

func newDrive() *drive {
	return &drive{nextID: 1, root: &node{id: 1, mode: syscall.S_IFDIR | 0o700, folder: newFolder()}}
}

func sortedNames(names map[string]*node) []string { return slices.Sorted(maps.Keys(names)) }

type kind int

const (
	naming kind = iota
	writing
	syncing
)

// step runs one call that changes the disk, unless the plan has something against it.
func (d *drive) step(k kind, do func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts.PowerLost {
		return syscall.EIO
	}
	d.counts.Steps++
	cut := d.counts.Steps == d.plan.CutAt || k == syncing && len(d.counts.Syncs)+1 == d.plan.CutAtSync
	if cut && !d.plan.CutAfter {
		d.counts.PowerLost = true
		return syscall.EIO
	}
	if d.plan.DieAt > 0 && d.counts.Steps >= d.plan.DieAt {
		return syscall.EIO
	}
	fail := false
	switch k {
	case writing:
		d.counts.Writes++
		fail = d.counts.Writes == d.plan.FailWrite
	case syncing:
		d.counts.Syncs = append(d.counts.Syncs, d.counts.Steps)
		fail = len(d.counts.Syncs) == d.plan.FailSync
	}
	errno := syscall.EIO
	if !fail {
		errno = do()
	} else {
		d.counts.Failed++
	}
	if cut {
		d.counts.PowerLost = true
		return syscall.EIO
	}
	return errno
}

// look runs one call that changes nothing.
func (d *drive) look(do func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts.PowerLost {
		return syscall.EIO
	}
	return do()
}

// room takes n bytes and says how many there were.
func (d *drive) room(n int) int {
	if !d.plan.Full {
		return n
	}
	n = int(min(int64(n), d.plan.Room))
	d.plan.Room -= int64(n)
	if n == 0 {
		d.counts.Failed++
	}
	return n
}

// make makes a file or folder; where the name is taken, it answers with what is there.
func (d *drive) make(parent *node, name string, mode uint32) (*node, syscall.Errno) {
	if there := parent.folder.names[name]; there != nil {
		return there, syscall.EEXIST
	}
	if d.plan.Full && d.room(1) == 0 {
		return nil, syscall.ENOSPC
	}
	d.nextID++
	n := &node{id: d.nextID, mode: mode}
	if mode&syscall.S_IFDIR != 0 {
		n.folder = newFolder()
	} else {
		n.file = newContent()
	}
	parent.folder.change(change{name: n})
	return n, 0
}

func (d *drive) write(n *node, data []byte, offset int64) (int, syscall.Errno) {
	took := d.room(len(data))
	if took == 0 && len(data) > 0 {
		return 0, syscall.ENOSPC
	}
	d.counts.Bytes += int64(took)
	n.file.write(data[:took], offset)
	return took, 0
}

// rename keeps within one folder.
func (f *folder) rename(from, to string) syscall.Errno {
	n, replaced := f.names[from], f.names[to]
	switch {
	case n == nil:
		return syscall.ENOENT
	case n == replaced:
		return 0
	case replaced != nil && replaced.folder != nil && n.folder == nil:
		return syscall.EISDIR
	case replaced != nil && replaced.folder == nil && n.folder != nil:
		return syscall.ENOTDIR
	case replaced != nil && replaced.folder != nil && len(replaced.folder.names) > 0:
		return syscall.ENOTEMPTY
	}
	f.change(change{from: nil, to: n})
	return 0
}

func (f *folder) remove(name string, folder bool) syscall.Errno {
	n := f.names[name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case folder && n.folder == nil:
		return syscall.ENOTDIR
	case !folder && n.folder != nil:
		return syscall.EISDIR
	case folder && len(n.folder.names) > 0:
		return syscall.ENOTEMPTY
	}
	f.change(change{name: nil})
	return 0
}

func (d *drive) sync(n *node) {
	switch {
	case n.file != nil && !d.plan.ForgetFiles:
		n.file.sync()
	case n.folder != nil && !d.plan.ForgetFolders:
		n.folder.sync()
	}
}

// find goes down a path of slashes.
func (d *drive) find(name string) *node {
	n := d.root
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		if n == nil || n.folder == nil {
			return nil
		}
		n = n.folder.names[part]
	}
	return n
}

func (n *node) unsynced() bool {
	if n.file != nil {
		return len(n.file.versions) > 0 || len(n.file.sizes) > 0
	}
	for _, below := range n.folder.names {
		if below.unsynced() {
			return true
		}
	}
	return len(n.folder.unsynced) > 0
}

func (d *drive) setPlan(p Plan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan, d.counts = p, Counts{PowerLost: d.counts.PowerLost}
}

func (d *drive) count() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	counts := d.counts
	counts.Syncs = slices.Clone(counts.Syncs)
	counts.Unsynced = d.root.unsynced()
	return counts
}

// cut takes the power, and afterLoss is the disk that it comes back to.
func (d *drive) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.PowerLost = true
}

func (d *drive) afterLoss(seed uint64) *drive {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &drive{root: newLoss(seed).after(d.root), nextID: d.nextID}
}
