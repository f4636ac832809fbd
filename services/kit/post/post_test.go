package post_test

import (
	"testing"

	"go.uber.org/goleak"

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
