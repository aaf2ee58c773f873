// Package host reads what this machine is and how it fares. It is the only
// one that knows gopsutil.
package host

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	gohost "github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/sensors"

	"dominion/topics"
)

// Facts are what a machine is for as long as it runs. What could not be found
// out is left empty. Memory is in bytes.
type Facts struct {
	OS, Arch, Model string
	CPUs            int
	Memory          uint64
	Boot            topics.Stamp
}

// Describe finds out what this machine is.
func Describe(ctx context.Context) Facts {
	f := Facts{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Model: model()}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		f.Memory = m.Total
	}
	if seconds, err := gohost.BootTimeWithContext(ctx); err == nil && seconds > 0 {
		f.Boot = topics.At(time.Unix(int64(seconds), 0))
	}
	return f
}

// model is the name on the box: from the device tree of a Pi, from the
// firmware of a PC.
func model() string {
	for _, file := range []string{"/sys/firmware/devicetree/base/model", "/sys/class/dmi/id/product_name"} {
		if raw, err := os.ReadFile(file); err == nil {
			if name := strings.Trim(string(raw), "\x00 \n"); name != "" {
				return strings.ToValidUTF8(name, "?")
			}
		}
	}
	return ""
}

// sample is how long the processor is watched for one reading.
const sample = 100 * time.Millisecond

// Read measures: load is the one-minute average, cpu percent over all cores,
// memory percent, disk percent of the volume that holds volume (or the
// nearest folder above it that exists), temperature in °C. What this machine
// cannot measure is left as never seen. It takes about 100 ms.
func Read(ctx context.Context, volume string) topics.Host {
	var h topics.Host
	if percent, err := cpu.PercentWithContext(ctx, sample, false); err == nil && len(percent) == 1 {
		h.CPU = measured(percent[0], 1)
	}
	if l, err := load.AvgWithContext(ctx); err == nil {
		h.Load = measured(l.Load1, 2)
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		h.Memory = measured(m.UsedPercent, 1)
	}
	if d, err := disk.UsageWithContext(ctx, existing(volume)); err == nil {
		h.Disk = measured(d.UsedPercent, 1)
	}
	// Some sensors are unreadable on many machines: an error comes beside values.
	all, _ := sensors.TemperaturesWithContext(ctx)
	if t, ok := processor(all); ok {
		h.Temperature = measured(t, 1)
	}
	h.Power, h.Throttled = supply("/")
	return h
}

func measured(v float64, digits int) topics.Reading {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return topics.Reading{}
	}
	scale := math.Pow10(digits)
	return topics.Measured(math.Round(v*scale) / scale)
}

// existing is the nearest folder above path that exists, path included.
func existing(path string) string {
	path = filepath.Clean(path)
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// processor picks the temperature of the processor: the sensor that is known
// for it, else the hottest of all.
func processor(all []sensors.TemperatureStat) (float64, bool) {
	best, rank := 0.0, 0
	for _, s := range all {
		if s.Temperature <= 0 || s.Temperature > 150 {
			continue
		}
		r := 1
		for _, known := range []string{"cpu", "coretemp_package", "k10temp_tctl", "soc"} {
			if strings.HasPrefix(strings.ToLower(s.SensorKey), known) {
				r = 2
			}
		}
		if r > rank || r == rank && s.Temperature > best {
			best, rank = s.Temperature, r
		}
	}
	return best, rank > 0
}
