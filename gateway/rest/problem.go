package rest

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	gatewayv1 "amanat.example/proto/amanat/gateway/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
)

const (
	problemType = "application/problem+json"
	domain      = "gateway.amanat"
	ourDomains  = ".amanat"
)

// problemJSON leaves out what is absent, as the OpenAPI document says.
var problemJSON = protojson.MarshalOptions{UseProtoNames: true}

// plain are the reasons and sentences for statuses that are not of our making.
var plain = map[codes.Code]struct {
	reason   fault.Reason
	sentence string
}{
	codes.InvalidArgument:   {fault.Field, "The request cannot be read: compare it with /docs."},
	codes.NotFound:          {fault.Missing, "There is no such thing, or it is not visible to you."},
	codes.Unimplemented:     {fault.Missing, "This node's service does not know this call."},
	codes.ResourceExhausted: {fault.TooMany, "The service is asked too often. Try again after a pause."},
	codes.Unavailable:       {fault.Unavailable, "The service does not answer. Try again; repeat a change with the same request_id."},
	codes.DeadlineExceeded:  {fault.Unavailable, "The time ended before the work. It may or may not have been done; repeat it with the same request_id."},
	codes.Canceled:          {fault.Unavailable, "The caller has gone."},
}

// parameter is how the library names a query parameter that it cannot read; what follows may
// quote its value.
var parameter = regexp.MustCompile(`^(?:parsing (?:field|list) |too many values for field |duplicate field )"([a-z][a-z0-9_.]{0,100})"`)

// httpStatus is for reasons of the gateway itself; all others follow their gRPC code.
var httpStatus = map[fault.Reason]int{
	fault.Field:           http.StatusBadRequest,
	fault.Missing:         http.StatusNotFound,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.TooMany:         http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
}

// ofFault is a refusal of the gateway's own.
func ofFault(f *fault.Error) *gatewayv1.Problem {
	p := newProblem(f.Reason(), httpStatus[f.Reason()], f.Sentence())
	p.Metadata = f.Metadata()
	for _, v := range f.Fields() {
		p.FieldViolations = append(p.FieldViolations, &gatewayv1.FieldViolation{Field: v.Field, Description: v.Sentence})
	}
	return p
}

func newProblem(reason fault.Reason, code int, sentence string) *gatewayv1.Problem {
	if code == 0 {
		code = http.StatusInternalServerError
	}
	p := &gatewayv1.Problem{Status: int32(code), Detail: sentence, Domain: domain}
	name(p, reason.String())
	return p
}

// name sets what follows from the reason alone.
func name(p *gatewayv1.Problem, reason string) {
	words := strings.Split(strings.ToLower(strings.TrimPrefix(reason, "REASON_")), "_")
	p.Reason, p.Type = reason, "urn:amanat:problem:"+strings.Join(words, "-")
	p.Title = strings.Join(words, " ")
	p.Title = strings.ToUpper(p.Title[:1]) + p.Title[1:]
}

// ofError is the problem of a call that failed.
func ofError(err error) *gatewayv1.Problem {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Reason() != fault.Internal {
		return ofFault(f)
	}
	st, _ := status.FromError(err)
	if p, ok := ofStatus(st); ok {
		return p
	}
	if st.Code() == codes.InvalidArgument {
		if match := parameter.FindStringSubmatch(st.Message()); match != nil {
			return ofFault(fault.InvalidField(match[1], "must be given once, in the form that /docs says"))
		}
	}
	known, ok := plain[st.Code()]
	if !ok {
		return newProblem(fault.Internal, http.StatusInternalServerError,
			"Something went wrong here. Tell the operator the request_id.")
	}
	return newProblem(known.reason, runtime.HTTPStatusFromCode(st.Code()), known.sentence)
}

// ofStatus reads what one of our services says; false for what others say.
func ofStatus(st *status.Status) (p *gatewayv1.Problem, ours bool) {
	p = &gatewayv1.Problem{Status: int32(runtime.HTTPStatusFromCode(st.Code())), Detail: st.Message()}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if strings.HasSuffix(d.GetDomain(), ourDomains) && d.GetReason() != "" {
				ours = true
				name(p, d.GetReason())
				p.Domain, p.Metadata = d.GetDomain(), d.GetMetadata()
				if d.GetReason() == fault.TooLarge.String() { // A code that stands for two things.
					p.Status = http.StatusRequestEntityTooLarge
				}
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				p.FieldViolations = append(p.FieldViolations, &gatewayv1.FieldViolation{Field: v.GetField(), Description: v.GetDescription()})
			}
		}
	}
	return p, ours
}

// refuse answers with a problem. The answer's headers were set by [Handler].
func (h *Handler) refuse(w http.ResponseWriter, x *exchange, p *gatewayv1.Problem) {
	p.RequestId = x.requestID
	header := w.Header()
	for _, name := range []string{"Trailer", "Transfer-Encoding", "ETag", "Vary"} { // As was announced for the answer that is not given.
		header.Del(name)
	}
	switch p.GetStatus() {
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="amanat"`)
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "1")
	}
	data, err := problemJSON.Marshal(p)
	if err != nil { // Only texts and numbers: it cannot be.
		h.log.Error("a problem could not be written", logging.Err(err), logging.ID("request", x.requestID))
	}
	header.Set("Content-Type", problemType)
	w.WriteHeader(int(p.GetStatus()))
	_, _ = w.Write(append(data, '\n')) // The asker has gone; nothing to do.
}

// Refuse answers a request that no call was made for, with this HTTP status.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, code int, f *fault.Error) {
	h.exchange(w, r, func(w http.ResponseWriter, x *exchange) { h.refuse(w, x, withStatus(code, f)) })
}

func withStatus(code int, f *fault.Error) *gatewayv1.Problem {
	p := ofFault(f)
	p.Status = int32(code)
	return p
}

// tooMany refuses one who asks too often; it says how long to wait.
func tooMany(w http.ResponseWriter, wait time.Duration) *fault.Error {
	seconds := strconv.Itoa(int((wait + time.Second - 1) / time.Second))
	w.Header().Set("Retry-After", seconds)
	return fault.New(fault.TooMany, "This is asked too often. Wait as many seconds as the header Retry-After says, then ask again.", "retry_after", seconds)
}

// RefuseMany answers a request that comes too soon after others; wait is how much.
func (h *Handler) RefuseMany(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	h.Refuse(w, r, http.StatusTooManyRequests, tooMany(w, wait))
}

// RefusePath answers a request for a path that is none of the REST interface: 404, or 405 where
// methods are those that the path has.
func (h *Handler) RefusePath(w http.ResponseWriter, r *http.Request, methods ...string) {
	if len(methods) > 0 {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		h.Refuse(w, r, http.StatusMethodNotAllowed, errMethod)
		return
	}
	h.Refuse(w, r, http.StatusNotFound, errNoRoute)
}

// onError is the library's way to us when a call failed or its request could not be read.
func (h *Handler) onError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	x := exchangeOf(ctx)
	x.live.gzip = false // That was settled for the answer that is not given.
	if x.body != nil && x.body.fault != nil {
		h.refuse(w, x, ofFault(x.body.fault))
		return
	}
	if wrapped, ok := errors.AsType[*runtime.HTTPStatusError](err); ok && wrapped.HTTPStatus == http.StatusBadRequest {
		h.refuse(w, x, newProblem(fault.Field, http.StatusBadRequest, "The path of the request is not well-formed."))
		return
	}
	if errors.Is(err, errNotModified) {
		notModified(w)
		return
	}
	p := ofError(err)
	if refused, ok := errors.AsType[*fault.Error](err); ok && refused == errMethod { // HEAD of a stream
		w.Header().Set("Allow", http.MethodGet)
		p.Status = http.StatusMethodNotAllowed
	}
	x.failedCondition(p)
	if p.GetStatus() == http.StatusInternalServerError {
		h.log.Error("a call failed", logging.RPC(x.rpc), logging.Err(err), logging.ID("request", x.requestID))
	}
	if x.live.stream { // It could not be opened.
		x.live.fail(p)
		return
	}
	h.refuse(w, x, p)
}

// onRoute is the library's way to us when no method has the path.
func (h *Handler) onRoute(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	x := exchangeOf(ctx)
	switch code {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", strings.Join(h.allowed(r), ", "))
		h.refuse(w, x, withStatus(code, errMethod))
	case http.StatusBadRequest:
		h.refuse(w, x, newProblem(fault.Field, code, "The path of the request is not well-formed."))
	default:
		h.refuse(w, x, ofFault(errNoRoute))
	}
}

var errMethod = fault.New(fault.Field, "This path is not served for this HTTP method: see /docs.")

var errNoRoute = fault.New(fault.Missing, "This path is not served here: see /docs, and / for the services of this node.")
