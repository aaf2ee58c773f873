package host

import (
	"context"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// Process is what one process is and takes.
type Process struct {
	PID    int
	Name   string        // of its program, without arguments: those may hold a password
	Memory uint64        // resident, bytes
	CPU    float64       // percent of one core, over its life
	Age    time.Duration // since it was started
}

// Running looks at a process; an error if it is gone.
func Running(ctx context.Context, pid int) (Process, error) {
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return Process{}, err
	}
	name, err := p.NameWithContext(ctx)
	if err != nil {
		return Process{}, err
	}
	found := Process{PID: pid, Name: name}
	if m, err := p.MemoryInfoWithContext(ctx); err == nil {
		found.Memory = m.RSS
	}
	if began, err := p.CreateTimeWithContext(ctx); err == nil {
		found.Age = time.Since(time.UnixMilli(began))
	}
	if times, err := p.TimesWithContext(ctx); err == nil && found.Age > 0 {
		found.CPU = 100 * (times.User + times.System) / found.Age.Seconds()
	}
	return found, nil
}
