package disktest

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// entry is a node as the kernel knows it.
type entry struct {
	fs.Inode
	drive *drive
	node  *node
}

var (
	_ fs.NodeLookuper  = (*entry)(nil)
	_ fs.NodeGetattrer = (*entry)(nil)
	_ fs.NodeSetattrer = (*entry)(nil)
	_ fs.NodeReaddirer = (*entry)(nil)
	_ fs.NodeCreater   = (*entry)(nil)
	_ fs.NodeMkdirer   = (*entry)(nil)
	_ fs.NodeLinker    = (*entry)(nil)
	_ fs.NodeUnlinker  = (*entry)(nil)
	_ fs.NodeRmdirer   = (*entry)(nil)
	_ fs.NodeRenamer   = (*entry)(nil)
	_ fs.NodeOpener    = (*entry)(nil)
	_ fs.NodeReader    = (*entry)(nil)
	_ fs.NodeWriter    = (*entry)(nil)
	_ fs.NodeFsyncer   = (*entry)(nil)
)

// inode tells the kernel of a node below this one.
func (e *entry) inode(ctx context.Context, n *node, out *fuse.EntryOut) *fs.Inode {
	n.attributes(&out.Attr)
	return e.NewInode(ctx, &entry{drive: e.drive, node: n}, fs.StableAttr{Mode: n.mode & syscall.S_IFMT, Ino: n.id})
}

func (n *node) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Blksize = n.id, n.mode, 1, pageSize
	if n.file != nil {
		out.Size = uint64(n.file.size)
		out.Blocks = uint64(len(n.file.pages)) * (pageSize / sectorSize)
	}
}

func (e *entry) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (inode *fs.Inode, errno syscall.Errno) {
	errno = e.drive.look(func() syscall.Errno {
		n := e.node.folder.names[name]
		if n == nil {
			return syscall.ENOENT
		}
		inode = e.inode(ctx, n, out)
		return 0
	})
	return inode, errno
}

func (e *entry) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return e.drive.look(func() syscall.Errno {
		e.node.attributes(&out.Attr)
		return 0
	})
}

func (e *entry) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, resize := in.GetSize()
	change := func() syscall.Errno {
		if resize {
			e.node.file.truncate(int64(size))
		}
		if mode, ok := in.GetMode(); ok {
			e.node.mode = e.node.mode&syscall.S_IFMT | mode&^syscall.S_IFMT
		}
		e.node.attributes(&out.Attr)
		return 0
	}
	if resize {
		return e.drive.step(naming, change)
	}
	return e.drive.look(change)
}

func (e *entry) Readdir(context.Context) (stream fs.DirStream, errno syscall.Errno) {
	errno = e.drive.look(func() syscall.Errno {
		var list []fuse.DirEntry
		for _, name := range sortedNames(e.node.folder.names) {
			n := e.node.folder.names[name]
			list = append(list, fuse.DirEntry{Name: name, Mode: n.mode, Ino: n.id})
		}
		stream = fs.NewListDirStream(list)
		return 0
	})
	return stream, errno
}

func (e *entry) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (inode *fs.Inode, fh fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	errno = e.drive.step(naming, func() syscall.Errno {
		n, errno := e.drive.make(e.node, name, syscall.S_IFREG|mode&0o7777)
		if errno == syscall.EEXIST && flags&syscall.O_EXCL == 0 {
			errno = 0 // made by another since the kernel looked
		}
		if errno == 0 {
			inode = e.inode(ctx, n, out)
		}
		return errno
	})
	return inode, nil, 0, errno
}

func (e *entry) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (inode *fs.Inode, errno syscall.Errno) {
	errno = e.drive.step(naming, func() syscall.Errno {
		n, errno := e.drive.make(e.node, name, syscall.S_IFDIR|mode&0o7777)
		if errno == 0 {
			inode = e.inode(ctx, n, out)
		}
		return errno
	})
	return inode, errno
}

func (e *entry) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (inode *fs.Inode, errno syscall.Errno) {
	errno = e.drive.step(naming, func() syscall.Errno {
		if e.node.folder.names[name] != nil {
			return syscall.EEXIST
		}
		n := target.(*entry).node
		e.node.folder.change(change{name: n})
		inode = e.inode(ctx, n, out)
		return 0
	})
	return inode, errno
}

func (e *entry) Unlink(_ context.Context, name string) syscall.Errno {
	return e.drive.step(naming, func() syscall.Errno { return e.node.folder.remove(name, false) })
}

func (e *entry) Rmdir(_ context.Context, name string) syscall.Errno {
	return e.drive.step(naming, func() syscall.Errno { return e.node.folder.remove(name, true) })
}

func (e *entry) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	switch {
	case newParent.(*entry).node != e.node:
		return syscall.EXDEV
	case flags != 0:
		return syscall.EINVAL
	}
	return e.drive.step(naming, func() syscall.Errno { return e.node.folder.rename(name, newName) })
}

func (e *entry) Open(_ context.Context, flags uint32) (fh fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	if flags&syscall.O_TRUNC == 0 {
		return nil, 0, e.drive.look(func() syscall.Errno { return 0 })
	}
	return nil, 0, e.drive.step(naming, func() syscall.Errno {
		e.node.file.truncate(0)
		return 0
	})
}

func (e *entry) Read(_ context.Context, _ fs.FileHandle, dest []byte, offset int64) (result fuse.ReadResult, errno syscall.Errno) {
	errno = e.drive.look(func() syscall.Errno {
		result = fuse.ReadResultData(dest[:e.node.file.read(dest, offset)])
		return 0
	})
	return result, errno
}

func (e *entry) Write(_ context.Context, _ fs.FileHandle, data []byte, offset int64) (written uint32, errno syscall.Errno) {
	errno = e.drive.step(writing, func() syscall.Errno {
		n, errno := e.drive.write(e.node, data, offset)
		written = uint32(n)
		return errno
	})
	return written, errno
}

func (e *entry) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return e.drive.step(syncing, func() syscall.Errno {
		e.drive.sync(e.node)
		return 0
	})
}
