// Package e2e tests whole networks with real parts.
package e2e
