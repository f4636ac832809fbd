package rest

import (
	"net/http/httptest"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/httpbody"
)

// A file goes out byte for byte, and as what it says it is.
func TestAFileGoesOutAsItIs(t *testing.T) {
	w := httptest.NewRecorder()
	file := &httpbody.HttpBody{ContentType: "text/csv; charset=utf-8", Data: []byte("month,value\r\n2026-11,c\r\n\xff")}
	runtime.ForwardResponseMessage(t.Context(), runtime.NewServeMux(), newMarshaler(), w, httptest.NewRequest("GET", "/v1/publications/2026-11-e1:export", nil), file)
	if w.Code != 200 || w.Header().Get("Content-Type") != file.GetContentType() || w.Body.String() != string(file.GetData()) {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}
