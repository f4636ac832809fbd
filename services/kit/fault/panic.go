package fault

import (
	"fmt"
	"runtime"
	"strings"
)

// stackDepth is how many calls of a panic's stack are kept.
const stackDepth = 16

// Panic makes an error of what recover gave, with the calls that led to it. It is for the log;
// callers of a service get an error id. Use it in the deferred function itself.
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
	return fmt.Errorf("panic: %v; at %s", recovered, strings.Join(stack, ", "))
}
