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
	processes map[Part]child
	restarts  map[Part]int
	held      map[Part]bool // kept down
}

// child is a part that runs; ended is closed when it does no more.
type child struct {
	*os.Process
	ended chan struct{}
}

// NewSupervisor runs the parts of a layout with the given command.
func NewSupervisor(l *Layout, command func(Part) []string) *Supervisor {
	return &Supervisor{layout: l, command: command, processes: map[Part]child{}, restarts: map[Part]int{}, held: map[Part]bool{}}
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
		if err := s.once(ctx, p); err != nil {
			return err
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
	running, err := s.start(p, cmd)
	if running == nil || err != nil {
		return err
	}
	_ = cmd.Wait() // however it ended, it is started again; its log says why
	s.mu.Lock()
	delete(s.processes, p)
	s.mu.Unlock()
	close(running)
	return nil
}

// start starts a part unless it is held; whoever holds it afterwards finds it. running is closed by the caller when it has ended.
func (s *Supervisor) start(p Part, cmd *exec.Cmd) (running chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[p] {
		return nil, nil
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, again := s.restarts[p]; again {
		s.restarts[p]++
	} else {
		s.restarts[p] = 0
	}
	running = make(chan struct{})
	s.processes[p] = child{cmd.Process, running}
	return running, nil
}

// Restarts says how often a part was started again.
func (s *Supervisor) Restarts(p Part) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts[p]
}

// Kill kills a part at once (SIGKILL), as a crash would; it is then started again. It says
// whether the part was running.
func (s *Supervisor) Kill(p Part) bool { return s.signal(p, os.Kill) }

// Freeze stops a part where it is (SIGSTOP): it does nothing and keeps all that it holds, until Thaw. It says whether the part was running.
func (s *Supervisor) Freeze(p Part) bool { return s.signal(p, syscall.SIGSTOP) }

// Thaw lets a frozen part go on. It says whether the part was running.
func (s *Supervisor) Thaw(p Part) bool { return s.signal(p, syscall.SIGCONT) }

func (s *Supervisor) signal(p Part, what os.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	process, ok := s.processes[p]
	return ok && process.Signal(what) == nil
}

// Hold keeps a part down from now on: it is killed when it runs, and not started until Release. When Hold returns, the part
// does nothing any more: its files may be replaced.
func (s *Supervisor) Hold(p Part) {
	s.mu.Lock()
	s.held[p] = true
	running, ok := s.processes[p]
	if ok {
		_ = running.Kill() // or it has just ended
	}
	s.mu.Unlock()
	if ok {
		<-running.ended
	}
}

// Release lets a held part start again.
func (s *Supervisor) Release(p Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, p)
}
