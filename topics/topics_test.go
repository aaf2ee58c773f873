package topics_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	space := topics.Space{Base: "home/dominion"}
	for topic, want := range map[string]topics.Address{
		"home/dominion/attic/state/presence":               {"attic", topics.State, "presence", ""},
		"home/dominion/attic/state/service/webServer":      {"attic", topics.State, "service", "webServer"},
		"home/dominion/ship1/event/syslogforwarding/nginx": {"ship1", topics.Event, "syslogforwarding", "nginx"},
		"home/dominion/coordinator/command/restart/a":      {"coordinator", topics.Command, "restart", "a"},
	} {
		got, err := space.Parse(topic)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", topic, got, err, want)
		}
		if back := space.Format(got); back != topic {
			t.Errorf("Format gives %q, want %q", back, topic)
		}
	}
	for _, topic := range []string{
		"dominion/attic/state/presence", "home/dominion", "home/dominionx/attic/state/presence",
		"home/dominion/service/webServer/attic/frame", "homeassistant/status", "",
	} {
		if _, err := space.Parse(topic); !errors.Is(err, topics.ErrForeign) {
			t.Errorf("Parse(%q) = %v, want ErrForeign", topic, err)
		}
	}
	for topic, want := range map[string]string{
		"home/dominion/attic/state":                            "has 2 levels",
		"home/dominion/attic/state/a/b/c":                      "has 5 levels",
		"home/dominion/attic/wishes/a":                         `class "wishes"`,
		"home/dominion/attic/command/ping":                     "has no subject",
		"home/dominion/at..tic/state/presence":                 "letters, digits, _ and -",
		"home/dominion//state/presence":                        "a name is empty",
		"home/dominion/attic/state/" + strings.Repeat("x", 64): "at most 63",
	} {
		if _, err := space.Parse(topic); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", topic, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"attic": "", "Pi-4_b": "", "4": "",
		"": "empty", "-a": "begins with", "_group": "begins with", "a/b": "has '/'", "a+b": "has '+'", "a#": "has '#'",
		"..": "begins with", "a..b": "has '.'", "ä": "begins with 'ä'", "Küche": "has 'ü'", "a b": "has ' '", "a$b": "has '$'",
		"coordinator": "reserved", "Coordinator": "reserved", "all": "reserved", "service": "reserved",
	} {
		err := topics.Node(name).Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Node(%q).Check() = %v, want %q", name, err, want)
		}
	}
	for _, name := range []string{"state", "Event", "desired", "command", "../x"} {
		if topics.Service(name).Check() == nil {
			t.Errorf("Service(%q).Check() allows it", name)
		}
	}
	if err := topics.Base("home//x").Check(); err == nil {
		t.Error("a base with an empty level is allowed")
	}
}

func TestDecodeNamesTheField(t *testing.T) {
	for payload, want := range map[string]string{
		``:                              "payload is empty (a JSON object is wanted)",
		`[]`:                            `payload "[]" is not a JSON object`,
		`{"state":`:                     "is not JSON: unexpected end of JSON input",
		`{"v":1}`:                       "field state: is missing",
		`{"state":"here"}`:              `field state: is "here" (want online, stopped, lost or sleeping)`,
		`{"state":7}`:                   "field state: is a number (want a string)",
		`{"state":["online"]}`:          "field state: is an array (want a string)",
		`{"state":"online","wake":"x"}`: "field wake: is a string (want a number)",
		"{\"state\":\"\xff\"}":          "payload is not UTF-8",
	} {
		_, err := topics.DecodePresence([]byte(payload))
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", payload, err, want)
		}
	}
	big := fmt.Appendf(nil, `{"state":"online","x":"%s"}`, strings.Repeat("x", topics.MaxPayload))
	if _, err := topics.DecodePresence(big); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("1 MiB and more: %v", err)
	}
	for _, bare := range []string{"online", "ONLINE", "Online\n"} {
		if p, err := topics.DecodePresence([]byte(bare)); err != nil || p.State != topics.Online {
			t.Errorf("%q: %v, %v", bare, p, err)
		}
	}
	if p, err := topics.DecodePresence([]byte("Offline")); err != nil || p.State != topics.Lost {
		t.Errorf("Offline: %v, %v", p, err)
	}
}

func TestAnAddressThatCannotTravelIsRefused(t *testing.T) {
	for payload, want := range map[string]string{
		`{"service":"a","phase":"running","host":"$(touch x)"}`: `field host: is "$(touch x)", no host name or address`,
		`{"service":"a","phase":"running","port":99999}`:        "field port: is 99999 (want 1 to 65535)",
	} {
		if _, err := topics.Decode[topics.ServiceState]([]byte(payload)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", payload, err, want)
		}
	}
}

func TestOneBadServiceIsRefusedAlone(t *testing.T) {
	doc, bad, err := topics.DecodeDocument([]byte(`{"house":"h","term":1,"gen":2,"services":{
		"good":{"run":true},"typed":{"run":"yes"},"norun":{},"../x":{"run":true},"state":{"run":true},
		"ready":{"run":true,"ready":{"by":"luck"}},"port":{"run":true,"port":70000},"list":[]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[topics.Service]topics.Wanted{"good": {Run: true}}, doc.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	want := map[topics.Service]string{
		"typed": "field services.typed.run: is a string (want true or false)",
		"norun": "field services.norun.run: is missing",
		"../x":  `field services.../x: name "../x" begins with '.' (begin with a letter or digit)`,
		"state": `field services.state: service name "state" is reserved (choose another)`,
		"ready": `field services.ready.ready.by: is "luck" (want tcp, http, file, notify, topic or delay)`,
		"port":  "field services.port.port: is 70000 (want 1 to 65535)",
		"list":  `field services.list: payload "[]" is not a JSON object`,
	}
	got := map[topics.Service]string{}
	for s, err := range bad {
		got[s] = err.Error()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	for payload, want := range map[string]string{
		`{"term":1,"gen":1,"services":{}}`:             "field house: is missing",
		`{"house":"h","gen":1,"services":{}}`:          "field term: is missing",
		`{"house":"h","term":1,"services":{}}`:         "field gen: is missing",
		`{"house":"h","term":1,"gen":1}`:               "field services: is missing",
		`{"house":"h","term":-1,"gen":1,"services":1}`: "field term: is a number -1 (want a number)",
	} {
		if _, _, err := topics.DecodeDocument([]byte(payload)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", payload, err, want)
		}
	}
}

func TestReadingsOnceSentStay(t *testing.T) {
	host := topics.Host{CPU: topics.Measured(0), Temperature: topics.Reading{Seen: true}}
	if got, want := string(topics.Encode(host)), `{"v":1,"cpu":0,"temperature":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	back, err := topics.Decode[topics.Host](topics.Encode(host))
	if diff := cmp.Diff(host, back); err != nil || diff != "" {
		t.Errorf("%v (-sent +read):\n%s", err, diff)
	}
}

func TestDecodeRequest(t *testing.T) {
	space := topics.Space{}
	decode := func(payload string) (topics.Request, error) {
		return space.DecodeRequest(topics.Message{Topic: "dominion/coordinator/command/run/npBar", Payload: []byte(payload)})
	}
	for payload, want := range map[string]topics.RunWord{
		"on": topics.RunOn, "ON": topics.RunOn, "Off": topics.RunOff, "auto\n": topics.RunAuto, "now": "", "55.0": "",
		`{"run":"off"}`: topics.RunOff, `{"run":true}`: "",
	} {
		r, err := decode(payload)
		if err != nil || r.Switch() != want {
			t.Errorf("%q: %q, %v; want %q", payload, r.Switch(), err, want)
		}
	}
	r, err := decode(`{"id":"a1","by":"ann","n":3}`)
	if err != nil || r.ID != "a1" || r.Bare || r.By() != "ann" || r.Arg("n") != "3" || r.Method != "run" || r.Subject != "npBar" {
		t.Errorf("object: %+v, %v", r, err)
	}
	for payload, want := range map[string]string{
		"":                          "an empty payload is no command",
		" \n":                       "an empty payload is no command",
		"[1]":                       "not an object",
		`"on"`:                      "not an object",
		"+1":                        "neither a JSON object nor one word",
		"two words":                 "neither a JSON object nor one word",
		"$(reboot)":                 "neither a JSON object nor one word",
		"{":                         "is not JSON",
		`{"id":"a/b"}`:              "field id:",
		strings.Repeat("x", 65<<10): "at most 65536",
	} {
		if _, err := decode(payload); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", payload, err, want)
		}
	}
}

func TestWhoMayWrite(t *testing.T) {
	space := topics.Space{}
	node := topics.Identity{Role: topics.RoleNode, Name: "attic"}
	anyNode := topics.Identity{Role: topics.RoleNode}
	leader := topics.Identity{Role: topics.RoleCoordinator}
	service := topics.Identity{Role: topics.RoleService, Name: "npBar"}
	operator := topics.Identity{Role: topics.RoleOperator}
	ha := topics.Identity{Role: topics.RoleHomeAssistant}
	viewer := topics.Identity{Role: topics.RoleViewer}
	for _, c := range []struct {
		who          topics.Identity
		topic        string
		write, empty bool
	}{
		{node, "dominion/attic/state/presence", true, true},
		{node, "dominion/attic/event/exit/npBar", true, true},
		{node, "dominion/attic/command/restart/npBar", false, true},
		{node, "dominion/attic/desired/services", false, false},
		{node, "dominion/kitchen/state/presence", false, false},
		{node, "dominion/coordinator/state/presence", false, false},
		{node, "dominion/coordinator/command/stop/npBar", false, false},
		{node, "dominion/service/npBar/attic/ready", true, true},
		{node, "dominion/service/npBar/kitchen/ready", false, false},
		{node, "zigbee2mqtt/lamp", false, false},
		{anyNode, "dominion/kitchen/state/presence", true, true},
		{anyNode, "dominion/coordinator/state/presence", false, false},
		{anyNode, "dominion/coordinator/event/heartbeat/plan", false, false},
		{leader, "dominion/coordinator/state/summary/npBar", true, true},
		{leader, "dominion/attic/desired/services", true, true},
		{leader, "dominion/attic/command/restart/npBar", true, true},
		{leader, "dominion/attic/state/presence", false, true},
		{leader, "dominion/service/npBar/attic/ready", false, true},
		{leader, "dominion/service/npBar/attic/frame", false, false},
		{leader, "homeassistant/device/x/config", true, true},
		{service, "dominion/service/npBar/porch/lamp", true, true},
		{service, "dominion/service/webServer/porch/lamp", false, false},
		{service, "dominion/porch/state/service/npBar", false, false},
		{operator, "dominion/coordinator/command/stop/npBar", true, true},
		{operator, "dominion/attic/desired/services", false, false},
		{operator, "dominion/coordinator/state/alert/x", false, false},
		{operator, "zigbee2mqtt/lamp/set", true, true},
		{operator, "homeassistant/device/x/config", false, false},
		{operator, "$SYS/broker/uptime", false, false},
		{ha, "homeassistant/status", true, true},
		{ha, "homeassistant/device/x/config", false, true},
		{ha, "dominion/coordinator/command/run/npBar", true, true},
		{ha, "dominion/coordinator/desired/service/npBar", false, false},
		{ha, "dominion/coordinator/command/accept/porch", true, true},
		{ha, "dominion/coordinator/command/join/window", false, false},
		{ha, "dominion/coordinator/command/join", false, false},
		{ha, "dominion/coordinator/command/forget/porch", false, false},
		{ha, "dominion/porch/command/forget/x", true, true}, // which no node knows
		{operator, "dominion/coordinator/command/join/window", true, true},
		{operator, "dominion/coordinator/command/forget/porch", true, true},
		{viewer, "dominion/coordinator/command/run/npBar", false, false},
		{viewer, "anything", false, false},
		{topics.Identity{}, "anything", false, false},
		{leader, "dominion/+/desired/services", false, false},
		{operator, "", false, false},
	} {
		if got := space.MayWrite(c.who, c.topic); got != c.write {
			t.Errorf("%v may write %q: %v, want %v", c.who, c.topic, got, c.write)
		}
		if got := space.MayEmpty(c.who, c.topic); got != c.empty {
			t.Errorf("%v may empty %q: %v, want %v", c.who, c.topic, got, c.empty)
		}
	}
}

func TestWhoMayRead(t *testing.T) {
	space := topics.Space{}
	node := topics.Identity{Role: topics.RoleNode, Name: "attic"}
	service := topics.Identity{Role: topics.RoleService, Name: "npBar"}
	for _, c := range []struct {
		who    topics.Identity
		filter string
		want   bool
	}{
		{node, "dominion/attic/desired/#", true},
		{node, "dominion/coordinator/state/presence", true},
		{node, "dominion/coordinator/state/lookup/+", true},
		{node, "dominion/kitchen/command/#", false},
		{node, "dominion/+/command/#", false},
		{node, "dominion/#", false},
		{node, "#", false},
		{service, "dominion/service/npBar/#", true},
		{service, "dominion/coordinator/state/lookup/webServer", true},
		{service, "dominion/coordinator/state/#", false},
		{service, "dominion/porch/command/#", false},
		{topics.Identity{Role: topics.RoleHomeAssistant}, "#", true},
		{topics.Identity{Role: topics.RoleViewer}, "#", true},
		{topics.Identity{Role: topics.RoleViewer}, "$SYS/#", true},
		{topics.Identity{}, "dominion/#", false},
	} {
		if got := space.MayRead(c.who, c.filter); got != c.want {
			t.Errorf("%v may read %q: %v, want %v", c.who, c.filter, got, c.want)
		}
	}
	for _, name := range []string{"service", "coordinator", "all", "Reader", "+", "#", "a/b", "porch/#"} {
		who := topics.Identity{Role: topics.RoleNode, Name: name}
		for _, f := range []string{"dominion/" + name + "/#", "dominion/service/#", "dominion/coordinator/state/presence"} {
			if space.MayRead(who, f) {
				t.Errorf("a node called %q may read %q", name, f)
			}
		}
		if topic := "dominion/" + name + "/command/x"; space.MayEmpty(who, topic) {
			t.Errorf("a node called %q may empty %q", name, topic)
		}
	}
	for _, name := range []string{"+", "#", "command", "a/b"} {
		if who := (topics.Identity{Role: topics.RoleService, Name: name}); space.MayRead(who, "dominion/service/"+name+"/x") {
			t.Errorf("a service called %q may read its data", name)
		}
	}
	for _, f := range space.NodeFilters("attic") {
		if !space.MayRead(node, f) {
			t.Errorf("a node may not subscribe to what it needs: %q", f)
		}
	}
}

func TestWhoseATopicIs(t *testing.T) {
	type owner struct {
		node  topics.Node
		class topics.Class
	}
	for topic, want := range map[string]owner{
		"home/dominion/attic/state/presence":        {"attic", topics.State},
		"home/dominion/attic/state/a/b/c":           {"attic", topics.State},
		"home/dominion/attic/event/heartbeat/agent": {"attic", topics.Event},
		"home/dominion/service/npBar/attic/ready":   {},
		"home/dominion/attic":                       {},
		"dominion/attic/state/presence":             {},
		"":                                          {},
	} {
		node, class := topics.Space{Base: "home/dominion"}.Owner(topic)
		if got := (owner{node, class}); got != want {
			t.Errorf("%s is of %v, want %v", topic, got, want)
		}
	}
}

func TestWhatIsKept(t *testing.T) {
	space := topics.Space{}
	for topic, want := range map[string][2]bool{ // retainable, durable
		"dominion/attic/state/presence":        {true, true},
		"dominion/attic/state/host":            {true, false},
		"dominion/attic/event/heartbeat/agent": {false, false},
		"dominion/attic/command/ping/host":     {false, false},
		"dominion/attic/desired/services":      {true, true},
		"dominion/service/npBar/porch/lamp":    {true, true},
		"homeassistant/device/x/config":        {true, true},
		"zigbee2mqtt/bridge/state":             {true, true},
		"$SYS/broker/uptime":                   {true, false},
	} {
		if got := [2]bool{space.Retainable(topic), space.Durable(topic)}; got != want {
			t.Errorf("%s: retainable, durable = %v, want %v", topic, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("dominion/attic/state/service/webServer")
	f.Add("dominion/service/a/b")
	f.Add("dominion///")
	f.Fuzz(func(t *testing.T, topic string) {
		space := topics.Space{}
		a, err := space.Parse(topic)
		if err != nil {
			return
		}
		if back := space.Format(a); back != topic {
			t.Errorf("Format(Parse(%q)) = %q", topic, back)
		}
		harmless := a.Node == topics.Reader || a == topics.Address{Node: topics.Coordinator, Class: topics.Command, Kind: "ping", Subject: "host"}
		if space.MayWrite(topics.Identity{Role: topics.RoleViewer}, topic) && !harmless {
			t.Errorf("a viewer may write %q", topic)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	for _, e := range []example{
		{"dominion/attic/state/presence", `{"state":"online"}`},
		{"dominion/attic/state/info", `{"kind":"micro","services":{"a":""}}`},
		{"dominion/attic/state/host", `{"cpu":null,"load":1e3}`},
		{"dominion/attic/state/service/a", `{"service":"a","phase":"running","exit":{"code":1}}`},
		{"dominion/attic/desired/services", `{"house":"h","term":1,"gen":1,"services":{"a":{"run":true}}}`},
		{"dominion/coordinator/state/lookup/a", `{"service":"a","endpoints":[{}]}`},
		{"dominion/coordinator/command/run/a", `{"id":"x"}`},
	} {
		f.Add(e.topic, []byte(e.payload))
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		space := topics.Space{}
		once, err := again(space, example{topic, string(payload)})
		if err != nil || once == "" {
			return
		}
		twice, err := again(space, example{topic, once})
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		if once != twice {
			t.Errorf("written twice (-once +twice):\n%s", cmp.Diff(once, twice))
		}
	})
}
