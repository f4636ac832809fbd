package logging

import (
	"regexp"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

const (
	elided = "…"
	// maxErrorText is how much of an error is written, in bytes.
	maxErrorText = 2000
)

var (
	// quoted is what programs put in quotation marks when they repeat their input. A mark that is
	// not closed hides all that follows.
	quoted = regexp.MustCompile(`"(\\.|[^"\\])*("|$)|` + "`[^`]*(`|$)" + `|'(\\.|[^'\\])*('|$)|“[^”]*(”|$)`)
	// numbers are runs of digits long enough for a telephone or a CNIC.
	numbers = regexp.MustCompile(`\+?[0-9][0-9 -]{5,}[0-9]`)
	// fieldPath is the name of a field in a violation, such as `person.ages[0]`.
	fieldPath  = regexp.MustCompile(`^[A-Za-z0-9_.\[\]]{1,200}$`)
	reasonForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,62}$`)
)

// Err is why something failed; see the package documentation for what is written of it.
func Err(err error) Field {
	if err == nil {
		return Field{zap.Skip()}
	}
	return Field{zap.Object("error", errorObject{err})}
}

type errorObject struct{ err error }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (e errorObject) MarshalLogObject(out zapcore.ObjectEncoder) error {
	text := e.err.Error()
	for i, failed := range statuses(e.err) {
		s := failed.GRPCStatus()
		if i == 0 {
			out.AddString("code", s.Code().String())
			addDetails(out, s)
		}
		text = strings.ReplaceAll(text, failed.Error(), elided)
		if s.Message() != "" {
			text = strings.ReplaceAll(text, s.Message(), elided)
		}
	}
	out.AddString("text", clean(text))
	return nil
}

type statusError interface {
	error
	GRPCStatus() *status.Status
}

// statuses are all gRPC statuses in an error, outermost first.
func statuses(err error) []statusError {
	var found []statusError
	if s, ok := err.(statusError); ok {
		found = append(found, s)
	}
	switch inner := err.(type) {
	case interface{ Unwrap() error }:
		found = append(found, statuses(inner.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, one := range inner.Unwrap() {
			found = append(found, statuses(one)...)
		}
	}
	return found
}

func addDetails(out zapcore.ObjectEncoder, s *status.Status) {
	var fields []string
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if reasonForm.MatchString(d.GetReason()) {
				out.AddString("reason", d.GetReason())
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				if fieldPath.MatchString(v.GetField()) {
					fields = append(fields, v.GetField())
				}
			}
		}
	}
	if len(fields) > 0 {
		out.AddString("fields", strings.Join(fields, ","))
	}
}

func clean(text string) string {
	text = quoted.ReplaceAllString(text, elided)
	text = numbers.ReplaceAllString(text, elided)
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + elided
	}
	return text
}
