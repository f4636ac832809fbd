//go:build clockjump && linux && amd64

package clockjump

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// clockGettime is the kernel's function, in the process's own memory, by which the runtime reads every clock.
//
//go:linkname clockGettime runtime.vdsoClockgettimeSym
var clockGettime uintptr

var (
	// original is the kernel's function.
	original uintptr
	// ahead is by how many seconds the time of day is wrong: mapped from the file.
	ahead *int64
)

// jumping is where the function begins that stands in its place.
func jumping() uintptr

func init() {
	path := os.Getenv(Variable)
	if path == "" {
		return
	}
	if err := follow(path); err != nil {
		panic(fmt.Sprintf("follow the clock of %s: %v", path, err))
	}
}

func follow(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // what is mapped stays so
	memory, err := syscall.Mmap(int(file.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	if clockGettime == 0 {
		return fmt.Errorf("the kernel gives no function to read clocks")
	}
	ahead, original = (*int64)(unsafe.Pointer(&memory[0])), clockGettime
	clockGettime = jumping()
	return nil
}
