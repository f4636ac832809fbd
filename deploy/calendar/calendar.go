// Package calendar is the clock of a demo that plays a past year: the processes of a network share the day that it is for their
// people, while everything else in them keeps the machine's clock.
//
// The calendar runs as the machine's clock does, so much behind it; and it jumps forward, never back, until it has reached the present. Then
// it is the machine's clock, for good. What it is behind is one number in a file that every process maps into its memory: who reads it
// at the same moment reads the same time, without asking anybody.
package calendar

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"amanat.example/services/kit/durable"
)

// size of the file: one aligned number, in nanoseconds.
const size = 8

// most is how far a calendar may be behind: what says more is none.
const most = 10 * 366 * 24 * time.Hour

// look is how often Watch looks whether the calendar has jumped.
const look = 10 * time.Millisecond

// Calendar is a calendar that was opened. It may be used by many at once.
type Calendar struct {
	behind *int64 // mapped
}

// Create makes the file of a calendar that begins at a time in the past, which no process has open. One that is there already is left as it is:
// no calendar goes back.
func Create(path string, begin time.Time) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var raw [size]byte
	binary.NativeEndian.PutUint64(raw[:], uint64(max(0, time.Since(begin))))
	return durable.Create(path, raw[:])
}

// Open opens a calendar. It stays mapped while it is used.
func Open(path string) (*Calendar, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // what is mapped stays so
	if info, err := file.Stat(); err != nil || info.Size() != size {
		return nil, errors.Join(err, fmt.Errorf("%s is no calendar: it must have %d bytes", path, size))
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	c := &Calendar{behind: (*int64)(unsafe.Pointer(&memory[0]))}
	runtime.AddCleanup(c, func(m []byte) { _ = syscall.Munmap(m) }, memory)
	if behind := atomic.LoadInt64(c.behind); behind < 0 || behind > int64(most) {
		return nil, fmt.Errorf("%s is no calendar: it says that it is %v behind", path, time.Duration(behind))
	}
	return c, nil
}

// Now is the time on the calendar.
func (c *Calendar) Now() time.Time { return time.Now().Add(-c.Behind()) }

// Behind is by how much the calendar is behind the machine's clock: 0 once it has reached the present.
func (c *Calendar) Behind() time.Duration {
	behind := atomic.LoadInt64(c.behind)
	runtime.KeepAlive(c)
	return time.Duration(max(0, behind))
}

// JumpTo jumps to a time that is still to come on the calendar, at most to the present. It is for the one who plays the year.
func (c *Calendar) JumpTo(t time.Time) {
	for {
		behind := atomic.LoadInt64(c.behind)
		next := int64(max(0, time.Since(t)))
		if next >= behind || atomic.CompareAndSwapInt64(c.behind, behind, next) {
			runtime.KeepAlive(c)
			return
		}
	}
}

// ToPresent ends the calendar: it is the machine's clock from now on.
func (c *Calendar) ToPresent() {
	atomic.StoreInt64(c.behind, 0)
	runtime.KeepAlive(c)
}

// Watch calls jumped after the calendar has jumped, until ctx ends or the present is reached.
func (c *Calendar) Watch(ctx context.Context, jumped func()) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for last := time.Duration(-1); ; { // who begins to watch does not know how long ago it jumped
		if behind := c.Behind(); behind != last {
			last = behind
			jumped()
		}
		if last == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
