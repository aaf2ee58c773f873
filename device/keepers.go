package device

import (
	"context"
	"errors"
	"time"

	"dominion/device/docker"
	"dominion/device/outside"
	"dominion/device/pidof"
	"dominion/device/systemd"
)

// lastLines is how many lines a why and an exit are told with.
const lastLines = 10

// newKeepers are the keepers by their kinds.
func newKeepers() map[string]keeper {
	all := map[string]keeper{}
	for _, k := range []keeper{systemdKeeper{}, dockerKeeper{}, pidKeeper{}} {
		all[k.kind()] = k
	}
	return all
}

// systemdKeeper keeps units.
type systemdKeeper struct{}

func (systemdKeeper) kind() string { return kindSystemd }

func (systemdKeeper) available(context.Context) error {
	return systemd.Available()
}

// manager is the one that has a unit: this user's own, else the machine's.
func (systemdKeeper) manager(ctx context.Context, unit string) (systemd.Manager, error) {
	all := systemd.Managers()
	if len(all) == 0 {
		return systemd.Manager{}, systemd.ErrNone
	}
	for _, m := range all[:len(all)-1] {
		if s, err := m.Look(ctx, unit); err == nil && s.Stage != outside.Missing {
			return m, nil
		}
	}
	return all[len(all)-1], nil
}

func (k systemdKeeper) watch(ctx context.Context, name string, tell func(outside.State, error)) {
	m, err := k.manager(ctx, name)
	if err != nil {
		tell(outside.State{}, err)
		<-ctx.Done() // systemd is there from the boot on, or never
		return
	}
	m.Watch(ctx, name, tell)
}

// do asks the manager that has a unit for something.
func (k systemdKeeper) do(ctx context.Context, unit string, what func(systemd.Manager, context.Context, string) error) error {
	m, err := k.manager(ctx, unit)
	if err != nil {
		return err
	}
	return what(m, ctx, unit)
}

func (k systemdKeeper) look(ctx context.Context, name string) (outside.State, error) {
	m, err := k.manager(ctx, name)
	if err != nil {
		return outside.State{}, err
	}
	return m.Look(ctx, name)
}

func (k systemdKeeper) start(ctx context.Context, name string) error {
	return k.do(ctx, name, systemd.Manager.Start)
}

func (k systemdKeeper) stop(ctx context.Context, name string, _ time.Duration) error {
	return k.do(ctx, name, systemd.Manager.Stop)
}

func (k systemdKeeper) kill(ctx context.Context, name string) error {
	return k.do(ctx, name, systemd.Manager.Kill)
}

func (k systemdKeeper) lines(ctx context.Context, name string, n int) []string {
	m, err := k.manager(ctx, name)
	if err != nil {
		return nil
	}
	return m.Lines(ctx, name, n)
}

func (systemdKeeper) logs(name string) string { return "journalctl -n 50 -u " + name }

// dockerKeeper keeps containers.
type dockerKeeper struct{}

func (dockerKeeper) kind() string { return kindDocker }

func (dockerKeeper) engine() (*docker.Engine, error) {
	if e := docker.Find(); e != nil {
		return e, nil
	}
	return nil, docker.ErrNone
}

func (k dockerKeeper) available(ctx context.Context) error {
	e, err := k.engine()
	if err != nil {
		return err
	}
	return e.Ping(ctx)
}

// engineAgain is between two looks for an engine where there is none.
const engineAgain = 30 * time.Second

func (k dockerKeeper) watch(ctx context.Context, name string, tell func(outside.State, error)) {
	again := time.NewTicker(engineAgain)
	defer again.Stop()
	for {
		e, err := k.engine()
		if err == nil {
			e.Watch(ctx, name, tell)
			return
		}
		tell(outside.State{}, err)
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

func (k dockerKeeper) look(ctx context.Context, name string) (outside.State, error) {
	e, err := k.engine()
	if err != nil {
		return outside.State{}, err
	}
	return e.Look(ctx, name)
}

func (k dockerKeeper) start(ctx context.Context, name string) error {
	e, err := k.engine()
	if err != nil {
		return err
	}
	return e.Start(ctx, name)
}

func (k dockerKeeper) stop(ctx context.Context, name string, grace time.Duration) error {
	e, err := k.engine()
	if err != nil {
		return err
	}
	return e.Stop(ctx, name, grace)
}

func (k dockerKeeper) kill(ctx context.Context, name string) error {
	e, err := k.engine()
	if err != nil {
		return err
	}
	return e.Kill(ctx, name)
}

func (k dockerKeeper) lines(ctx context.Context, name string, n int) []string {
	e, err := k.engine()
	if err != nil {
		return nil
	}
	return e.Lines(ctx, name, n)
}

func (dockerKeeper) logs(name string) string { return "docker logs --tail 50 " + name }

// pidKeeper watches processes that somebody else started.
type pidKeeper struct{}

// errNobodyKnows is why a lone process cannot be the house's own.
var errNobodyKnows = errors.New("nobody knows how to start it again: write a Makefile or a unit for it")

func (pidKeeper) kind() string { return kindPid }

func (pidKeeper) available(context.Context) error {
	if !pidof.Available() {
		return errors.New("processes cannot be looked at here: there is no /proc")
	}
	return nil
}

func (pidKeeper) watch(ctx context.Context, name string, tell func(outside.State, error)) {
	pidof.Watch(ctx, name, tell)
}

func (pidKeeper) look(_ context.Context, name string) (outside.State, error) { return pidof.Look(name) }

func (pidKeeper) start(context.Context, string) error               { return errNobodyKnows }
func (pidKeeper) stop(context.Context, string, time.Duration) error { return errNobodyKnows }
func (pidKeeper) kill(context.Context, string) error                { return errNobodyKnows }
func (pidKeeper) lines(context.Context, string, int) []string       { return nil }
func (pidKeeper) logs(string) string                                { return "" }
