package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dominion/cmd/program"
	"dominion/device/host"
	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

// openGate reads who belongs to the house, or makes the house's identity if
// this leader is new.
func (l *leader) openGate(alerts map[string]topics.Alert) error {
	dir := filepath.Join(l.data.Path, identityDir)
	accounts, err := identity.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		accounts, err = identity.Create(dir, l.config.Name)
		l.bereft(alerts)
	}
	if err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	l.gate = newGate(accounts, l.component("gate"))
	l.gate.shared = l.config.Broker != "" && l.config.Logins == loginsShared
	l.gate.door = joining.NewDoor(joining.DoorOptions{
		House: accounts, Dir: dir, Handout: l.handout, Tell: l.gate.happened, Log: l.component("door"),
	})
	return nil
}

// bereft raises an alert when a house that is older than its identity has
// just got a new one: it leads on, but no machine that had joined comes in.
func (l *leader) bereft(alerts map[string]topics.Alert) {
	if _, err := os.Stat(filepath.Join(l.data.Path, "coordinator.json")); err != nil {
		return
	}
	text := fmt.Sprintf("who belongs to this house was gone (%s) and was made anew: machines that had joined are turned away until they join again", filepath.Join(l.data.Path, identityDir))
	l.log.Error().Msg(text)
	alerts["identity-new"] = topics.Alert{Severity: topics.SeverityError, Text: text, Next: "stop the leader and put the folder back from a backup; or dominion invite, for each machine"}
}

// names are what this machine may be called by those who look at the names in
// a certificate. They are looked up every few seconds at most, whoever asks.
func (l *leader) names() []string {
	l.named.Lock()
	defer l.named.Unlock()
	if now := time.Now(); l.named.names == nil || now.Sub(l.named.at) > 10*time.Second {
		l.named.names, l.named.at = ownNames(), now
	}
	return l.named.names
}

func ownNames() []string {
	names := append([]string{"localhost", "127.0.0.1", "::1"}, host.Addresses()...)
	if name, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(name, ".")
		names = append(names, name, short+".local")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// handout is what a machine that joins is given, beside its own keys. An
// address without a host is this machine's, as the newcomer reaches it.
func (l *leader) handout() (joining.Handout, error) {
	house, _ := l.house.Load().(topics.HouseID)
	if house == "" {
		return joining.Handout{}, errors.New("the leader has just started and does not lead yet: try again in some seconds")
	}
	h := joining.Handout{House: house, Name: l.config.Name, Base: l.config.Base, Door: ":" + port(l.https.Addr()), Logins: loginsOwn}
	if l.broker != nil {
		url, open := l.lanURL()
		if !open {
			return joining.Handout{}, errors.New(`the house's broker listens on the leader's machine only: put listen_tls = [":8883"] into its configuration and restart it`)
		}
		h.Broker = url
		return h, nil
	}
	h.Broker, h.Logins = bare(l.url), l.config.Logins
	if h.Logins == loginsShared && l.config.NodeUsername != "" {
		login, err := program.BrokerURL("mqtt://x", l.config.NodeUsername, l.config.NodePasswordFile)
		if err != nil {
			return joining.Handout{}, fmt.Errorf("the login for nodes: %w", err)
		}
		h.Username, h.Password = loginOf(login)
	}
	return h, nil
}

// lanURL is how other machines reach our broker: with TLS if it listens so.
func (l *leader) lanURL() (url string, open bool) {
	for _, a := range l.broker.TLSAddrs() {
		if !isLoopback(hostOf(a)) {
			return "mqtts://:" + port(a), true
		}
	}
	for _, a := range l.broker.Addrs() {
		if !isLoopback(hostOf(a)) {
			return "mqtt://:" + port(a), true
		}
	}
	return "", false
}
