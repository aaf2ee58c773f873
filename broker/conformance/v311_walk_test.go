package conformance_test

import (
	"slices"
	"testing"
)

// v311 are all normative statements of MQTT 3.1.1 (appendix B), in its order.
func v311() []statement {
	return slices.Concat(v311Format(), v311Connect(), v311Publish(), v311Subscribe(), v311Behaviour())
}

// Each statement of MQTT 3.1.1 that binds a server holds.
func TestMQTT311(t *testing.T) { walk(t, v311()) }
