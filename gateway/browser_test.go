package gateway

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// A browser shows every call on the page for trying them, under the page's own policy, and finds nothing to complain of.
func TestTryPageInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here, so the page was looked at over HTTP alone: apt-get install chromium")
	}
	d := openDoor(t, &shelter{})
	command := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
		"--user-data-dir="+t.TempDir(), "--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom",
		d.url+"/docs/try#/ShelterService/ShelterService_SuspendShelter") // which opens that call
	var page, said bytes.Buffer
	command.Stdout, command.Stderr = &page, &said
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, ":CONSOLE") && (strings.Contains(line, "Security Policy") || strings.Contains(line, "Error") || strings.Contains(line, "Failed")) {
			t.Errorf("the browser says: %s", line)
		}
	}
	for _, want := range []string{`id="operations-tag-ShelterService"`, `id="operations-tag-FederalService"`, "Authorize", `class="title">Amanat`, "Try it out", "If-Match"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%.3000s", page.String())
	}
}
