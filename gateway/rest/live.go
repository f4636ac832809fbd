package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatewayv1 "amanat.example/proto/amanat/gateway/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
)

const (
	eventStream = "text/event-stream"
	// maxLive is how long a stream lives at most, less than a person token; its reader then opens it again.
	maxLive = 4 * time.Minute
	// heartbeat is how often a stream says something though nothing happened, so that nobody on the way takes it for dead.
	heartbeat = 15 * time.Second
	// firstBeat is when the reader learns that the stream is open, where nothing was there to tell at once.
	firstBeat = time.Second
	// liveWrite is how long a slow reader may take for what is written.
	liveWrite = 30 * time.Second
	// livePerToken is how many streams may be open with one API token.
	livePerToken = 16
)

// Delimiter, StreamContentType and Marshal make each message of a stream a server-sent event (WHATWG HTML, section 9.2). Its data is
// the message, as in any other answer.
func (m *marshaler) Delimiter() []byte { return []byte("\n\n") }

// StreamContentType implements runtime.StreamContentType.
func (m *marshaler) StreamContentType(any) string { return eventStream }

// Marshal implements runtime.Marshaler.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	if file, ok := fileOf(v); ok {
		return file.GetData(), nil
	}
	chunk, ok := v.(map[string]any) // how the library names a message of a stream
	if !ok {
		return m.JSONPb.Marshal(v)
	}
	data, err := m.JSONPb.Marshal(chunk["result"])
	return append([]byte(eventID(chunk["result"])+"data: "), data...), err
}

// eventID is the line that says where a message of a stream stands in it: with that id its reader can come back (Last-Event-ID).
func eventID(result any) string {
	message, ok := result.(proto.Message)
	if !ok {
		return ""
	}
	id := text(message, positionField)
	if id == "" || strings.ContainsAny(id, "\x00\r\n") { // These end a line, or the id would be ignored.
		return ""
	}
	return "id: " + id + "\n"
}

// live is the answer to a request. Once a stream was opened for it (begin), what is written are events.
type live struct {
	http.ResponseWriter
	mu     sync.Mutex
	stream bool // a stream was opened
	begun  bool // and its headers are written
	gzip   bool // the answer may be compressed
	failed *gatewayv1.Problem
	close  func() // ends the stream and waits for its heartbeat
}

// Unwrap lets http.ResponseController reach the connection.
func (l *live) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// Header implements http.ResponseWriter. A stream's headers are written by begin, perhaps in the heartbeat's goroutine, so the
// library gets others to write to.
func (l *live) Header() http.Header {
	if l.stream {
		return http.Header{}
	}
	return l.ResponseWriter.Header()
}

// onStreamError keeps what a stream failed with, until the library has ended.
func (h *Handler) onStreamError(ctx context.Context, err error) *status.Status {
	x := exchangeOf(ctx)
	p := ofError(err)
	if p.GetStatus() == http.StatusInternalServerError {
		h.log.Error("a stream failed", logging.RPC(x.rpc), logging.Err(err), logging.ID("request", x.requestID))
	}
	x.live.fail(p)
	return status.New(codes.Unknown, "")
}

func (l *live) fail(p *gatewayv1.Problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = p
}

// Write implements http.ResponseWriter. What the library writes of a failure is dropped: finish says it our way.
func (l *live) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return len(data), nil
	}
	if l.stream {
		l.begin()
		return l.ResponseWriter.Write(data)
	}
	_, err := l.ResponseWriter.Write(l.encoded(data))
	return len(data), err
}

// WriteHeader implements http.ResponseWriter. The library calls it for a stream only when that failed.
func (l *live) WriteHeader(code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.ResponseWriter.WriteHeader(code)
	}
}

// FlushError implements what http.ResponseController looks for.
func (l *live) FlushError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

// open makes the answer a stream of events that ends with ctx.
func (l *live) open(ctx context.Context, cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream = true
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(firstBeat)
		defer ticker.Stop()
		l.beat(ctx, ticker.C, func() { ticker.Reset(heartbeat) })
	}()
	l.close = func() {
		cancel()
		<-ended
	}
}

// begin says what comes, once, and gives the next write its time: the server's own limits are for short answers.
func (l *live) begin() {
	if !l.begun {
		l.begun = true
		header := l.ResponseWriter.Header()
		header.Set("Content-Type", eventStream)
		header.Set("X-Accel-Buffering", "no")
		l.ResponseWriter.WriteHeader(http.StatusOK)
	}
	control := http.NewResponseController(l.ResponseWriter)
	_ = control.SetWriteDeadline(time.Now().Add(liveWrite)) // Not possible on every connection; then the server's own limit holds.
	_ = control.SetReadDeadline(time.Time{})
}

func (l *live) flush() error { return http.NewResponseController(l.ResponseWriter).Flush() }

// beat keeps the stream alive until ctx ends; after each beat it calls next.
func (l *live) beat(ctx context.Context, every <-chan time.Time, next func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-every:
			l.mu.Lock()
			l.begin()
			_, _ = io.WriteString(l.ResponseWriter, ": still here\n\n") // Whoever has gone is noticed by the call's context.
			_ = l.flush()
			l.mu.Unlock()
			next()
		}
	}
}

// finish tells how a stream ended that failed: as a refusal before its first event, else as an event `problem`. One whose time
// has come, or whose service goes, just ends, and is opened again.
func (h *Handler) finish(x *exchange) {
	l := x.live
	if l.close != nil {
		l.close()
	}
	p := l.failed
	l.failed = nil
	switch {
	case p == nil:
	case !l.begun:
		h.refuse(l.ResponseWriter, x, p)
	case p.GetReason() != fault.Unavailable.String():
		p.RequestId = x.requestID
		var line bytes.Buffer
		data, err := problemJSON.Marshal(p)
		if err == nil {
			err = json.Compact(&line, data)
		}
		if err != nil { // Only texts and numbers: it cannot be.
			h.log.Error("a problem could not be written", logging.Err(err), logging.ID("request", x.requestID))
			return
		}
		_, _ = fmt.Fprintf(l.ResponseWriter, "event: problem\ndata: %s\n\n", &line) // The asker has gone; nothing to do.
	}
}

// watchFor is actFor for calls that stream.
func (h *Handler) watchFor(service string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
		x := exchangeOf(ctx)
		x.rpc = method
		if x.head { // A stream has no end at which to answer without a body.
			return nil, errMethod
		}
		leave, ok := h.streams.enter(x.grant.Token)
		if !ok {
			return nil, fault.New(fault.TooMany, "Too many streams are open with this API token. Close some of them.", "open", strconv.Itoa(livePerToken))
		}
		ctx, err := h.actingFor(ctx, x, service)
		if err != nil {
			leave()
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, maxLive)
		unhook := context.AfterFunc(h.draining, cancel)
		x.live.open(ctx, func() {
			cancel()
			unhook()
			leave()
		})
		stream, err := open(ctx, desc, conn, method, options...)
		if err != nil {
			return nil, err
		}
		return &watched{ClientStream: stream, x: x}, nil
	}
}

// watched refuses parameters that the request does not have, and says where its reader has stopped.
type watched struct {
	grpc.ClientStream
	x *exchange
}

// SendMsg implements grpc.ClientStream.
func (w *watched) SendMsg(m any) error {
	if message, ok := m.(proto.Message); ok {
		if err := checkQuery(message.ProtoReflect().Descriptor(), w.x.query); err != nil {
			return err
		}
		if err := w.x.resume(message.ProtoReflect()); err != nil {
			return err
		}
	}
	return w.ClientStream.SendMsg(m)
}

// streams counts those that are open, by API token.
type streams struct {
	mu   sync.Mutex
	open map[string]int
}

// enter takes a place for one more stream; false where there is none.
func (s *streams) enter(token string) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[token] >= livePerToken {
		return nil, false
	}
	s.open[token]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[token]--; s.open[token] == 0 {
			delete(s.open, token)
		}
	}, true
}
