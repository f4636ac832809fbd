package e2e

import (
	"testing"

	"amanat.example/services/kit/post/posttest"
)

func BenchmarkPostDrain(b *testing.B) {
	posttest.Drain(b, func(root string) posttest.Hub { return startHub(b, root) })
}

func BenchmarkPostLatency(b *testing.B) {
	posttest.Latency(b, func(root string) posttest.Hub { return startHub(b, root) })
}

func BenchmarkPostCallers64(b *testing.B) {
	posttest.Callers(b, 64, func(root string) posttest.Hub { return startHub(b, root) })
}
