//go:build !e2e

package client_test

import "testing"

// installed starts brokers of other makers; only with -tags e2e.
func installed() func(*testing.T) *testBroker { return nil }
