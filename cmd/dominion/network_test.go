package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dominion/cmd/dominion/screen"
	"dominion/discovery"
)

func entry(service, instance, address string, port int, text map[string]string) discovery.Entry {
	return discovery.Entry{Service: service, Instance: instance, Addresses: []netip.Addr{netip.MustParseAddr(address)}, Port: port, Text: text}
}

func TestMeet(t *testing.T) {
	got := meet([]discovery.Entry{
		entry(discovery.MQTTService, "dominion-7f3a9c", "10.0.0.2", 1883, map[string]string{"house": "7f3a9c"}),
		entry(discovery.MQTTService, "mosquitto", "10.0.0.3", 1884, nil),
		entry(homeAssistantService, "Home", "10.0.0.5", 8123, nil),
		entry(homeAssistantService, "Home", "fe80::1", 8123, nil),
		entry(discovery.MQTTService, "zigbee", "10.0.0.5", 1883, nil),
		entry(discovery.DominionService, "dominion-7f3a9c", "10.0.0.2", 8443, map[string]string{"name": "Cabin"}),
		entry(discovery.DominionService, "dominion-aaaaaa", "10.0.0.7", 8443, nil),
		{Service: discovery.MQTTService, Instance: "nowhere"},
	})
	want := neighbours{
		brokers: []neighbour{
			{"127.0.0.1:1883", "on this machine"}, {"10.0.0.3:1884", "mosquitto"},
			{"10.0.0.5:1883", "Home Assistant is there"}, {"[fe80::1]:1883", "Home Assistant is there"},
		},
		houses: []neighbour{{"10.0.0.2:8443", "Cabin"}, {"10.0.0.7:8443", "dominion-aaaaaa"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(neighbours{}, neighbour{})); diff != "" {
		t.Error(diff)
	}
}

func TestLonelyOf(t *testing.T) {
	got := lonelyOf([]discovery.Entry{
		entry(discovery.DomainService, "pi2-m2", "10.0.0.2", 9, map[string]string{"name": "pi2", "id": "m2"}),
		entry(discovery.DomainService, "pi3-m3", "10.0.0.3", 9, map[string]string{"name": "pi3", "id": "m3", "house": "7f3a9c"}),
		entry(discovery.DomainService, "evil", "10.0.0.4", 9, map[string]string{"name": "$(reboot)"}),
		entry(discovery.DomainService, "evil", "10.0.0.4", 9, map[string]string{"name": "pi4", "house": "a b"}),
		entry(discovery.DomainService, "nameless", "10.0.0.4", 9, nil),
	})
	want := []screen.Lonely{{Name: "pi2", ID: "m2", Address: "10.0.0.2"}, {Name: "pi3", ID: "m3", Address: "10.0.0.3", House: "7f3a9c"}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestHomeAssistantTable(t *testing.T) {
	u := userLogin{User: "homeassistant", Password: "abcde-fghij-klmno-pqrst"}
	tests := []struct {
		name           string
		listen, secure []string
		want           []string
		not            string
	}{
		{
			"TLS, and this machine", []string{"127.0.0.1:1883"}, []string{":8883"},
			[]string{"  broker    10.0.0.2 or 10.0.0.3\n", "  port      8883\n", "Custom, upload:\n            /x/authority.crt\n", "127.0.0.1, port 1883, no certificate"}, "fe80",
		},
		{"an open port alone", []string{"127.0.0.1:1884", "0.0.0.0:1883"}, nil, []string{"  broker    10.0.0.2 or 10.0.0.3\n", "  port      1883\n"}, "certificate"},
		{"this machine alone", []string{"127.0.0.1:1884"}, []string{"[::1]:8883"}, []string{"  broker    127.0.0.1 (the house is open to this machine only)\n", "  port      1884\n"}, "certificate"},
		{"TLS alone", nil, []string{":8884"}, []string{"  port      8884\n"}, "If it runs on this machine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := homeAssistantTable(config{Listen: tt.listen, ListenTLS: tt.secure}, u, []string{"10.0.0.2", "10.0.0.3", "fd00::1"}, "/x/authority.crt")
			for _, part := range append(tt.want, "  username  homeassistant\n", "  password  abcde-fghij-klmno-pqrst\n") {
				if !strings.Contains(got, part) {
					t.Errorf("does not say %q:\n%s", part, got)
				}
			}
			if strings.Contains(got, tt.not) {
				t.Errorf("says %q:\n%s", tt.not, got)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	open := config{HTTPS: ":8443", ListenTLS: []string{":8883"}, Listen: []string{"127.0.0.1:1883"}}
	inside, doorless, elsewhere := open, open, open
	inside.ListenTLS = []string{"127.0.0.1:8883"}
	doorless.HTTPS = ""
	elsewhere.ListenTLS, elsewhere.Broker = nil, "mqtt://10.0.0.5"
	tests := []struct {
		name  string
		c     config
		leads bool
		want  []string
	}{
		{"open", open, true, nil},
		{"nobody leads", open, false, []string{"dominion serve"}},
		{"no door", doorless, true, []string{`https = ":8443"`}},
		{"nobody comes in", inside, true, []string{`listen_tls = [":8883"]`}},
		{"the broker is another's", elsewhere, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := (&local{config: tt.c}).closed(tt.leads)
			if len(got) != len(tt.want) {
				t.Fatalf("says %q, want %q", got, tt.want)
			}
			for i, part := range tt.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("says %q, want %q in it", got[i], part)
				}
			}
		})
	}
}
