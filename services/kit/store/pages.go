package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// This file reads bbolt's pages without bbolt, which follows whatever they say: a damaged page can make it run in circles,
// fall back to the commit before the last, or find rows that were replaced long ago. The format is that of bbolt's
// internal/common (page.go, meta.go, bucket.go), version 2.

const (
	pageHead   = 16
	branchPage = 0x01
	leafPage   = 0x02
	freePage   = 0x10
	elemSize   = 16
	metaSize   = 64
	boltMagic  = 0xED0CDAED
	noFreelist = 1<<64 - 1
	inlineRoot = 0
	bucketFlag = 1
)

var native = binary.NativeEndian

// pageWalk goes through the pages a commit can reach.
type pageWalk struct {
	file     io.ReaderAt
	pageSize uint64
	limit    uint64 // the first page number never used
	deep     bool   // read leaves too
	seen     bitmap // reached once
	free     bitmap
	problems []error
}

// maxProblems is how many problems a report lists.
const maxProblems = 100

func (w *pageWalk) problem(format string, args ...any) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, damaged(format, args...))
	}
}

type bitmap []uint64

func newBitmap(n uint64) bitmap { return make(bitmap, n/64+1) }

func (b bitmap) has(i uint64) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) set(i uint64)      { b[i/64] |= 1 << (i % 64) }

type boltMeta struct {
	pageSize              uint32
	root, freelist, limit uint64
	txid                  uint64
}

// readHead verifies the two head pages and returns the later one. bbolt itself makes do with one of them, and would take a
// store whose last head page has gone bad back to the commit before without a word; that is for oneHead only.
func readHead(file io.ReaderAt, oneHead bool) (boltMeta, error) {
	first, err := readBoltMeta(file, 0)
	if err != nil && !oneHead {
		return first, err
	}
	at := int64(first.pageSize)
	if err != nil {
		at = int64(os.Getpagesize()) // as bbolt has it when it makes a file
	}
	second, err2 := readBoltMeta(file, at)
	switch {
	case err != nil:
		return second, err2
	case err2 != nil && oneHead:
		return first, nil
	case second.txid > first.txid:
		return second, err2
	}
	return first, err2
}

func readBoltMeta(file io.ReaderAt, at int64) (boltMeta, error) {
	b := make([]byte, pageHead+metaSize)
	if _, err := file.ReadAt(b, at); err != nil {
		return boltMeta{}, damaged("a head page cannot be read (%v)", err)
	}
	b = b[pageHead:]
	h := fnv.New64a()
	h.Write(b[:metaSize-8])
	m := boltMeta{
		pageSize: native.Uint32(b[8:]), root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]),
		limit: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}
	if native.Uint32(b) != boltMagic || native.Uint64(b[56:]) != h.Sum64() || m.pageSize < 512 || m.limit < 4 {
		return boltMeta{}, damaged("a head page does not match its checksum")
	}
	return m, nil
}

// walkFile verifies the pages of a closed file. Without deep it reads the head, the list of free pages and the branches, about
// a hundredth of the file: enough that bbolt can follow them safely and ends up at current leaves. With deep it reads all.
func walkFile(file io.ReaderAt, size int64, deep, oneHead bool) []error {
	m, err := readHead(file, oneHead)
	if err != nil {
		return []error{err}
	}
	if m.limit > uint64(size)/uint64(m.pageSize) {
		return []error{damaged("the file ends before its last page")}
	}
	w := &pageWalk{file: file, pageSize: uint64(m.pageSize), limit: m.limit, deep: deep, seen: newBitmap(m.limit), free: newBitmap(m.limit)}
	w.seen.set(0)
	w.seen.set(1)
	if m.freelist != noFreelist {
		w.freelist(m.freelist)
	}
	w.tree(m.root, true, nil, nil)
	if deep {
		for id := uint64(2); id < w.limit; id++ {
			if !w.seen.has(id) && !w.free.has(id) {
				w.problem("page %d belongs to nothing", id)
			}
		}
	}
	return w.problems
}

// reach marks a page as used by one place, and says whether it may be followed.
func (w *pageWalk) reach(id uint64) bool {
	switch {
	case id < 2 || id >= w.limit:
		w.problem("a page number is outside the file")
	case w.seen.has(id):
		w.problem("page %d is reached twice", id)
	case w.free.has(id):
		w.problem("page %d is in use and listed as free", id)
	default:
		w.seen.set(id)
		return true
	}
	return false
}

// read returns a page with the pages that continue it, or nil after noting why not.
func (w *pageWalk) read(id uint64) []byte {
	head := make([]byte, pageHead)
	if _, err := w.file.ReadAt(head, int64(id*w.pageSize)); err != nil {
		w.problem("page %d cannot be read (%v)", id, err)
		return nil
	}
	more := uint64(native.Uint32(head[12:]))
	if native.Uint64(head) != id || more >= w.limit-id {
		w.problem("page %d has another page's head", id)
		return nil
	}
	page := make([]byte, (more+1)*w.pageSize)
	if _, err := w.file.ReadAt(page, int64(id*w.pageSize)); err != nil {
		w.problem("page %d cannot be read (%v)", id, err)
		return nil
	}
	for i := uint64(1); i <= more; i++ {
		if !w.reach(id + i) {
			return nil
		}
	}
	return page
}

func (w *pageWalk) freelist(id uint64) {
	if !w.reach(id) {
		return
	}
	page := w.read(id)
	if page == nil {
		return
	}
	ids, count := page[pageHead:], uint64(native.Uint16(page[10:]))
	if count == 0xffff {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if native.Uint16(page[8:]) != freePage || count > uint64(len(ids))/8 {
		w.problem("the list of free pages is malformed")
		return
	}
	last := uint64(1)
	for i := range count {
		id := native.Uint64(ids[i*8:])
		if id <= last || id >= w.limit || w.seen.has(id) {
			w.problem("the list of free pages is malformed")
			return
		}
		w.free.set(id)
		last = id
	}
}

// element is one entry of a page.
type element struct {
	key, value []byte
	child      uint64 // of a branch
	bucket     bool
}

// elements parses the entries of a page and verifies that they lie inside it, in order, within from ≤ key < to.
func (w *pageWalk) elements(id uint64, page, from, to []byte) (all []element, branch, ok bool) {
	flags, count := native.Uint16(page[8:]), int(native.Uint16(page[10:]))
	branch = flags == branchPage
	if !branch && flags != leafPage || pageHead+count*elemSize > len(page) || branch && count == 0 {
		w.problem("page %d is malformed", id)
		return nil, false, false
	}
	all = make([]element, count)
	for i := range all {
		at := pageHead + i*elemSize
		e := page[at:]
		var start, keySize, valueSize uint64
		if branch {
			start, keySize, all[i].child = uint64(native.Uint32(e)), uint64(native.Uint32(e[4:])), native.Uint64(e[8:])
		} else {
			all[i].bucket = native.Uint32(e)&bucketFlag != 0
			start, keySize, valueSize = uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		}
		start += uint64(at)
		if start < uint64(pageHead+count*elemSize) || start+keySize+valueSize > uint64(len(page)) {
			w.problem("page %d has an entry outside itself", id)
			return nil, false, false
		}
		all[i].key = page[start : start+keySize]
		all[i].value = page[start+keySize : start+keySize+valueSize]
		if (i > 0 && bytes.Compare(all[i-1].key, all[i].key) >= 0) ||
			bytes.Compare(all[i].key, from) < 0 || to != nil && bytes.Compare(all[i].key, to) >= 0 {
			w.problem("page %d has keys out of order", id)
			return nil, false, false
		}
	}
	return all, branch, true
}

// tree walks a bucket's tree. top is the file's tree of buckets, whose leaves are always read.
func (w *pageWalk) tree(id uint64, top bool, from, to []byte) {
	if !w.reach(id) {
		return
	}
	if page := w.read(id); page != nil {
		w.page(id, page, top, from, to)
	}
}

func (w *pageWalk) page(id uint64, page []byte, top bool, from, to []byte) {
	all, branch, ok := w.elements(id, page, from, to)
	if !ok {
		return
	}
	if !branch {
		for _, e := range all {
			w.leaf(e, top)
		}
		return
	}
	// Without deep the leaves stay unread: all children of a branch stand on one level, so the first one tells.
	skip := !w.deep && !top && w.isLeaf(all[0].child)
	for i, e := range all {
		if skip {
			w.reach(e.child)
			continue
		}
		end := to
		if i+1 < len(all) {
			end = all[i+1].key
		}
		w.tree(e.child, top, e.key, end)
	}
}

func (w *pageWalk) isLeaf(id uint64) bool {
	head := make([]byte, pageHead)
	if id >= w.limit {
		return false
	}
	_, err := w.file.ReadAt(head, int64(id*w.pageSize))
	return err == nil && native.Uint16(head[8:]) == leafPage
}

// leaf follows an entry that is a bucket. Only the top tree has such.
func (w *pageWalk) leaf(e element, top bool) {
	switch {
	case e.bucket != top:
		w.problem("a row and a bucket stand in each other's place")
	case !top:
	case len(e.value) < 16:
		w.problem("a bucket has no proper head")
	case native.Uint64(e.value) != inlineRoot:
		w.tree(native.Uint64(e.value), false, nil, nil)
	case len(e.value) < 16+pageHead:
		w.problem("a bucket has no proper head")
	default: // a small bucket lives inside its entry
		if _, branch, ok := w.elements(0, e.value[16:], nil, nil); ok && branch {
			w.problem("a bucket has no proper head")
		}
	}
}

// verifyPages is walkFile before a file is opened, with the problems as one error.
func verifyPages(file io.ReaderAt, size int64, oneHead bool) error {
	problems := walkFile(file, size, false, oneHead)
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w (%d problems in its pages)", problems[0], len(problems))
}
