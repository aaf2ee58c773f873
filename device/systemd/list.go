package systemd

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"dominion/device/outside"
)

// Lines are the last that a unit wrote into the journal; nil where there is no
// journal, or none that this user may read.
func (m Manager) Lines(ctx context.Context, unit string, n int) []string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	which := "_SYSTEMD_UNIT=" + unit // its own lines, without systemd's on it
	if m.User {
		which = "_SYSTEMD_USER_UNIT=" + unit
	}
	out, err := printed(ctx, "journalctl", "--no-pager", "--quiet", "--output=cat", "--lines="+strconv.Itoa(n), which)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// longest is what is read of what a unit printed.
const longest = 4 << 20

// printed is the begin of what a program prints.
func printed(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(out, longest))
	if len(text) == longest {
		cancel() // it would print on
		_ = cmd.Wait()
		return text, nil
	}
	return text, errors.Join(err, cmd.Wait())
}

// Look is how a unit is now.
func (m Manager) Look(ctx context.Context, unit string) (outside.State, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := m.dial(ctx)
	if err != nil {
		return outside.State{}, err
	}
	defer conn.Close()
	var path dbus.ObjectPath
	if err := call(ctx, conn.Object(busName, object), manager+".LoadUnit", unit).Store(&path); err != nil {
		return outside.State{}, err
	}
	return look(ctx, conn.Object(busName, path))
}

// List has the loaded services that are not the system's own, by name.
func (m Manager) List(ctx context.Context) ([]outside.Found, error) {
	conn, err := m.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var units []struct {
		Name, About, Load, Active, Sub, Following string
		Path                                      dbus.ObjectPath
		Job                                       uint32
		JobType                                   string
		JobPath                                   dbus.ObjectPath
	}
	if err := call(ctx, conn.Object(busName, object), manager+".ListUnits").Store(&units); err != nil {
		return nil, err
	}
	var all []outside.Found
	for _, u := range units {
		if !strings.HasSuffix(u.Name, ".service") || systems(u.Name) || u.Load != "loaded" || u.Active == "inactive" {
			continue
		}
		state, err := look(ctx, conn.Object(busName, u.Path))
		if err != nil {
			return nil, err
		}
		all = append(all, outside.Found{Name: u.Name, About: u.About, State: state})
	}
	slices.SortFunc(all, func(a, b outside.Found) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// systems tells whether a unit belongs to the system itself, or to this house.
func systems(name string) bool {
	own := []string{
		"systemd-", "dbus", "getty@", "serial-getty@", "user@", "user-runtime-dir@", "polkit", "cron.", "rsyslog", "ssh.", "sshd.", "udev", "udisks",
		"networking.", "network-manager.", "NetworkManager", "ModemManager", "wpa_supplicant", "dhcpcd", "avahi-daemon", "bluetooth", "bthelper@", "hciuart",
		"accounts-daemon", "rtkit", "packagekit", "unattended-upgrades", "apt-", "fwupd", "irqbalance", "keyboard-setup", "console-setup", "kmod",
		"modprobe@", "e2scrub", "fake-hwclock", "rng-tools", "rpi-", "raspi-config", "sshswitch", "triggerhappy", "plymouth", "alsa-", "ifup@",
		"lightdm", "gdm", "sddm", "colord", "cups", "upower", "switcheroo", "power-profiles", "snapd.", "multipathd", "apparmor", "ufw.", "chrony",
		"ntp", "timesyncd", "containerd.", "docker.", "podman.", "dominion", "domain.", "nvmf-", "blk-availability", "lvm2-", "sysstat", "smartmontools",
		"emergency.", "rescue.", "initrd-", "ldconfig", "auditd", "gpm", "quotaon", "rc-local", "session-", "vmtoolsd", "qemu-guest-agent",
	}
	return slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
