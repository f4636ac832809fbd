package services_test

import (
	"os/exec"
	"strings"
	"testing"
)

// What go test says, as it is told by `make test`: who was skipped and why, how often accidents happened, and all of what failed.
func TestWhatIsToldOfTests(t *testing.T) {
	const mixed = `=== RUN   TestA
=== PAUSE TestA
=== RUN   TestB
=== PAUSE TestB
=== CONT  TestA
    a_test.go:1: 3 cuts
=== CONT  TestB
    b_test.go:2: no disk
        at all
=== NAME  TestA
    a_test.go:4: 5 deaths
        of two
--- SKIP: TestB (0.00s)
=== RUN   TestA/sub
    sub.go:5: no browser
--- PASS: TestA (0.01s)
    --- SKIP: TestA/sub (0.00s)
=== RUN   TestQuiet
--- PASS: TestQuiet (0.00s)
`
	const skips = "--- SKIP: TestB (0.00s): b_test.go:2: no disk: at all\n--- SKIP: TestA/sub (0.00s): sub.go:5: no browser\n"
	const counts = "    a_test.go:1: 3 cuts\n    a_test.go:4: 5 deaths\n"
	const failed = "=== RUN   TestC\n    c_test.go:1: wrong\n--- FAIL: TestC (0.00s)\npanic: no more\n\ngoroutine 1\n"
	const quiet = "=== RUN   TestD\n--- PASS: TestD (0.00s)\n"
	passed := func(name string) string { return "PASS\nok  \tamanat.example/" + name + "\t0.010s\n" }
	ends := func(name string) string { return strings.TrimPrefix(passed(name), "PASS\n") }
	const gone = "FAIL\tamanat.example/c\t0.010s\n"
	for name, c := range map[string]struct{ said, want string }{
		"one that was skipped":       {mixed + passed("a"), skips + ends("a")},
		"accidents":                  {mixed + passed("deploy/e2e"), skips + counts + ends("deploy/e2e")},
		"accidents of disks":         {mixed + passed("deploy/disktest"), skips + counts + ends("deploy/disktest")},
		"no skip is told twice":      {mixed + passed("a") + mixed + passed("b"), skips + ends("a") + skips + ends("b")},
		"a failure":                  {mixed + passed("a") + quiet + failed + gone + quiet + passed("d") + "FAIL\n", skips + ends("a") + failed + gone + ends("d") + "FAIL\n"},
		"a build that fails":         {"FAIL\tamanat.example/c [build failed]\nFAIL\n", "FAIL\tamanat.example/c [build failed]\nFAIL\n"},
		"nothing to test":            {"?   \tamanat.example/c\t[no test files]\n", "?   \tamanat.example/c\t[no test files]\n"},
		"one that was broken off":    {quiet + failed, failed},
		"what fails is not cut down": {strings.ReplaceAll(failed, "goroutine 1\n", strings.Repeat("goroutine 1\n", 9999)) + gone, strings.ReplaceAll(failed, "goroutine 1\n", strings.Repeat("goroutine 1\n", 9999)) + gone},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command("awk", "-f", "../.ci/told.awk")
			command.Stdin = strings.NewReader(c.said)
			if told, err := command.CombinedOutput(); err != nil || string(told) != c.want {
				t.Errorf("%v, told:\n%s\nwant:\n%s", err, told, c.want)
			}
		})
	}
}
