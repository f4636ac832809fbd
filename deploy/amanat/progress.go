package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// terminal says whether a person may be watching what is written there.
func terminal(out any) bool {
	file, isFile := out.(*os.File)
	if !isFile {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress keeps the last line at a terminal up to date, below what else is told. The zero value tells, and shows no such line.
type progress struct {
	errs io.Writer
	bar  bool // there is a line to keep up to date

	mu    sync.Mutex
	shown string
}

// progress of a run has a line where a person watches and nothing is for machines.
func (r *run) progress() *progress { return &progress{errs: r.errs, bar: !r.json && terminal(r.errs)} }

const barWidth = 30

// clearLine goes to the start of a terminal's line and clears it.
const clearLine = "\r\x1b[K"

// tell writes a line above the progress.
func (p *progress) tell(format string, values ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar {
		fmt.Fprint(p.errs, clearLine)
	}
	fmt.Fprintf(p.errs, "  "+format+"\n", values...)
	if p.bar {
		fmt.Fprint(p.errs, p.shown)
	}
}

// bar is how far something has come, from 0 to 1.
func bar(share float64) string {
	full := int(barWidth * share)
	return "  [" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
}

// show brings the last line up to date.
func (p *progress) show(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown = line; p.bar {
		fmt.Fprint(p.errs, clearLine+line)
	}
}

// end removes the line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar {
		fmt.Fprint(p.errs, clearLine)
	}
	p.bar = false
}
