package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/dominion/verify"
	"dominion/cmd/program"
	"dominion/topics"
)

func verifyCommand() *cobra.Command {
	v := verifier{}
	cmd := &cobra.Command{
		Use:   "verify NODE [-- COMMAND...]",
		Short: "Check that a node does what the protocol asks of it",
		Long: `Verify looks at a node, a domain or a microdomain in any language, and tells
what it does right and wrong, with the paragraph of docs/protocol.md.

As it is it looks on in the house, and sends commands that do no harm. With
--listen it opens a house of its own, which the node is to be pointed at: there
it sees each packet, breaks the connection, restarts the broker and offers bad
documents. A domain takes it for its house: give it an empty data directory.

After -- stands what starts the node: it has DOMINION_URL, DOMINION_BASE,
DOMAIN_BROKER and DOMAIN_BASE set, and is stopped at the end with SIGTERM.`,
		Example: `  dominion verify lamp-2
  dominion verify --listen 127.0.0.1:0 lamp-2 -- ./lamp.py lamp-2
  dominion verify --listen 127.0.0.1:0 attic -- domain --name attic --data d`,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); len(args) == 0 || dash == 0 || dash < 0 && len(args) > 1 || dash > 1 {
				return errors.New("name one node; what starts it stands after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, topics.Node(args[0]), args[1:]) },
	}
	program.AddFlags(cmd, remoteSettings())
	cmd.Flags().Lookup("config").Hidden = true
	cmd.Flags().BoolVar(&v.json, "json", false, "write one JSON object for each check")
	cmd.Flags().StringVar(&v.listen, "listen", "", "open a house of its own at this address, as 127.0.0.1:0")
	cmd.Flags().DurationVar(&v.patience, "patience", 45*time.Second, "with --listen: how long the node may take to come, and to come back")
	return cmd
}

// verifier is what was asked for.
type verifier struct {
	json     bool
	listen   string
	patience time.Duration
}

func (v *verifier) run(cmd *cobra.Command, node topics.Node, start []string) error {
	if err := node.Check(); err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	if len(start) > 0 && v.listen == "" {
		return program.Fail(program.BadUsage, "what starts the node is for --listen: it is pointed at that house")
	}
	o := verify.Options{Node: node, Patience: v.patience, Say: func(text string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "... %s\n", text)
	}}
	look := v.visit
	if v.listen != "" {
		look = func(cmd *cobra.Command, o verify.Options) (verify.Seen, error) { return v.host(cmd, o, start) }
	}
	seen, err := look(cmd, o)
	if err != nil {
		return err
	}
	all := verify.Judge(seen)
	if v.json {
		err = verify.WriteJSON(cmd.OutOrStdout(), all)
	} else {
		err = verify.Write(cmd.OutOrStdout(), string(node), all)
	}
	if err == nil && verify.Failed(all) {
		return &program.Exit{Code: program.Unwell}
	}
	return err
}

// visit looks at a node in the house.
func (v *verifier) visit(cmd *cobra.Command, o verify.Options) (verify.Seen, error) {
	l, err := dial(cmd, func(topics.Space) []string { return nil })
	if err != nil {
		return verify.Seen{}, err
	}
	at := l.at
	l.hangUp()
	o.Space = l.space
	user, password := loginOf(at.url)
	g := verify.Guest{Options: o, Login: verify.Login{Username: user, Password: password}, Dial: at.open}
	seen, err := g.Run(cmd.Context())
	switch {
	case errors.Is(err, verify.ErrAbsent):
		return seen, program.Fail(program.BadUsage, "the house at %s has heard nothing of %q (dominion status shows whom it knows; or is it another --base?)", l.broker, o.Node)
	case err != nil:
		return seen, program.Fail(program.NoAnswer, "the broker at %s: %w", l.broker, err)
	}
	return seen, nil
}

// open connects to the broker, as client does.
func (at to) open(ctx context.Context) (net.Conn, error) {
	host, err := client.HostPort(at.url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectAtMost)
	defer cancel()
	u, err := url.Parse(at.url)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "mqtt" || u.Scheme == "tcp" {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", host)
	}
	d := tls.Dialer{Config: at.tls}
	return d.DialContext(ctx, "tcp", host)
}

// host looks at a node in a house of its own.
func (v *verifier) host(cmd *cobra.Command, o verify.Options, start []string) (verify.Seen, error) {
	var r remote
	if err := program.LoadFlags(cmd, &r, "DOMINION", remoteSettings()); err != nil {
		return verify.Seen{}, err
	}
	o.Space = topics.Space{Base: cmp.Or(r.Base, topics.DefaultBase), Prefix: r.Prefix}
	if err := o.Space.Base.Check(); err != nil {
		return verify.Seen{}, &program.Exit{Code: program.BadUsage, Err: err}
	}
	var child *exec.Cmd
	o.Stop = func() bool {
		if child == nil {
			o.Say("stop the node now, as you usually do")
			return true
		}
		return child.Process.Signal(syscall.SIGTERM) == nil
	}
	h, err := verify.Listen(v.listen, o)
	if err != nil {
		return verify.Seen{}, program.Fail(program.CannotRun, "--listen %s: %w", v.listen, err)
	}
	if len(start) > 0 {
		if child, err = startNode(cmd, start, h.Addr(), o.Space.Base); err != nil {
			h.Close()
			return verify.Seen{}, &program.Exit{Code: program.BadUsage, Err: err}
		}
		defer endNode(child)
	}
	seen, err := h.Run(cmd.Context())
	if errors.Is(err, verify.ErrAbsent) {
		return seen, program.Fail(program.Unwell, "%s did not connect to %s within %s", o.Node, h.Addr(), v.patience)
	}
	return seen, err
}

// startNode starts a node, pointed at an address. What it prints goes where
// verify tells what it does.
func startNode(cmd *cobra.Command, start []string, address string, base topics.Base) (*exec.Cmd, error) {
	child := exec.Command(start[0], start[1:]...)
	at := "mqtt://" + address
	child.Env = append(os.Environ(), "DOMINION_URL="+at, "DOMAIN_BROKER="+at, "DOMINION_BASE="+string(base), "DOMAIN_BASE="+string(base))
	child.Stdout, child.Stderr = cmd.ErrOrStderr(), cmd.ErrOrStderr()
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	child.WaitDelay = time.Second
	if err := child.Start(); err != nil {
		return nil, err
	}
	return child, nil
}

// endNode ends what is left of a node that was started.
func endNode(child *exec.Cmd) {
	_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL) // usually nothing is left
	_ = child.Wait()
}
