package pages

import (
	_ "embed"
	"fmt"
	"net/http"

	"github.com/swaggest/swgui/v5/static"

	"amanat.example/gateway/coding"
)

//go:embed try.html
var tryPage []byte

//go:embed start.js
var startScript []byte

// tryPolicy is what the page for trying calls may do: run and show what this gateway serves, and ask this gateway. No script or
// style stands in the page itself, so neither is allowed there, and no text is ever run as a script. Pictures may be in the
// style sheet (data:), since Swagger UI has its arrows there.
const tryPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// tryFiles are the page for trying calls and what it needs: Swagger UI, as it lies in the binary.
func tryFiles() (map[string]coding.Content, error) {
	files := map[string]coding.Content{
		"/docs/try":          coding.NewContent(htmlType, tryPage),
		"/docs/try/start.js": coding.NewContent("text/javascript; charset=utf-8", startScript),
	}
	for name, kind := range map[string]string{
		"swagger-ui-bundle.js": "text/javascript; charset=utf-8",
		"swagger-ui.css":       "text/css; charset=utf-8",
	} {
		small, err := static.FS.ReadFile(name + ".gz")
		if err != nil {
			return nil, fmt.Errorf("the files of Swagger UI: %w", err)
		}
		if files["/docs/try/"+name], err = coding.Compressed(kind, small); err != nil {
			return nil, fmt.Errorf("the files of Swagger UI: %s: %w", name, err)
		}
	}
	return files, nil
}

func (s *Site) serveTry(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", tryPolicy)
	s.try[r.URL.Path].ServeHTTP(w, r)
}
