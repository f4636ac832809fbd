package store

import (
	"errors"
	"fmt"
)

// Errors a caller can tell apart with errors.Is. None of their texts holds a key or a value, since either may name a person.
var (
	// ErrNotFound: no row has this key. The text names the table or index.
	ErrNotFound = errors.New("no such row")
	// ErrExists: Insert met a row, a unique index met another row's key, or a file is in the way. The text names which.
	ErrExists = errors.New("already exists")
	// ErrFatal: the store has met damage or a failed write and answers nothing any more. The process must stop.
	ErrFatal = errors.New("the store has failed")
	// ErrDamaged: a row, a page or a count is not what was written. On an open store it always comes wrapped in ErrFatal.
	ErrDamaged = errors.New("the file is damaged: restore it from a backup")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrNewer: the file was written by a newer program.
	ErrNewer = errors.New("the file is newer than this program")
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("the file is in use by another process")
	// ErrWrongStore: the file, table or backup belongs to another schema.
	ErrWrongStore = errors.New("not of this store")
	// ErrTxDone: a transaction was used after its function had returned.
	ErrTxDone = errors.New("the transaction is over")
	// ErrKeySize: a key is empty or longer than MaxKeySize.
	ErrKeySize = fmt.Errorf("a key has 1 to %d bytes", MaxKeySize)
)

// Stop ends a Scan early without an error when its callback returns it.
//
//lint:ignore ST1012 it is a signal, as io.EOF is
var Stop = errors.New("stop")

// PanicError is what Update panics with in the caller's goroutine when its function has panicked in the committer's.
type PanicError struct {
	Value any    // what the function panicked with
	Stack []byte // where, in the committer's goroutine
}

func (p *PanicError) Error() string {
	return fmt.Sprintf("panic inside store.Update: %v\n%s", p.Value, p.Stack)
}

// Panicked gives value and stack apart, to logs that may not tell the value.
func (p *PanicError) Panicked() (value any, stack []byte) { return p.Value, p.Stack }

func damaged(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrDamaged)
}
