package rest

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
)

// routes asks whether a path has a method: the library says only that it has others, and RFC 9110, section 15.5.6, wants them named.
type routes struct{ found bool }

type routesKey struct{}

// unlessAsked goes on with a request, unless only the route of it is asked for.
func unlessAsked(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, parameters map[string]string) {
		if asked, ok := r.Context().Value(routesKey{}).(*routes); ok {
			asked.found = true
			return
		}
		next(w, r, parameters)
	}
}

// allowed are the methods of a request's path.
func (h *Handler) allowed(r *http.Request) (methods []string) {
	if r.Context().Value(routesKey{}) != nil {
		return nil
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		asked := &routes{}
		other := r.Clone(context.WithValue(r.Context(), routesKey{}, asked))
		other.Method = method
		h.mux.ServeHTTP(unwritten{}, other)
		if asked.found && method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		if asked.found {
			methods = append(methods, method)
		}
	}
	return methods
}

// unwritten is an answer that goes nowhere.
type unwritten struct{}

func (unwritten) Header() http.Header            { return http.Header{} }
func (unwritten) Write(data []byte) (int, error) { return len(data), nil }
func (unwritten) WriteHeader(int)                {}
