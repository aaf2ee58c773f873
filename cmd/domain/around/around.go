// Package around looks at what runs on a machine without the house: units of
// systemd, containers, processes that listen.
package around

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dominion/device/docker"
	"dominion/device/host"
	"dominion/device/outside"
	"dominion/device/pidof"
	"dominion/device/process"
	"dominion/device/systemd"
)

// The kinds of what runs.
const (
	Unit      = "systemd"
	Container = "docker"
	Process   = "pid"
)

// Thing is one of them.
type Thing struct {
	Kind  string        `json:"kind"`
	Name  string        `json:"name"` // as whoever keeps it calls it
	About string        `json:"about,omitempty"`
	State outside.Stage `json:"state"`
	Says  string        `json:"says,omitempty"` // why it is so
	Ports []int         `json:"ports,omitempty"`

	// Service is what the house calls it, if it was adopted, and Own whether
	// the house starts and stops it.
	Service string `json:"service,omitempty"`
	Own     bool   `json:"own,omitempty"`
}

// Look finds one thing. The error says what could be done.
func Look(ctx context.Context, kind, name string) (Thing, error) {
	t := Thing{Kind: kind, Name: name}
	var state outside.State
	var err error
	switch kind {
	case Unit:
		state, err = lookUnit(ctx, name)
	case Container:
		e := docker.Find()
		if e == nil {
			return t, docker.ErrNone
		}
		state, err = e.Look(ctx, name)
	case Process:
		state, err = pidof.Look(name)
	}
	if err != nil {
		return t, err
	}
	t.State, t.Says = state.Stage, state.Says
	switch ports, err := host.Listening(ctx); {
	case state.Port != 0:
		t.Ports = []int{state.Port}
	case err == nil && state.PID != 0:
		t.Ports = ports[state.PID]
	}
	return t, nil
}

func lookUnit(ctx context.Context, name string) (outside.State, error) {
	all := systemd.Managers()
	if len(all) == 0 {
		return outside.State{}, systemd.ErrNone
	}
	var last outside.State
	for _, m := range all {
		state, err := m.Look(ctx, name)
		if err != nil {
			return outside.State{}, err
		}
		if last = state; state.Stage != outside.Missing {
			break
		}
	}
	return last, nil
}

// Survey is all that runs here, and what of the machine could not be seen.
type Survey struct {
	Things []Thing  `json:"things"`
	Unseen []string `json:"unseen,omitempty"` // sentences for people
}

// All looks at the whole machine.
func All(ctx context.Context) Survey {
	s := Survey{Things: []Thing{}}
	ports, err := host.Listening(ctx)
	if err != nil {
		s.unseen("the ports that processes listen on: %v", err)
	}
	units := map[string]int{} // where in Things, by name
	for _, m := range systemd.Managers() {
		all, err := m.List(ctx)
		if err != nil {
			s.unseen("the units of systemd: %v", err)
		}
		for _, f := range all {
			units[f.Name] = len(s.Things)
			s.Things = append(s.Things, Thing{Kind: Unit, Name: f.Name, About: f.About, State: f.State.Stage, Says: f.State.Says})
		}
	}
	s.containers(ctx)
	s.processes(ports, units)
	if os.Geteuid() != 0 && len(ports[0]) > 0 {
		s.unseen("whose the ports %s are: sudo shows that", numbers(ports[0]))
	}
	slices.SortStableFunc(s.Things, func(a, b Thing) int { return cmp.Compare(rank(a.Kind), rank(b.Kind)) })
	return s
}

func rank(kind string) int { return slices.Index([]string{Unit, Container, Process}, kind) }

func (s *Survey) unseen(format string, args ...any) {
	s.Unseen = append(s.Unseen, fmt.Sprintf(format, args...))
}

func (s *Survey) containers(ctx context.Context) {
	e := docker.Find()
	if e == nil {
		return
	}
	all, err := e.List(ctx)
	if err != nil {
		s.unseen("the containers: %v", err)
	}
	for _, f := range all {
		s.Things = append(s.Things, Thing{Kind: Container, Name: f.Name, About: f.About, State: f.State.Stage, Says: f.State.Says, Ports: f.Ports})
	}
}

// processes gives every port to the unit whose process listens on it; what
// belongs to no unit and no container stands for itself.
func (s *Survey) processes(ports map[int][]int, units map[string]int) {
	byName := map[string]int{}
	for _, pid := range sorted(ports) {
		if pid == 0 || pid == os.Getpid() {
			continue
		}
		group := controlGroup(pid)
		if at, ok := units[group]; ok {
			s.Things[at].Ports = merged(s.Things[at].Ports, ports[pid])
			continue
		}
		name := pidof.Name(pid)
		if strings.HasSuffix(group, ".service") || contained(group) || name == "" || ours(pid, name) {
			continue
		}
		if at, ok := byName[name]; ok {
			s.Things[at].Ports = merged(s.Things[at].Ports, ports[pid])
			continue
		}
		byName[name] = len(s.Things)
		s.Things = append(s.Things, Thing{Kind: Process, Name: name, About: pidof.Program(pid), State: outside.Up, Ports: ports[pid]})
	}
}

// ours tells whether a process is the house's own, or one of its services:
// those bear the mark of their start.
func ours(pid int, name string) bool {
	env, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ") // of one's own processes only, but for root
	return name == "dominion" || name == "domain" || strings.Contains("\x00"+string(env), "\x00"+process.StartVariable+"=")
}

// contained tells whether a control group is a container's.
func contained(group string) bool {
	return strings.HasPrefix(group, "docker-") || strings.HasPrefix(group, "libpod-") || strings.HasPrefix(group, "cri-containerd-") || len(group) == 64
}

// controlGroup is the last element of a process's, that of its unit or
// container: "" if it has none of its own.
func controlGroup(pid int) string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Base(path)
		}
	}
	return ""
}

func sorted(ports map[int][]int) []int {
	var pids []int
	for pid := range ports {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

func merged(a, b []int) []int {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func numbers(all []int) string {
	words := make([]string, len(all))
	for i, n := range all {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}
