package topics_test

import (
	"strings"
	"testing"

	"dominion/topics"
)

func TestEveryFaultOfAServicesTermsNamesItsField(t *testing.T) {
	for terms, want := range map[string]string{
		`"type":"forever"`:                               `field services.a.type: is "forever" (want oneshot, or nothing for a service that runs for ever)`,
		`"type":1`:                                       "field services.a.type: is a number (want a string)",
		`"schedule":"* * *"`:                             `field services.a.schedule: is "* * *", which has 3 fields (`,
		`"schedule":"@every 5m"`:                         `field services.a.schedule: is "@every 5m" (write five fields`,
		`"schedule":"CRON_TZ=UTC * * * *"`:               `which has "_"`,
		`"ready":{"by":"http","path":"health"}`:          `field services.a.ready.path: is "health" (begin it with /)`,
		`"ready":{"by":"file"}`:                          "field services.a.ready.path: is missing (the file to look for)",
		`"ready":{"by":"tcp","path":"/x"}`:               "only http and file have one",
		`"ready":{"by":"http","path":"/\n"}`:             "has a control character",
		`"ready":{"by":"delay","delay":-1}`:              "field services.a.ready.delay: is negative",
		`"ready":{"by":"delay","delay":1e300}`:           "field services.a.ready.delay: is 1",
		`"ready":{"by":"done"}`:                          "which only a oneshot can be",
		`"live":{}`:                                      "field services.a.live.by: is missing",
		`"live":{"by":"delay"}`:                          `field services.a.live.by: is "delay" (want tcp, http, file, notify or topic)`,
		`"live":{"by":"tcp","interval":0.001}`:           "field services.a.live.interval: is 0.001 s (want 0.1 or more)",
		`"live":{"by":"tcp","timeout":-1}`:               "field services.a.live.timeout: is negative",
		`"live":{"by":"tcp","failures":-1}`:              "field services.a.live.failures: is -1 (want 1 to 1000)",
		`"restart":{"policy":"sometimes"}`:               `field services.a.restart.policy: is "sometimes" (want always, on-failure or never)`,
		`"restart":{"first":9,"cap":3}`:                  "field services.a.restart.cap: is 3 s, less than first (9 s)",
		`"memory":128`:                                   "field services.a.memory: is 128 bytes (want 1048576, a megabyte, or more)",
		`"memory":-1`:                                    "field services.a.memory: is a number -1 (want a number)",
		`"cpu":-0.5`:                                     "field services.a.cpu: is -0.5 cores",
		`"soft":["x"]`:                                   `field services.a.soft: has "x", which is none of the dependencies`,
		`"type":"oneshot","ready":{"by":"tcp"}`:          "field services.a.ready.by: is tcp, and a oneshot is ready when it is done",
		`"schedule":"@daily","live":{"by":"tcp"}`:        "field services.a.live: judges services that run for ever",
		`"type":"oneshot","restart":{"policy":"always"}`: "field services.a.restart.policy: is always",
	} {
		_, bad, err := topics.DecodeDocument([]byte(`{"house":"h","term":1,"gen":1,"services":{"a":{"run":true,` + terms + `},"b":{"run":true}}}`))
		if err != nil || len(bad) != 1 || !strings.Contains(bad["a"].Error(), want) {
			t.Errorf("%s: %v, %v; want %s", terms, bad, err, want)
		}
	}
}

func TestWhatIsPossibleIsAccepted(t *testing.T) {
	for _, terms := range []string{
		`"ready":{"by":"http"},"live":{"by":"http","path":"/live?deep=1","interval":0.5,"timeout":0.1,"failures":1}`,
		`"ready":{"by":"file","path":"run/ready"},"live":{"by":"file","path":"/run/x"},"restart":{"policy":"never"}`,
		`"ready":{"by":"notify"},"live":{"by":"notify"},"memory":134217728,"cpu":0.25`,
		`"type":"oneshot","ready":{"by":"done","timeout":3600},"restart":{"policy":"never"}`,
		`"schedule":"*/15 6-22 * * MON-FRI"`,
		`"schedule":"@daily","dependencies":["b"],"soft":["b"]`,
	} {
		_, bad, err := topics.DecodeDocument([]byte(`{"house":"h","term":1,"gen":1,"services":{"a":{"run":true,` + terms + `}}}`))
		if err != nil || len(bad) != 0 {
			t.Errorf("%s: %v, %v", terms, bad, err)
		}
	}
}

func TestTheDefaultPolicyFollowsTheType(t *testing.T) {
	for want, w := range map[string]topics.Wanted{
		topics.RestartAlways:    {Restart: &topics.Restart{First: 3}},
		topics.RestartOnFailure: {Schedule: "@daily"},
		topics.RestartNever:     {Type: topics.Oneshot, Restart: &topics.Restart{Policy: topics.RestartNever}},
	} {
		if got := w.RestartPolicy(); got != want {
			t.Errorf("%+v: %s, want %s", w, got, want)
		}
	}
}
