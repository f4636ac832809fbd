package rpctest

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// Switch is a registrar that puts another life of a service behind a server that goes on listening: the first registration goes to the
// server, each later one takes the place of the one before. Calls under way stay with whom they reached. Unary methods alone are
// switched.
type Switch struct {
	into grpc.ServiceRegistrar

	mu    sync.RWMutex
	impls map[string]any // by service
}

// NewSwitch makes one in front of a server.
func NewSwitch(into grpc.ServiceRegistrar) *Switch {
	return &Switch{into: into, impls: map[string]any{}}
}

// RegisterService implements grpc.ServiceRegistrar.
func (s *Switch) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.mu.Lock()
	_, known := s.impls[desc.ServiceName]
	s.impls[desc.ServiceName] = impl
	s.mu.Unlock()
	if known {
		return
	}
	switched := *desc
	switched.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		handle := m.Handler
		m.Handler = func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			s.mu.RLock()
			now := s.impls[desc.ServiceName]
			s.mu.RUnlock()
			return handle(now, ctx, decode, interceptor)
		}
		switched.Methods[i] = m
	}
	s.into.RegisterService(&switched, impl)
}
