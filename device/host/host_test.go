package host_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shirou/gopsutil/v4/sensors"

	"dominion/device/host"
	"dominion/topics"
)

func TestReadMeasuresThisMachine(t *testing.T) {
	h := host.Read(t.Context(), filepath.Join(t.TempDir(), "not", "there", "yet"))
	for name, r := range map[string]topics.Reading{"load": h.Load, "cpu": h.CPU, "memory": h.Memory, "disk": h.Disk} {
		if !r.Known {
			t.Errorf("%s is not known", name)
		}
	}
	for name, r := range map[string]topics.Reading{"cpu": h.CPU, "memory": h.Memory, "disk": h.Disk} {
		if r.Value < 0 || r.Value > 100 {
			t.Errorf("%s is %v percent", name, r.Value)
		}
	}
	if f := host.Describe(t.Context()); f.OS == "" || f.Arch == "" || f.CPUs < 1 || f.Memory == 0 || f.Boot == "" {
		t.Errorf("facts %+v", f)
	}
}

func TestMoved(t *testing.T) {
	base := topics.Host{Load: topics.Measured(1), CPU: topics.Measured(20), Memory: topics.Measured(30),
		Disk: topics.Measured(40), Temperature: topics.Measured(50), Power: "ok"}
	for _, c := range []struct {
		name   string
		change func(*topics.Host)
		want   bool
	}{
		{"nothing", func(*topics.Host) {}, false},
		{"all a little", func(h *topics.Host) {
			h.Load, h.CPU, h.Memory = topics.Measured(1.4), topics.Measured(24.9), topics.Measured(25.1)
			h.Disk, h.Temperature = topics.Measured(44), topics.Measured(48.1)
		}, false},
		{"load", func(h *topics.Host) { h.Load = topics.Measured(1.5) }, true},
		{"cpu", func(h *topics.Host) { h.CPU = topics.Measured(15) }, true},
		{"memory", func(h *topics.Host) { h.Memory = topics.Measured(35) }, true},
		{"disk", func(h *topics.Host) { h.Disk = topics.Measured(45) }, true},
		{"temperature", func(h *topics.Host) { h.Temperature = topics.Measured(52) }, true},
		{"temperature unknown", func(h *topics.Host) { h.Temperature = topics.Reading{Seen: true} }, true},
		{"power", func(h *topics.Host) { h.Power = "low" }, true},
		{"throttled", func(h *topics.Host) { h.Throttled = "heat" }, true},
	} {
		now := base
		c.change(&now)
		if got := host.Moved(base, now); got != c.want {
			t.Errorf("%s: moved %v, want %v", c.name, got, c.want)
		}
	}
}

func TestAfterKeepsWhatWasOnceSent(t *testing.T) {
	last := topics.Host{CPU: topics.Measured(20), Temperature: topics.Measured(50)}
	got := host.After(last, topics.Host{CPU: topics.Measured(21)})
	want := topics.Host{CPU: topics.Measured(21), Temperature: topics.Reading{Seen: true}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, want := string(topics.Encode(got)), `{"v":1,"cpu":21,"temperature":null}`; got != want {
		t.Errorf("payload %s, want %s", got, want)
	}
}

func TestAddressIsNeverLoopbackByItself(t *testing.T) {
	for _, broker := range []string{"127.0.0.1:1883", "[::1]:1883", "localhost:1883", ""} {
		if a := host.Address(t.Context(), broker, false); a != "" && !host.Public(a) {
			t.Errorf("broker %q: address %s", broker, a)
		}
	}
	if a := host.Address(t.Context(), "127.0.0.1:1883", true); a != "127.0.0.1" {
		t.Errorf("on loopback only: address %q", a)
	}
	for _, a := range host.Addresses() {
		if !host.Public(a) {
			t.Errorf("address %s", a)
		}
	}
}

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"192.168.1.7": true, "10.0.0.1": true, "2001:db8::7": true, "attic.lan": true,
		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "::ffff:127.0.0.1": false,
		"0.0.0.0": false, "169.254.1.1": false, "fe80::1": false, "localhost": false, "": false,
	} {
		if got := host.Public(address); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
}

func TestSupply(t *testing.T) {
	for _, c := range []struct{ driver, alarm, throttled, power, slowed string }{
		{driver: "rpi_volt", alarm: "0\n", power: "ok"},
		{driver: "rpi_volt", alarm: "1\n", power: "low"},
		{driver: "rpi_volt"},
		{driver: "nvme", alarm: "1\n"},
		{throttled: "0\n", power: "ok", slowed: "no"},
		{throttled: "50000\n", power: "ok", slowed: "no"}, // it was once
		{throttled: "0x50005\n", power: "low", slowed: "power"},
		{throttled: "1\n", power: "low", slowed: "no"},
		{throttled: "8\n", power: "ok", slowed: "heat"},
		{driver: "rpi_volt", alarm: "1\n", throttled: "e0006\n", power: "low", slowed: "heat"},
		{throttled: "soon\n"},
	} {
		m := machine{t, t.TempDir()}
		if c.driver != "" {
			m.write("sys/class/hwmon/hwmon0/name", c.driver+"\n")
		}
		if c.alarm != "" {
			m.write("sys/class/hwmon/hwmon0/in0_lcrit_alarm", c.alarm)
		}
		if c.throttled != "" {
			m.write("sys/devices/platform/soc/soc:firmware/get_throttled", c.throttled)
		}
		if power, slowed := host.Supply(m.root); power != c.power || slowed != c.slowed {
			t.Errorf("%+v: %q, %q", c, power, slowed)
		}
	}
}

func TestProcessorTemperature(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []sensors.TemperatureStat
		want float64
		ok   bool
	}{
		{"none", nil, 0, false},
		{"a Pi", []sensors.TemperatureStat{{SensorKey: "rp1_adc", Temperature: 61}, {SensorKey: "cpu_thermal", Temperature: 48.3}}, 48.3, true},
		{"a PC", []sensors.TemperatureStat{{SensorKey: "nvme_composite", Temperature: 60}, {SensorKey: "coretemp_package_id_0", Temperature: 45}}, 45, true},
		{"unknown ones", []sensors.TemperatureStat{{SensorKey: "a", Temperature: 30}, {SensorKey: "b", Temperature: 40}}, 40, true},
		{"nonsense", []sensors.TemperatureStat{{SensorKey: "cpu", Temperature: -127}, {SensorKey: "cpu", Temperature: 255}}, 0, false},
	} {
		if got, ok := host.Processor(c.all); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
}
