package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

const domainSuffix = ".amanat"

// errorIDKey is the metadata key of the id under which an internal error stands in the log.
const errorIDKey = "error_id"

var errDraining = fault.New(fault.Unavailable, "The service is stopping. Try again.")

// codeOf is the gRPC code of each reason.
var codeOf = map[fault.Reason]codes.Code{
	fault.Field:               codes.InvalidArgument,
	fault.UnknownCode:         codes.InvalidArgument,
	fault.UnknownNode:         codes.InvalidArgument,
	fault.TooLarge:            codes.ResourceExhausted, // As grpc itself says it.
	fault.Missing:             codes.NotFound,
	fault.Stale:               codes.Aborted,
	fault.WrongState:          codes.FailedPrecondition,
	fault.ConsentMissing:      codes.FailedPrecondition,
	fault.NoCapacity:          codes.FailedPrecondition,
	fault.CannotMeetNeeds:     codes.FailedPrecondition,
	fault.HoldEnded:           codes.FailedPrecondition,
	fault.NotOwner:            codes.FailedPrecondition,
	fault.Recovering:          codes.FailedPrecondition,
	fault.StaleFence:          codes.FailedPrecondition,
	fault.IdempotencyMismatch: codes.AlreadyExists,
	fault.Unauthenticated:     codes.Unauthenticated,
	fault.NotAllowed:          codes.PermissionDenied,
	fault.Internal:            codes.Internal,
	fault.Unavailable:         codes.Unavailable,
	fault.TooMany:             codes.ResourceExhausted,
}

// reasonOf is the reason read into a status that names none: from a server that is not ours,
// or from grpc itself.
var reasonOf = map[codes.Code]fault.Reason{
	codes.InvalidArgument:    fault.Field,
	codes.OutOfRange:         fault.Field,
	codes.NotFound:           fault.Missing,
	codes.AlreadyExists:      fault.IdempotencyMismatch,
	codes.Aborted:            fault.Stale,
	codes.FailedPrecondition: fault.WrongState,
	codes.Unauthenticated:    fault.Unauthenticated,
	codes.PermissionDenied:   fault.NotAllowed,
	codes.Unimplemented:      fault.NotAllowed,
	codes.Unavailable:        fault.Unavailable,
	codes.DeadlineExceeded:   fault.Unavailable,
	codes.Canceled:           fault.Unavailable,
	codes.ResourceExhausted:  fault.TooMany,
}

// toStatus is the status in which an error leaves. errorID is set when the error's cause is
// kept back; it then stands in the log under that id.
func (s *Server) toStatus(ctx context.Context, err error) (answer *status.Status, errorID string) {
	if refusal, ok := errors.AsType[*fault.Error](err); ok && refusal.Reason() != fault.Internal {
		return s.refusal(codeOf[refusal.Reason()], refusal), ""
	}
	neighbour, _ := status.FromError(err)
	switch {
	case fromAmanat(neighbour):
		return neighbour, ""
	case ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)) || neighbour.Code() == status.FromContextError(ctx.Err()).Code()):
		return s.ended(ctx), ""
	case neighbour.Code() == codes.Unavailable, neighbour.Code() == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
		s.log.Warn("what this service needs does not answer", logging.Err(err))
		return s.refusal(codes.Unavailable, fault.New(fault.Unavailable, "Something this service needs does not answer. Try again.")), ""
	}
	if errors.Is(err, store.ErrFatal) || errors.Is(err, store.ErrClosed) {
		s.log.Error("the store has failed", logging.Err(err))
		return s.refusal(codes.Unavailable, fault.New(fault.Unavailable, "The service's store is not at work. Try again; if it stays so, its operator is needed.")), ""
	}
	if errors.Is(err, store.ErrNotFound) {
		return s.refusal(codes.NotFound, fault.NotFound("thing")), ""
	}
	errorID = newErrorID()
	return s.refusal(codes.Internal, fault.New(fault.Internal,
		"Something went wrong here. Tell the operator this error's id: "+errorID+".", errorIDKey, errorID)), errorID
}

// ended is for a call whose time is over or whose caller has gone.
func (s *Server) ended(ctx context.Context) *status.Status {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errDraining):
		return s.refusal(codes.Unavailable, errDraining)
	case errors.Is(cause, context.Canceled):
		return s.refusal(codes.Canceled, fault.New(fault.Unavailable, "The caller has gone."))
	default:
		return s.refusal(codes.DeadlineExceeded, fault.New(fault.Unavailable, "The call's time ended before its work. It may or may not have been done; repeat it with the same request_id."))
	}
}

// refusal builds the status: sentence, ErrorInfo, field violations.
func (s *Server) refusal(code codes.Code, f *fault.Error) *status.Status {
	if code == codes.OK { // A reason newer than this table.
		code = codes.FailedPrecondition
	}
	plain := status.New(code, f.Sentence())
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason:   f.Reason().String(),
		Domain:   s.service + domainSuffix,
		Metadata: f.Metadata(),
	}}
	if fields := f.Fields(); len(fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: v.Field, Description: v.Sentence, Reason: f.Reason().String(),
			})
		}
		details = append(details, bad)
	}
	detailed, err := plain.WithDetails(details...)
	if err != nil {
		return plain
	}
	return detailed
}

// fromAmanat reports whether a status was made by one of our services, so that it can be passed
// on as it is.
func fromAmanat(st *status.Status) bool {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && strings.HasSuffix(info.GetDomain(), domainSuffix) {
			return true
		}
	}
	return false
}

// Fault reads the refusal out of a call's error: reason, sentence, metadata and field violations
// as the other service gave them. An error that names no reason gets the nearest one; nil stays
// nil. The error itself is kept as the cause.
func Fault(err error) *fault.Error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	st, _ := status.FromError(err)
	if st.Code() == codes.Unknown {
		st = status.FromContextError(err)
	}
	reason, known := reasonOf[st.Code()]
	if !known {
		reason = fault.Internal
	}
	var pairs []string
	var violations []fault.Violation
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if number, ok := eventsv1.Reason_value[detail.GetReason()]; ok {
				reason = fault.Reason(number)
			}
			for key, value := range detail.GetMetadata() {
				pairs = append(pairs, key, value)
			}
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				violations = append(violations, fault.Violation{Field: v.GetField(), Sentence: v.GetDescription()})
			}
		}
	}
	return fault.New(reason, st.Message(), pairs...).WithFields(violations...).Wrap(err)
}

func newErrorID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // Never fails (crypto/rand).
	return hex.EncodeToString(b[:])
}
