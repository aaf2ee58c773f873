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

// sections5 are those of MQTT 5, as its appendix B lists them.
func sections5() []section {
	return []section{
		{"1.5.4", 3}, {"1.5.5", 1}, {"1.5.7", 1}, {"2.1.3", 1}, {"2.2.1", 6}, {"2.2.2", 1},
		{"3.1.0", 2}, {"3.1.2", 30}, {"3.1.3", 12}, {"3.1.4", 6}, {"3.2.0", 2}, {"3.2.2", 22},
		{"3.3.1", 13}, {"3.3.2", 20}, {"3.3.4", 10},
		{"3.4.2", 3}, {"3.5.2", 3}, {"3.6.1", 1}, {"3.6.2", 3}, {"3.7.2", 3},
		{"3.8.1", 1}, {"3.8.3", 5}, {"3.8.4", 8}, {"3.9.2", 2}, {"3.9.3", 2},
		{"3.10.1", 1}, {"3.10.3", 2}, {"3.10.4", 6}, {"3.11.2", 2}, {"3.11.3", 2},
		{"3.12.4", 1}, {"3.14.0", 1}, {"3.14.1", 1}, {"3.14.2", 4}, {"3.14.4", 3}, {"3.15.1", 1}, {"3.15.2", 3},
		{"4.1.0", 2}, {"4.2.0", 1}, {"4.3.1", 1}, {"4.3.2", 5}, {"4.3.3", 13}, {"4.4.0", 2}, {"4.5.0", 2}, {"4.6.0", 6},
		{"4.7.0", 1}, {"4.7.1", 2}, {"4.7.2", 1}, {"4.7.3", 4}, {"4.8.2", 6}, {"4.9.0", 3},
		{"4.12.0", 7}, {"4.12.1", 2}, {"4.13.1", 1}, {"4.13.2", 1}, {"6.0.0", 4},
	}
}

// numbers5 are those of all statements: 2.2.1 begins with 2.
func numbers5() []string {
	return slices.DeleteFunc(numbered(sections5()), func(number string) bool { return number == "MQTT-2.2.1-1" })
}
