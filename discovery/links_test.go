package discovery_test

import (
	"net"
	"testing"

	"dominion/discovery"

	"github.com/google/go-cmp/cmp"
)

const (
	plugged  = net.FlagUp | net.FlagRunning
	ethernet = plugged | net.FlagBroadcast | net.FlagMulticast
)

func TestInterfacesBehindWhichAHouseCanBe(t *testing.T) {
	for name, c := range map[string]struct {
		link discovery.Link
		use  bool
	}{
		"cable":                         {discovery.Link{Name: "eth0", Flags: ethernet, Networks: []string{"192.168.1.5/24"}}, true},
		"radio":                         {discovery.Link{Name: "wlan0", Flags: ethernet, Networks: []string{"192.168.1.6/24"}}, true},
		"bond":                          {discovery.Link{Name: "bond0", Flags: ethernet, Networks: []string{"10.0.0.5/8"}}, true},
		"vlan":                          {discovery.Link{Name: "eth0.20", Flags: ethernet, Networks: []string{"10.0.20.5/24"}}, true},
		"bridge with a cable":           {discovery.Link{Name: "vmbr0", Flags: ethernet, Networks: []string{"192.168.1.5/24"}}, true},
		"two machines with one cable":   {discovery.Link{Name: "eth0", Flags: ethernet, Networks: []string{"169.254.7.7/16"}}, true},
		"bridge of containers":          {discovery.Link{Name: "docker0", Flags: ethernet, Networks: []string{"172.17.0.1/16"}, Inside: true}, false},
		"loopback":                      {discovery.Link{Name: "lo", Flags: plugged | net.FlagLoopback | net.FlagMulticast, Networks: []string{"127.0.0.1/8"}}, false},
		"tunnel":                        {discovery.Link{Name: "wg0", Flags: plugged | net.FlagPointToPoint | net.FlagMulticast, Networks: []string{"10.8.0.2/24"}}, false},
		"down":                          {discovery.Link{Name: "eth1", Flags: net.FlagBroadcast | net.FlagMulticast, Networks: []string{"10.0.0.5/24"}}, false},
		"no cable":                      {discovery.Link{Name: "eth1", Flags: ethernet &^ net.FlagRunning, Networks: []string{"10.0.0.5/24"}}, false},
		"no multicast":                  {discovery.Link{Name: "eth1", Flags: ethernet &^ net.FlagMulticast, Networks: []string{"10.0.0.5/24"}}, false},
		"no IPv4":                       {discovery.Link{Name: "eth1", Flags: ethernet}, false},
		"an address with nobody beside": {discovery.Link{Name: "flannel.1", Flags: ethernet, Networks: []string{"10.42.0.0/32"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := len(discovery.Usable([]discovery.Link{c.link})) == 1; got != c.use {
				t.Errorf("%s is used: %v, want %v", c.link.Name, got, c.use)
			}
		})
	}
}

func TestInterfacesAreNamedWithTheirAddresses(t *testing.T) {
	got := discovery.Usable([]discovery.Link{
		{Name: "eth0", Flags: ethernet, Networks: []string{"10.0.0.5/24", "10.0.0.6/24", "10.9.9.9/32"}},
		{Name: "docker0", Flags: ethernet, Networks: []string{"172.17.0.1/16"}, Inside: true},
		{Name: "wlan0", Flags: ethernet, Networks: []string{"10.0.0.7/24"}},
	})
	if diff := cmp.Diff([]string{"eth0 (10.0.0.5, 10.0.0.6)", "wlan0 (10.0.0.7)"}, got); diff != "" {
		t.Errorf("used (-want +got):\n%s", diff)
	}
}
