// Package pages are the gateway's pages for people who are not signed in: how the node is (`/`),
// what the REST interface offers (`/docs`), and its description for programs (`/openapi.json`).
//
// Invariants: they hold nothing of persons; they are whole without a script, a font or a picture
// from anywhere, and say so to the browser.
package pages

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"runtime/debug"
	"time"

	"amanat.example/gateway/coding"
	"amanat.example/gateway/openapi"
	"amanat.example/gateway/rest"
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
	health        func(context.Context) []rest.Health
	status        *template.Template
	docs, openAPI coding.Content
}

// New makes the pages of a node; health asks its services how they are.
func New(node string, health func(context.Context) []rest.Health) (*Site, error) {
	digest := sha256.Sum256([]byte(style))
	s := &Site{
		node: node, health: health,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
	functions := template.FuncMap{
		"work": func(service string) string { return work[service] },
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
	return s, nil
}

// Serves is whether there is a page at path.
func (s *Site) Serves(path string) bool {
	return path == "/" || path == "/docs" || path == "/openapi.json"
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
	}
}

func (s *Site) serveStatus(w http.ResponseWriter, r *http.Request) {
	view := struct {
		Node, Version, Asked string
		Services             []rest.Health
		AllServing           bool
	}{s.node, version(), time.Now().UTC().Format("2006-01-02 15:04:05 UTC"), s.health(r.Context()), true}
	for _, one := range view.Services {
		view.AllServing = view.AllServing && one.Serving
	}
	var page bytes.Buffer
	if err := s.status.Execute(&page, view); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", s.policy)
	w.Header().Set("Content-Type", htmlType)
	_, _ = w.Write(page.Bytes()) // The asker has gone; nothing to do.
}

// work is what each service does, in a few words.
var work = map[string]string{
	"protection": "Persons, cases and consent",
	"referral":   "Referrals, offers and who owns them",
	"shelter":    "Beds, holds and stays",
	"federal":    "Counts of flows between provinces, without persons",
}

// version is the release the program was built from, else its revision, else "".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return ""
}
