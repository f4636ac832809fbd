// Package pages are the gateway's pages for people who are not signed in: how the node is (`/`),
// what the REST interface offers (`/docs`), its description for programs (`/openapi.json`), and Swagger UI,
// with which calls can be tried (`/docs/try`).
//
// Invariants: they hold nothing of persons; they need nothing from anywhere else, and say so to the browser. All but
// `/docs/try` are whole without a script.
package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"

	"amanat.example/gateway/coding"
	"amanat.example/gateway/openapi"
)

//go:embed style.css
var style string

//go:embed status.html
var statusPage string

//go:embed docs.html
var docsPage string

const htmlType = "text/html; charset=utf-8"

// Site serves the pages.
type Site struct {
	node, policy  string
	sections      []Section
	status        *template.Template
	docs, openAPI coding.Content
	try           map[string]coding.Content // by path
}

// New makes the pages of a node. The sections make the status page.
func New(node string, sections ...Section) (*Site, error) {
	digest := sha256.Sum256([]byte(style))
	s := &Site{
		node: node, sections: sections,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
	functions := template.FuncMap{
		// The whole element, since its hash must be that of these very bytes.
		"style": func() template.HTML { return template.HTML("<style>" + style + "</style>") },
	}
	var err error
	if s.status, err = template.New("status").Funcs(functions).Parse(statusPage); err != nil {
		return nil, err
	}
	docs, err := template.New("docs").Funcs(functions).Parse(docsPage)
	if err != nil {
		return nil, err
	}
	described, err := describe(openapi.Document)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := docs.Execute(&page, described); err != nil {
		return nil, err
	}
	s.docs, s.openAPI = coding.NewContent(htmlType, page.Bytes()), coding.NewContent("application/json", openapi.Document)
	s.try, err = tryFiles()
	return s, err
}

// Serves is whether there is a page at path.
func (s *Site) Serves(path string) bool {
	_, try := s.try[path]
	return try || path == "/" || path == "/docs" || path == "/openapi.json"
}

// ServeHTTP answers GET and HEAD for a page that it serves.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		s.serveStatus(w, r)
	case "/docs":
		w.Header().Set("Content-Security-Policy", s.policy)
		s.docs.ServeHTTP(w, r)
	case "/openapi.json":
		s.openAPI.ServeHTTP(w, r)
	default:
		s.serveTry(w, r)
	}
}
