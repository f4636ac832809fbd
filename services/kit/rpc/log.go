package rpc

import (
	"time"

	"google.golang.org/grpc/codes"

	"amanat.example/services/kit/logging"
)

// logCall writes a call's one line. It holds names, ids, a code and a duration; the cause of an
// internal error stands here and nowhere else.
func (s *Server) logCall(m *method, c *call, code codes.Code, took time.Duration, errorID string, cause error) {
	fields := []logging.Field{
		m.logged, logging.Code(code), logging.Took(took), logging.ID("request", c.requestID),
	}
	if c.caller != "" {
		fields = append(fields, logging.Peer(s.identity.Node(), c.caller))
	}
	if person := c.person.GetPerson(); person != "" {
		fields = append(fields, logging.Resource("person", person), logging.ID("token", c.person.GetTokenId()))
	}
	if cause != nil {
		fields = append(fields, logging.Err(cause))
	}
	if errorID != "" {
		s.log.Error("call failed", append(fields, logging.ID("error_id", errorID))...)
		return
	}
	s.log.Info("call", fields...)
}
