package pages

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"amanat.example/gateway/rest"
)

// The status page shows its sections in order, asked anew each time, and takes what they say as text.
func TestStatusPageShowsItsSections(t *testing.T) {
	serving := true
	site, err := New("sindh",
		Services(func(context.Context) []rest.Health { return []rest.Health{{Name: "shelter", Serving: serving}} }),
		func(context.Context) Table {
			return Table{Title: "Funnel", Head: []string{"Stage", "Count"}, Rows: [][]Cell{{{Text: "<identified>"}, {Text: "12"}}}}
		})
	if err != nil {
		t.Fatal(err)
	}
	page := func() string {
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("how it is now may be kept: %q", got)
		}
		return w.Body.String()
	}
	up := page()
	for _, want := range []string{
		`<p class="state">All services take calls.</p>`, `<th scope="row">shelter</th><td><span class="up">up</span></td><td>Beds, holds and stays</td>`,
		`<h2>Funnel</h2>`, `<th scope="col">Stage</th><th scope="col">Count</th>`, `<th scope="row">&lt;identified&gt;</th><td>12</td>`,
	} {
		if !strings.Contains(up, want) {
			t.Errorf("no %s in %s", want, up)
		}
	}
	if strings.Index(up, "shelter") > strings.Index(up, "Funnel") {
		t.Error("the sections are not in order")
	}
	serving = false
	if down := page(); !strings.Contains(down, `<p class="state bad">A service does not take calls.`) || !strings.Contains(down, `<span class="down">down</span>`) {
		t.Errorf("down: %s", down)
	}
	if site, err = New("sindh", Services(func(context.Context) []rest.Health { return nil })); err != nil {
		t.Fatal(err)
	}
	if none := page(); !strings.Contains(none, `<p class="state bad">No service is set up at this gateway.</p>`) || strings.Contains(none, "<table>") {
		t.Errorf("none: %s", none)
	}
}
