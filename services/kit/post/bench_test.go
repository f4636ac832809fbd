package post_test

import (
	"testing"

	"amanat.example/services/kit/post/posttest"
)

func fair(string) posttest.Hub { return posttest.NewFake(1, posttest.Faults{}) }

func BenchmarkDrain(b *testing.B)     { posttest.Drain(b, fair) }
func BenchmarkLatency(b *testing.B)   { posttest.Latency(b, fair) }
func BenchmarkCallers64(b *testing.B) { posttest.Callers(b, 64, fair) }
