package network_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"amanat.example/deploy/network"
)

// A part that is held has ended when Hold returns, however often and soon it was started again before.
func TestHoldEndsThePart(t *testing.T) {
	l, err := network.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Init(); err != nil {
		t.Fatal(err)
	}
	if l, err = l.Only(network.FederalNode); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := network.NewSupervisor(l, func(p network.Part) []string {
		return []string{"sh", "-c", "echo $$ >> " + filepath.Join(dir, p.Name) + "; exec sleep 1000"}
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for round := range 3 {
		for _, p := range l.Parts() {
			until(t, p.Name+" runs", func() bool { return len(started(t, dir, p)) > round })
			s.Hold(p)
			for _, pid := range started(t, dir, p) {
				if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("process %d of %s is still there: %v", pid, p, err)
				}
			}
			s.Release(p)
		}
	}
	// Frozen, it does nothing and is not started again; it can be held all the same.
	p := l.Parts()[0]
	until(t, p.Name+" runs", func() bool { return len(started(t, dir, p)) > 3 })
	pid := started(t, dir, p)[3]
	if !s.Freeze(p) {
		t.Errorf("%s is not there to be frozen", p)
	}
	until(t, p.Name+" is frozen", func() bool { return state(t, pid) == "T" })
	if !s.Thaw(p) {
		t.Errorf("%s is not there to go on", p)
	}
	until(t, p.Name+" goes on", func() bool { return state(t, pid) != "T" })
	s.Freeze(p)
	s.Hold(p)
	if s.Freeze(p) || s.Thaw(p) || len(started(t, dir, p)) != 4 {
		t.Error("a part that is held is frozen, or it was started again while it was frozen")
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// started are the processes that a part has been so far.
func started(t *testing.T, dir string, p network.Part) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, p.Name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// state of a process, as the kernel calls it: T is stopped.
func state(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return after[:1]
}
