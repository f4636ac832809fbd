package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"amanat.example/gateway/openapi"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

func TestStatusPageShowsWhoIsDown(t *testing.T) {
	address, stopShelter := serveShelter(t, &shelter{})
	d := openDoor(t, nil, func(c *Config) {
		c.ShelterAddress = address
		c.ProtectionAddress = "127.0.0.1:1" // Nobody listens there.
	})
	row := func(name, state string) []byte {
		return []byte(`<th scope="row">` + name + `</th><td><span class="` + state + `">`)
	}
	var page answer
	eventually(t, "shelter is up", func() bool {
		page = d.ask("GET", "/", "", "Authorization: ")
		return bytes.Contains(page.body, row("shelter", "up"))
	})
	if page.status != 200 || !bytes.Contains(page.body, row("protection", "down")) || !bytes.Contains(page.body, []byte("sindh")) {
		t.Fatalf("%d %s", page.status, page.body)
	}
	stopShelter()
	eventually(t, "shelter is down", func() bool {
		return bytes.Contains(d.ask("GET", "/", "").body, row("shelter", "down"))
	})
	got := d.ask("GET", "/v1/"+holdName, "")
	if p := got.problem(t); got.status != 503 || p.Reason != "REASON_UNAVAILABLE" || strings.Contains(p.Detail, "127.0.0.1") {
		t.Fatalf("%d %s", got.status, got.body)
	}
}

func TestPagesNeedNothingFromElsewhere(t *testing.T) {
	d := openDoor(t, &shelter{})
	for _, path := range []string{"/", "/docs"} {
		got := d.ask("GET", path, "", "Authorization: ")
		_, rest, _ := strings.Cut(string(got.body), "<style>")
		style, _, _ := strings.Cut(rest, "</style>")
		digest := sha256.Sum256([]byte(style))
		policy := got.header.Get("Content-Security-Policy")
		if got.status != 200 || !strings.Contains(policy, "default-src 'none'") ||
			!strings.Contains(policy, base64.StdEncoding.EncodeToString(digest[:])) || strings.Contains(policy, "script") {
			t.Errorf("%s: %d, policy %q", path, got.status, policy)
		}
		if strings.Contains(string(got.body), "<script") || strings.Contains(string(got.body), "src=") || strings.Contains(string(got.body), "ZgotmplZ") {
			t.Errorf("%s asks for something from elsewhere, or could not be filled in", path)
		}
	}
	docs := string(d.ask("GET", "/docs", "").body)
	for _, want := range []string{
		`POST</b> /v1/nodes/*/shelters/*/groups/*:placeHold`, `GET</b> /v1/corridors`, `href="#amanat.gateway.v1.Problem"`,
		`<li><code>STAGE_ARRIVED</code>: The person arrived.</li>`, `href="#amanat.shelter.v1.Hold"`,
		`id="amanat.shelter.v1.Hold"`, "page_size",
	} {
		if !strings.Contains(docs, want) {
			t.Errorf("/docs has no %s", want)
		}
	}
	if strings.Contains(docs, "_UNSPECIFIED") {
		t.Error("/docs shows values that are never written")
	}
	got := d.ask("GET", "/openapi.json", "", "Authorization: ")
	if got.status != 200 || !json.Valid(got.body) || !bytes.Equal(got.body, openapi.Document) {
		t.Errorf("/openapi.json: %d, %d bytes", got.status, len(got.body))
	}
}

// The page for trying calls runs no script and takes no style but what this gateway serves as files.
func TestTryPageStandsByItself(t *testing.T) {
	d := openDoor(t, &shelter{get: aHold})
	for path, kind := range map[string]string{
		"/docs/try": "text/html", "/docs/try/start.js": "text/javascript", "/docs/try/swagger-ui-bundle.js": "text/javascript", "/docs/try/swagger-ui.css": "text/css",
	} {
		got := d.ask("GET", path, "", "Authorization: ")
		policy := got.header.Get("Content-Security-Policy")
		if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), kind) || len(got.body) == 0 || !strings.Contains(policy, "default-src 'none'") ||
			!strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
		if again := d.ask("GET", path, "", "Authorization: ", "If-None-Match: "+got.header.Get("ETag")); again.status != http.StatusNotModified {
			t.Errorf("%s: asked again: %d", path, again.status)
		}
	}
	page := string(d.ask("GET", "/docs/try", "").body)
	if strings.Contains(page, "//") || strings.Contains(page, "<style") || strings.Contains(page, "style=") || strings.Count(page, "<script") != strings.Count(page, `<script defer src="/docs/try/`) {
		t.Errorf("it takes something from elsewhere, or has it in itself: %s", page)
	}
	if start := string(d.ask("GET", "/docs/try/start.js", "").body); !strings.Contains(start, "'/openapi.json'") || !strings.Contains(start, "validatorUrl: 'none'") {
		t.Errorf("it starts with %s", start)
	}
	if got := d.ask("GET", "/docs/try/swagger-ui.js", ""); got.status != http.StatusNotFound {
		t.Errorf("a file that is not needed: %d", got.status)
	}
	// It writes a name within a path as one piece.
	if got := d.ask("GET", "/v1/"+strings.ReplaceAll(holdName, "/", "%2F"), ""); got.status != 200 {
		t.Errorf("a name in one piece: %d %s", got.status, got.body)
	}
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	d := openDoor(t, &shelter{get: func(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		close(began)
		<-goOn
		return aHold(ctx, r)
	}})
	answered := make(chan answer, 1)
	go func() { answered <- d.ask("GET", "/v1/"+holdName, "") }()
	<-began
	if got := d.adminStatus("/readyz"); got != http.StatusOK {
		t.Fatalf("ready: %d", got)
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); d.stop() }()
	eventually(t, "it is no longer ready", func() bool { return d.adminStatus("/readyz") == http.StatusServiceUnavailable })
	if got := d.adminStatus("/healthz"); got != http.StatusOK {
		t.Fatalf("health while draining: %d", got)
	}
	close(goOn)
	if got := <-answered; got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	<-stopped
}

func TestMetricsCountByMethod(t *testing.T) {
	d := openDoor(t, &shelter{get: aHold})
	d.ask("GET", "/v1/"+holdName, "")
	response, err := d.client.Get(d.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var page bytes.Buffer
	if _, err := page.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), `amanat_http_answered_total{method="/amanat.shelter.v1.ShelterService/GetHold",status="200"} 1`) {
		t.Fatalf("%s", page.String())
	}
}

func (d *door) adminStatus(path string) int {
	response, err := d.client.Get(d.admin + path)
	if err != nil {
		d.t.Error(err)
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func TestSettingsAreJudged(t *testing.T) {
	good := Config{Data: root, Node: "sindh", Admin: "127.0.0.1:0", HTTPListen: "127.0.0.1:0"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for setting, change := range map[string]func(*Config){
		"node":            func(c *Config) { c.Node = "Sindh" },
		"admin":           func(c *Config) { c.Admin = "0.0.0.0:8091" },
		"http-listen":     func(c *Config) { c.HTTPListen = "8081" },
		"otlp-endpoint":   func(c *Config) { c.OTLPEndpoint = "http://collector.example:4317" },
		"token-rate":      func(c *Config) { c.TokenRate = -1 },
		"shelter-address": func(c *Config) { c.ShelterAddress = "shelter" },
	} {
		c := good
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), "setting "+setting+" ") {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	d := openDoor(t, nil)
	transport := d.client.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.MaxVersion = tls.VersionTLS12
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(d.url + "/")
	if err == nil {
		_ = response.Body.Close()
		t.Fatal("TLS 1.2 was let in")
	}
	if !strings.Contains(err.Error(), "protocol version") {
		t.Fatal(err)
	}
}

// The gateway reaches services by their contracts: what they are made of is none of its business.
func TestImportsContractsAndKitAlone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	kit := false
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		ours, ok := strings.CutPrefix(path, "amanat.example/")
		kit = kit || strings.HasPrefix(ours, "services/kit/")
		if ok && !strings.HasPrefix(ours, "services/kit/") && !strings.HasPrefix(ours, "proto/") && ours != "gateway" && !strings.HasPrefix(ours, "gateway/") {
			t.Errorf("the gateway depends on %s", path)
		}
	}
	if !kit {
		t.Error("the list of packages is not what was expected")
	}
}
