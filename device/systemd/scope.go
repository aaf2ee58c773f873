package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/godbus/dbus/v5"

	"dominion/device/cgroup"
)

// Scopes makes a transient scope for each start of a service,
// org.freedesktop.systemd1(5): it is systemd's own way to hold processes that
// others started, outlives who asked for it, and goes when it is empty.
type Scopes struct {
	manager Manager
	mount   string // of the control groups
}

// errNoUnified is returned where groups cannot be killed or looked at as one.
var errNoUnified = errors.New("its control groups are not of version 2")

// FindScopes finds the manager in which this user may make scopes: for root the
// machine's, for others their own.
func FindScopes(ctx context.Context) (Scopes, error) {
	all := Managers()
	switch {
	case len(all) == 0:
		return Scopes{}, ErrNone
	case os.Geteuid() != 0 && !all[0].User:
		return Scopes{}, ErrRefused // it may look at the machine's, no more
	}
	const mount = "/sys/fs/cgroup"
	if !exists(filepath.Join(mount, "cgroup.controllers")) {
		return Scopes{}, errNoUnified
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := all[0].dial(ctx)
	if err != nil {
		return Scopes{}, err
	}
	return Scopes{all[0], mount}, conn.Close()
}

// property of a unit that is to be made.
type property struct {
	Name  string
	Value dbus.Variant
}

// Place makes a scope with a process in it.
func (s Scopes) Place(ctx context.Context, service, start string, pid int, l cgroup.Limits) (string, error) {
	unit := fmt.Sprintf("dominion-%s-%s.scope", service, start)
	all := []property{
		{"Description", dbus.MakeVariant("Dominion service " + service)},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	if l.Memory > 0 {
		all = append(all, property{"MemoryMax", dbus.MakeVariant(l.Memory)}, property{"MemorySwapMax", dbus.MakeVariant(uint64(0))})
	}
	if l.CPU > 0 {
		all = append(all, property{"CPUQuotaPerSecUSec", dbus.MakeVariant(uint64(l.CPU * 1e6))})
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := s.manager.dial(ctx)
	if err != nil {
		return "", fmt.Errorf("scope for %s: %w", service, err)
	}
	defer conn.Close()
	none := []struct {
		Name       string
		Properties []property
	}{}
	var job dbus.ObjectPath
	if err := conn.Object(busName, object).CallWithContext(ctx, manager+".StartTransientUnit", 0, unit, "fail", all, none).Store(&job); err != nil {
		return "", s.manager.refusal("make", unit, err)
	}
	return s.made(ctx, conn, unit)
}

// made waits until a scope has its control group.
func (s Scopes) made(ctx context.Context, conn *dbus.Conn, unit string) (string, error) {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		var path dbus.ObjectPath
		err := conn.Object(busName, object).CallWithContext(ctx, manager+".GetUnit", 0, unit).Store(&path)
		if err == nil {
			var value dbus.Variant
			err = conn.Object(busName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, busName+".Scope", "ControlGroup").Store(&value)
			if group, ok := value.Value().(string); err == nil && ok && group != "" && group != "/" && len(cgroup.Group(filepath.Join(s.mount, group)).Processes()) > 0 {
				return filepath.Join(s.mount, group), nil
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return "", fmt.Errorf("%s: its control group does not come: %w", unit, errors.Join(err, ctx.Err()))
		}
	}
}
