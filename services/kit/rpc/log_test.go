package rpc_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"amanat.example/services/kit/logging"
)

// lines is what a server has logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) contain(text string) bool { return strings.Contains(l.all(), text) }

// with answers the line that holds a text.
func (l *lines) with(t *testing.T, text string) (line string) {
	t.Helper()
	eventually(t, "a log line with "+text, func() bool {
		for one := range strings.Lines(l.all()) {
			if strings.Contains(one, text) {
				line = one
				return true
			}
		}
		return false
	})
	return line
}

func newLogger(t *testing.T) (*logging.Logger, *lines) {
	t.Helper()
	l := &lines{}
	logger, err := logging.New(logging.Options{Node: "sindh", Service: "shelter", Output: l})
	if err != nil {
		t.Fatal(err)
	}
	return logger, l
}
