//go:build !e2e

package broker_test

// heavy is whether a test does as much as it can, or as much as is quick.
const heavy = false
