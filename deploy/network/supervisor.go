package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// restartWait is how long a part that ended stays down before it is started again: long enough
// not to spin, short enough not to be noticed by people.
const restartWait = 200 * time.Millisecond

// stopWait is how long a part may take to drain before it is killed.
const stopWait = 15 * time.Second

// Supervisor keeps the parts of a network up, each a process of its own.
type Supervisor struct {
	layout *Layout
	// command says how a part is started: program and arguments.
	command func(Part) []string

	mu        sync.Mutex
	processes map[Part]*os.Process
	restarts  map[Part]int
	held      map[Part]bool // kept down
}

// NewSupervisor runs the parts of a layout with the given command.
func NewSupervisor(l *Layout, command func(Part) []string) *Supervisor {
	return &Supervisor{layout: l, command: command, processes: map[Part]*os.Process{}, restarts: map[Part]int{}, held: map[Part]bool{}}
}

// Run starts every part and starts again what ends, until ctx ends; then it stops all and waits
// for them.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(s.layout.Root, "log"), 0o700); err != nil {
		return err
	}
	if err := s.layout.keepRenewed(ctx); err != nil {
		return err
	}
	var all sync.WaitGroup
	failed := make(chan error, len(s.layout.Parts()))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, p := range s.layout.Parts() {
		all.Go(func() {
			if err := s.keep(ctx, p); err != nil {
				failed <- fmt.Errorf("%s: %w", p, err)
				cancel()
			}
		})
	}
	all.Wait()
	close(failed)
	var err error
	for f := range failed {
		err = errors.Join(err, f)
	}
	return err
}

// keep runs one part again and again. Its error means that it cannot even be started.
func (s *Supervisor) keep(ctx context.Context, p Part) error {
	// The kernel stops a child whose parent's thread ends; so this thread stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		if !s.isHeld(p) {
			if err := s.once(ctx, p); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(restartWait):
		}
	}
	return nil
}

func (s *Supervisor) once(ctx context.Context, p Part) error {
	name := p.Node + "-" + p.Name + ".log"
	log, err := os.OpenFile(filepath.Join(s.layout.Root, "log", name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	command := s.command(p)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWait
	if err := cmd.Start(); err != nil {
		return err
	}
	s.set(p, cmd.Process)
	defer s.set(p, nil)
	_ = cmd.Wait() // however it ended, it is started again; its log says why
	return nil
}

func (s *Supervisor) set(p Part, process *os.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if process == nil {
		delete(s.processes, p)
		return
	}
	if _, again := s.restarts[p]; again {
		s.restarts[p]++
	} else {
		s.restarts[p] = 0
	}
	s.processes[p] = process
}

// Restarts says how often a part was started again.
func (s *Supervisor) Restarts(p Part) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts[p]
}

// Kill kills a part at once (SIGKILL), as a crash would; it is then started again. It says
// whether the part was running.
func (s *Supervisor) Kill(p Part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	process, ok := s.processes[p]
	if ok {
		ok = process.Kill() == nil
	}
	return ok
}

// Hold keeps a part down from now on: it is killed when it runs, and not started until Release.
func (s *Supervisor) Hold(p Part) {
	s.mu.Lock()
	s.held[p] = true
	s.mu.Unlock()
	s.Kill(p)
}

// Release lets a held part start again.
func (s *Supervisor) Release(p Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, p)
}

func (s *Supervisor) isHeld(p Part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[p]
}
