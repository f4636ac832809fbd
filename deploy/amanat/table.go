package main

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// table prints rows in columns. At a terminal, what needs a person is red.
type table struct {
	colour bool
	lines  []tableLine
	widths []int
}

type tableLine struct {
	cells []string
	needs bool
}

const red, plain = "\x1b[31m", "\x1b[0m"

// row adds a row; needs says that it needs a person.
func (t *table) row(needs bool, cells ...string) {
	t.lines = append(t.lines, tableLine{cells, needs})
	for i, c := range cells {
		if i == len(t.widths) {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c))
	}
}

func (t *table) print(out io.Writer) error {
	w := bufio.NewWriter(out)
	for _, l := range t.lines {
		var line strings.Builder
		for i, c := range l.cells {
			line.WriteString(c)
			if i < len(l.cells)-1 {
				line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(c)+2))
			}
		}
		text := strings.TrimRight(line.String(), " ")
		if l.needs && t.colour {
			text = red + text + plain
		}
		_, _ = w.WriteString(text + "\n") // Flush tells
	}
	return w.Flush()
}
