package rpc

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newAdmin serves what an operator's tools ask on the loopback address: /metrics for
// Prometheus, /healthz (the process answers), /readyz (it takes calls: started, not draining,
// and Config.Ready says so).
func (s *Server) newAdmin() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // The asker has gone; nothing to do.
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Readiness(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// Readiness is nil when the server takes calls; the text of the error says why it does not.
func (s *Server) Readiness() error {
	if !s.serving.Load() {
		return fmt.Errorf("not serving: starting or draining")
	}
	if s.closed != nil {
		if err := s.closed(); err != nil {
			return err
		}
	}
	if s.ready != nil {
		return s.ready()
	}
	return nil
}

// onLoopback keeps metrics off the network: they have no authentication.
func onLoopback(listener net.Listener) error {
	if address, ok := listener.Addr().(*net.TCPAddr); ok && address.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("rpc: admin address %s is not a loopback address: use 127.0.0.1", listener.Addr())
}
