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

	referrals, faults int // in all

	mu          sync.Mutex
	done, broke int
	shown       string
}

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

// referralDone counts a referral that was played to its end.
func (p *progress) referralDone() { p.count(&p.done) }

// faultBegun counts a fault.
func (p *progress) faultBegun() { p.count(&p.broke) }

func (p *progress) count(what *int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*what++
	if !p.bar {
		return
	}
	full := barWidth * p.done / p.referrals
	p.shown = fmt.Sprintf("  [%s%s] %d of %d referrals", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), p.done, p.referrals)
	if p.faults > 0 {
		p.shown += fmt.Sprintf(", %d of %d faults", p.broke, p.faults)
	}
	fmt.Fprint(p.errs, clearLine+p.shown)
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
