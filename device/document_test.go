package device_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/device"
	"dominion/topics"
)

func TestJudge(t *testing.T) {
	doc := func(term, gen uint64) []byte { return document(term, gen, one("lamp", topics.Wanted{Run: true})) }
	held := device.Held{House: house, Term: 2, Gen: 5, Payload: doc(2, 5)}
	for _, c := range []struct {
		name    string
		held    device.Held
		offer   device.Offer
		verdict device.Verdict
		subject string
		code    string
		says    []string
	}{
		{name: "takes a higher gen", held: held, offer: device.Offer{Payload: doc(2, 6)}, verdict: device.Accept},
		{name: "takes a higher term", held: held, offer: device.Offer{Payload: doc(3, 1)}, verdict: device.Accept},
		{name: "knows its own", held: held, offer: device.Offer{Payload: []byte(" " + string(doc(2, 5)))}, verdict: device.Same},
		{name: "refuses a lower gen", held: held, offer: device.Offer{Payload: doc(2, 4)}, verdict: device.Refuse, subject: topics.ErrDesired, code: topics.FaultStale, says: []string{"(2, 4)", "(2, 5)"}},
		{name: "refuses a lower term", held: held, offer: device.Offer{Payload: doc(1, 9)}, verdict: device.Refuse, subject: topics.ErrDesired, code: topics.FaultStale, says: []string{"(1, 9)", "(2, 5)"}},
		{name: "refuses other content", held: held, offer: device.Offer{Payload: document(2, 5, nil)}, verdict: device.Refuse, subject: topics.ErrDesired, code: topics.FaultBad},
		{name: "refuses other services", held: held, offer: device.Offer{Payload: document(2, 5, one("web", topics.Wanted{Run: true}))}, verdict: device.Refuse, subject: topics.ErrDesired, code: topics.FaultStale, says: []string{"other content", "(2, 5)"}},
		{name: "refuses nothing", held: held, offer: device.Offer{}, verdict: device.Refuse, subject: topics.ErrDesired, code: topics.FaultCleared, says: []string{"keeps (2, 5)"}},
		{name: "refuses nonsense", held: held, offer: device.Offer{Payload: []byte("{")}, verdict: device.Refuse, subject: topics.ErrDesired, code: topics.FaultBad, says: []string{"keeps (2, 5)"}},
		{name: "refuses another house", held: held, offer: device.Offer{Payload: []byte(strings.Replace(string(doc(9, 9)), string(house), "other", 1))}, verdict: device.Refuse, subject: topics.ErrHouse, code: topics.FaultHouse, says: []string{"other", string(house)}},
		{name: "refuses a house that is not its leader's", offer: device.Offer{Payload: doc(1, 1), Heard: true, Leader: "other"}, verdict: device.Refuse, subject: topics.ErrHouse, code: topics.FaultHouse},
		{name: "waits for a leader before it joins", offer: device.Offer{Payload: doc(1, 1)}, verdict: device.Later},
		{name: "joins a leader that it hears", offer: device.Offer{Payload: doc(1, 1), Heard: true, Leader: house}, verdict: device.Accept},
		{name: "joins a leader whose house it has not read", offer: device.Offer{Payload: doc(1, 1), Heard: true}, verdict: device.Accept},
		{name: "knows its house without a document", held: device.Held{House: house}, offer: device.Offer{Payload: doc(0, 0)}, verdict: device.Accept},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := device.Judge(c.held, c.offer)
			if j.Verdict != c.verdict || j.Subject != c.subject || j.Fault.Code != c.code {
				t.Fatalf("judged %+v", j)
			}
			for _, s := range c.says {
				if !strings.Contains(j.Fault.Text, s) {
					t.Errorf("says %q, not %q", j.Fault.Text, s)
				}
			}
		})
	}
}

func TestJudgeRefusesOneServiceAlone(t *testing.T) {
	payload := `{"v":1,"house":"7f3a9c","term":1,"gen":1,"services":{
		"good":{"run":true},"norun":{"rev":"1"},"../up":{"run":true},
		"dollar":{"run":true,"env":{"X":"$(shell id)"}},"path":{"run":true,"env":{"PATH":"/tmp"}},
		"host":{"run":true,"endpoints":{"good":{"host":"a b","port":1}}}}}`
	j := device.Judge(device.Held{House: house}, device.Offer{Payload: []byte(payload)})
	if j.Verdict != device.Accept {
		t.Fatalf("judged %+v", j)
	}
	if d := cmp.Diff([]topics.Service{"good"}, slices.Sorted(maps.Keys(j.Document.Services))); d != "" {
		t.Error(d)
	}
	fields := map[topics.Service]string{}
	for name, err := range j.Bad {
		f, ok := err.(*topics.FieldError)
		if !ok {
			t.Fatalf("%s: %v names no field", name, err)
		}
		fields[name] = f.Field
	}
	want := map[topics.Service]string{
		"norun": "services.norun.run", "../up": "services.../up", "dollar": "services.dollar.env.X",
		"path": "services.path.env.PATH", "host": "services.host.endpoints.good.host",
	}
	if d := cmp.Diff(want, fields); d != "" {
		t.Error(d)
	}
}

func TestCheckWanted(t *testing.T) {
	for key, ok := range map[string]bool{
		"GREETING": true, "NODE_ENV": true, "_x1": true,
		"LD_PRELOAD": false, "LD_LIBRARY_PATH": false, "DYLD_INSERT_LIBRARIES": false, "MAKEFLAGS": false, "MAKEFILES": false, "MAKE": false,
		"GNUMAKEFLAGS": false, "MFLAGS": false, "PATH": false, "BASH_ENV": false, "ENV": false, "SHELL": false, "IFS": false, "CC": false,
		"SERVICE_PORT": false, "START_ID": false, "SERVICE_web_HOST": false, "DOMINION_URL": false,
		"": false, "1X": false, "A-B": false, "A B": false, "A=B": false,
	} {
		if err := device.CheckWanted("lamp", topics.Wanted{Env: map[string]string{key: "v"}}); (err == nil) != ok {
			t.Errorf("name %q: %v", key, err)
		}
	}
	for value, ok := range map[string]bool{
		"": true, "hello": true, "mqtt://10.0.0.1:1883/a,b=c+%20@x_y-z": true,
		"$(shell id)": false, "$X": false, "`id`": false, "a b": false, "a;b": false, "a\nb": false, "a'b": false, `a"b`: false, "ä": false, "a#b": false, "a\x00": false, "a\n": false,
	} {
		if err := device.CheckWanted("lamp", topics.Wanted{Env: map[string]string{"X": value}}); (err == nil) != ok {
			t.Errorf("value %q: %v", value, err)
		}
	}
}

func TestKeep(t *testing.T) {
	rev := func(run bool, rev string) topics.Wanted { return topics.Wanted{Run: run, Rev: rev} }
	before := map[topics.Service]topics.Wanted{"a": rev(true, "1"), "gone": rev(true, "1"), "over": rev(false, "1"), "bad": rev(false, "1")}
	doc := topics.Document{Services: map[topics.Service]topics.Wanted{"a": rev(true, "2")}}
	got := device.Keep(before, doc, map[topics.Service]error{"bad": nil})
	want := map[topics.Service]topics.Wanted{"gone": rev(true, "1"), "bad": rev(false, "1")}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
