package post_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"amanat.example/services/kit/post"
	"amanat.example/services/kit/post/posttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuiteInFairWeather(t *testing.T) {
	posttest.Run(t, func(*testing.T, string) posttest.Hub { return posttest.NewFake(1, posttest.Faults{}) })
}

func TestSuiteInFoulWeather(t *testing.T) {
	posttest.Run(t, func(*testing.T, string) posttest.Hub {
		return posttest.NewFake(1, posttest.Faults{Lose: 0.15, Double: 0.2, Delay: 0.15, Refuse: 0.05})
	})
}

// A service that would take letters which nobody can write does not start.
func TestKindsThatCanBeWritten(t *testing.T) {
	for kind, bad := range map[string]bool{"protection.dossier-wanted.v1": true, "": true, "protection.dossier_wanted.v1": false} {
		_, err := post.New(post.Config{Handlers: map[string]post.Handler{kind: nil}})
		if named := err != nil && strings.Contains(err.Error(), "no letter can have this kind"); named != bad {
			t.Errorf("%q: %v", kind, err)
		}
	}
}
