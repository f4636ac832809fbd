package fault

import (
	"fmt"
	"runtime"
	"strings"
)

// stackDepth is how many calls of a panic's stack are kept.
const stackDepth = 16

// Panic makes an error of what recover gave, with the calls that led to it. It is for the log;
// callers of a service get an error id. Of what the program panicked with, only the runtime's own words
// are told, and else its type: the value may be a message, and that a person's. Use it in the
// deferred function itself.
func Panic(recovered any) error {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	var stack []string
	for more := true; more && len(stack) < stackDepth; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasPrefix(frame.Function, "runtime.") {
			if strings.Contains(frame.Function, "panic") {
				stack = nil // What stands above the panic is the recovery.
			}
			continue
		}
		stack = append(stack, fmt.Sprintf("%s %s:%d", frame.Function, frame.File[strings.LastIndexByte(frame.File, '/')+1:], frame.Line))
	}
	return fmt.Errorf("panic: %s; at %s", words(recovered), strings.Join(stack, ", "))
}

// words are what may be told of a panic's value.
func words(recovered any) string {
	switch v := recovered.(type) {
	case runtime.Error:
		return v.Error()
	case interface{ Panicked() (any, []byte) }: // handed on from another goroutine, as store.Update does
		value, stack := v.Panicked()
		return words(value) + " in " + string(stack)
	}
	return fmt.Sprintf("a %T", recovered)
}
