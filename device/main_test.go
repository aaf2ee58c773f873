package device_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/device"
	"dominion/topics"
)

// TestMain lets the test's own program play other parts: a service that
// listens, and an agent that can be killed.
func TestMain(m *testing.M) {
	switch os.Getenv("DEVICE_TEST_PART") {
	case "listener":
		listen()
	case "page":
		page()
	case "notifier":
		notifier()
	case "agent":
		if err := childAgent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// listen is a service that accepts connections on its port.
func listen() {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("SERVICE_PORT"))
	if err != nil {
		fmt.Println(err)
		os.Exit(4)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

// page is a service that answers on its port with the status that the file
// "status" has, and hangs while there is none.
func page() {
	at := "127.0.0.1:" + os.Getenv("SERVICE_PORT")
	err := http.ListenAndServe(at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := os.ReadFile("status")
		if err != nil || r.URL.Path != "/health" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		status, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
		w.WriteHeader(status)
	}))
	fmt.Println(err)
	os.Exit(4)
}

// notifier is a service that says on its socket what it finds in the file
// "say", and takes that away.
func notifier() {
	for range time.Tick(10 * time.Millisecond) {
		raw, err := os.ReadFile("say")
		if err != nil {
			continue
		}
		conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err != nil {
			continue
		}
		if _, err := conn.Write(raw); err == nil {
			_ = os.Remove("say")
		}
		conn.Close()
	}
}

// plays is a Makefile whose service is a part of the test's own program.
func plays(part string) string {
	return "start:\n\t@echo $$START_ID >> starts; DEVICE_TEST_PART=" + part + " exec " + os.Args[0] + "\n"
}

// listens is a Makefile whose service listens on its port.
func listens() string {
	return "start:\n\t@echo $$START_ID >> starts; echo $$SERVICE_PORT >> ports; DEVICE_TEST_PART=listener exec " + os.Args[0] + "\n"
}

// part is what the child agent is told of its configuration.
type part struct {
	ServicesDir, DataDir string
	Timing               device.Timing
}

// childAgent runs an agent whose configuration is on the first line of its
// input and what it hears on the others, a document each. What it publishes
// goes to its output.
func childAgent() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		return lines.Err()
	}
	var p part
	if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
		return err
	}
	a, err := device.New(device.Config{
		Name: attic, ID: "0123456789abcdef", ServicesDir: p.ServicesDir, DataDir: p.DataDir, Timing: p.Timing,
		Loopback: true, Access: broker, Log: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	bus := printer{make(chan topics.Inbound, 16)}
	bus.in <- topics.Inbound{Link: topics.LinkUp, Sid: "child0"}
	bus.in <- topics.Inbound{Message: topics.Message{Topic: space.PlanHeartbeat(), Payload: []byte(`{"v":1,"sid":"lead00"}`)}}
	bus.in <- topics.Inbound{Link: topics.LinkSynced, Sid: "child0"}
	go func() {
		for lines.Scan() {
			bus.in <- topics.Inbound{Message: topics.Message{Topic: space.DesiredServices(attic), Payload: []byte(lines.Text())}}
		}
	}()
	return a.Run(context.Background(), bus)
}

// printer is a bus that prints.
type printer struct{ in chan topics.Inbound }

func (p printer) Publish(_ context.Context, m topics.Message) error {
	_, err := fmt.Printf("%s %s\n", m.Topic, m.Payload)
	return err
}

func (p printer) Inbound() <-chan topics.Inbound { return p.in }
