package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/cmd/domain/agent"
	"dominion/cmd/program"
	"dominion/device/systemd/systemdtest"
	"dominion/topics"
)

// TestMain lets the scripts run the real programs, and a broker that nobody
// leads a house on.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"dominion":   main,
		"domain":     func() { os.Exit(program.Main(agent.Command())) },
		"barebroker": bareBroker,
	})
}

// TestScripts is the specification of the command line.
func TestScripts(t *testing.T) {
	systemd := fakeSystemd(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "share"))
			env.Setenv("USER", "ann")
			env.Setenv("SYSTEMD", systemd)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"address": address,
			"until":   until,
			"get":     get,
		},
	})
}

// fakeSystemd is the bus of a manager with some units; "" where no bus can be.
func fakeSystemd(t *testing.T) string {
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		return ""
	}
	fake := systemdtest.New(t)
	for _, unit := range []string{"zigbee2mqtt.service", "mosquitto.service", "systemd-journald.service"} {
		fake.Set(unit, systemdtest.Active(0))
	}
	return fake.Address
}

// patience is how long a script waits for something; it takes far less.
const patience = 40 * time.Second

// address waits for a leader's address file and sets the variable: address
// BROKER share/dominion/address
func address(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: address VARIABLE FILE")
	}
	path := ts.MkAbs(args[1])
	poll(ts, func() bool {
		content, err := os.ReadFile(path)
		ts.Setenv(args[0], strings.TrimSpace(string(content)))
		return err == nil && len(content) > 0
	}, func() { ts.Fatalf("no address in %s", path) })
}

// until runs a command again and again until its output matches, or with !
// until it does not: until 'lamp +ready' dominion status
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] until REGEXP COMMAND...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	poll(ts, func() bool {
		err := ts.Exec(args[1], args[2:]...)
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		return want.MatchString(ts.ReadFile("stdout")) != neg
	}, func() {
		ts.Fatalf("not in %s; last:\n%s%s", patience, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	})
}

// get asks over HTTP until the answer matches: get REGEXP URL
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get REGEXP URL")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var last string
	poll(ts, func() bool {
		answer, err := http.Get(args[1])
		if err != nil {
			last = err.Error()
			return false
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		last = answer.Status + "\n" + string(body)
		return want.MatchString(last)
	}, func() { ts.Fatalf("not in %s; last:\n%s", patience, last) })
}

func poll(ts *testscript.TestScript, done func() bool, late func()) {
	for began := time.Now(); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > patience {
			late()
		}
	}
}

// bareBroker writes its address to the file that is its argument and serves
// until it is interrupted.
func bareBroker() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	server, err := broker.Open(broker.Options{
		Listen: []string{"127.0.0.1:0"}, Log: zerolog.Nop(),
		Anonymous: []topics.Identity{{Role: topics.RoleCoordinator}, {Role: topics.RoleOperator}, {Role: topics.RoleNode}},
	})
	if err == nil {
		err = program.WriteFile(os.Args[1], []byte("mqtt://"+server.Addrs()[0].String()+"\n"))
	}
	if err == nil {
		err = server.Run(ctx)
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}
