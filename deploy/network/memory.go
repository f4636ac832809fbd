package network

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what processes take of the machine's.
type Memory struct {
	// Resident is all that lies in memory; of what several share each counts it. Anonymous is their own: heaps and stacks.
	Resident, Anonymous int64
}

// Add is what both take.
func (m Memory) Add(other Memory) Memory {
	return Memory{m.Resident + other.Resident, m.Anonymous + other.Anonymous}
}

// Memory is what all parts that run take now, in bytes.
func (s *Supervisor) Memory() (all Memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		if one, err := MemoryOf(p.Pid); err == nil { // else it has just ended
			all = all.Add(one)
		}
	}
	return all
}

// MemoryOf is what a process takes now.
func MemoryOf(pid int) (m Memory, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kilobytes, parsed := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		switch {
		case parsed != nil:
		case name == "VmRSS":
			m.Resident = kilobytes << 10
		case name == "RssAnon":
			m.Anonymous = kilobytes << 10
		}
	}
	return m, lines.Err()
}
