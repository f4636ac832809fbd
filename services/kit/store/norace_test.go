//go:build !race

package store_test

// Every byte.
const damageStride = 1
