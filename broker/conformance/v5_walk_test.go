package conformance_test

import (
	"slices"
	"testing"
)

// v5 are all normative statements of MQTT 5 (appendix B), in its order.
func v5() []statement {
	return slices.Concat(v5Format(), v5Connect(), v5Publish(), v5Subscribe(), v5Rest())
}

// Each statement of MQTT 5 that binds a server holds.
func TestMQTT5(t *testing.T) { walk(t, v5()) }
