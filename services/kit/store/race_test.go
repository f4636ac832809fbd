//go:build race

package store_test

// The race detector makes TestEveryByteOfAFile ten times as slow and has nothing to find in it.
const damageStride = 8
