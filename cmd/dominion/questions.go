package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
)

// ask asks for what flags have not said: the name, the broker, the boot.
func (f *founding) ask(cmd *cobra.Command, p person) error {
	ctx := cmd.Context()
	_, brokerSaid := f.said["broker"]
	var around <-chan neighbours
	if !brokerSaid {
		around = lookAround(ctx) // while the name is typed
	}
	fmt.Fprint(p.out, "This machine becomes the leader of a new house.\n\n")
	if _, said := f.said["name"]; !said {
		var err error
		if f.config.Name, err = p.text(ctx, "What is the house called?", f.config.Name, checkHouseName); err != nil {
			return err
		}
	}
	if !brokerSaid {
		if err := f.askBroker(ctx, p, around); err != nil {
			return err
		}
	}
	if err := f.agree(); err != nil {
		return err
	}
	if f.config.Broker != "" && f.config.PasswordFile == "" {
		if err := f.askLogin(ctx, p); err != nil {
			return err
		}
	}
	return f.askBoot(ctx, p)
}

func (f *founding) askBroker(ctx context.Context, p person, around <-chan neighbours) error {
	fmt.Fprintln(p.out, "\nLooking for brokers in the network …")
	var n neighbours
	select {
	case n = <-around:
	case <-ctx.Done():
		return &program.Exit{Code: program.Unwell, Err: errUnanswered}
	}
	for _, h := range n.houses {
		host, _, _ := net.SplitHostPort(h.address)
		fmt.Fprintf(p.out, "There is a house here already: %s, its leader at %s.\nTo have this machine join that one instead: dominion invite there, then here:\n  domain join CODE\n", h.what, host)
	}
	options := []string{"its own, in this program"}
	for _, b := range n.brokers {
		options = append(options, fmt.Sprintf("the one at %s (%s)", b.address, b.what))
	}
	options = append(options, "another; its address is typed")
	chosen, err := p.choose(ctx, "Which MQTT broker does the house use? (Home Assistant talks to one only.)", options)
	switch {
	case err != nil || chosen == 0:
		return err
	case chosen <= len(n.brokers):
		f.config.Broker = "mqtt://" + n.brokers[chosen-1].address
		return nil
	}
	f.config.Broker, err = p.text(ctx, "Its address (192.168.1.5, or mqtts://host:8883)?", "", checkBroker)
	return err
}

func checkBroker(address string) error {
	_, err := theirBroker(address)
	return err
}

// askLogin asks for the login at a broker of somebody else's. Passwords are
// kept in files of the data directory.
func (f *founding) askLogin(ctx context.Context, p person) error {
	var err error
	if f.config.Username == "" {
		anything := func(string) error { return nil }
		f.config.Username, err = p.text(ctx, "The leader's user at that broker (empty: none)?", "", anything)
		if err != nil || f.config.Username == "" {
			return err
		}
	}
	password, err := p.password(ctx, "The password of "+f.config.Username+" there (not shown)?")
	if err != nil {
		return err
	}
	f.secret(&f.config.PasswordFile, "broker.password", password)
	if f.config.NodeUsername != "" || f.config.Logins != loginsShared {
		return nil
	}
	shared, err := p.yes(ctx, "May the machines of the house use the same login?", true)
	if err != nil || shared {
		return err
	}
	if f.config.NodeUsername, err = p.text(ctx, "Their user?", "", checkGiven); err != nil {
		return err
	}
	password, err = p.password(ctx, "Its password (not shown)?")
	if err == nil {
		f.secret(&f.config.NodePasswordFile, "nodes.password", password)
	}
	return err
}

func checkGiven(text string) error {
	if text == "" {
		return errors.New("a name, please")
	}
	return nil
}

// secret has a password written to a file that the house will have.
func (f *founding) secret(path *string, name, password string) {
	if password == "" {
		return
	}
	f.secrets = append(f.secrets, secretFile{path, name, password})
}

// secretFile is a password that was typed, and the setting that is to name its
// file, once it is known where the data is.
type secretFile struct {
	setting        *string
	name, password string
}

// askBoot asks only who can have it.
func (f *founding) askBoot(ctx context.Context, p person) error {
	if f.boot.said || !bootable() {
		return nil
	}
	f.boot.said = true
	root := os.Geteuid() == 0
	var err error
	if f.boot.wanted, err = p.yes(ctx, "Start at boot?", root); err != nil || !f.boot.wanted || root {
		return err
	}
	words := []string{"sudo dominion init --boot", "--name", shellWord(f.config.Name)}
	if f.config.Broker != "" {
		words = append(words, "--broker", shellWord(f.config.Broker))
	}
	return program.Fail(program.CannotRun, "for that the house must be root's; nothing was changed yet. Type:\n  %s", strings.Join(words, " "))
}

// dataPath is where a file of the house's data will be.
func (f *founding) dataPath(name string) string { return filepath.Join(f.config.Data, name) }
