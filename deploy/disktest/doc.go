// Package disktest has a disk whose power can fail, for tests: a FUSE file system, served by a process of its own, that keeps
// apart what was written and what was synced. Only tests import it.
//
// What it promises is what a disk promises and no more:
//
//   - A file's content is sure once the file was synced (fsync and fdatasync alike). Of what was written since, each sector of
//     512 bytes may be there or not after a loss of power, as any of the writes left it, whatever the order; and so may the size.
//   - A name is sure once its folder was synced: made, replaced or removed, it may have happened or not, in any order. One
//     call happens whole or not at all: a rename never leaves both names or none.
//   - A folder or file that no sure name leads to is gone.
//   - A mode is never lost. Renames between folders are refused with EXDEV.
//
// Cut takes the power: from then on whoever has the mount gets EIO. Restore brings it back: a seed draws what the disk kept, and
// the same path shows it. A Plan cuts in the middle of a workload, at a step that was counted in an earlier run, or lets the disk be full
// or fail. A process that dies loses nothing: what it wrote stays written, as in a kernel's cache.
//
// The server is the test's own binary started again, since a process that both maps a file and serves it would wait for itself:
// a package that uses disks calls Serve first in its TestMain.
package disktest
