package agent

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dominion/cmd/domain/whereabouts"
	"dominion/cmd/program"
	"dominion/discovery"
	"dominion/identity"
)

// The times of looking for a house to join.
const (
	searchTime  = 15 * time.Second        // for the first
	networkTime = 3 * time.Second         // of it, for this machine to have a network at all
	secondLook  = 2500 * time.Millisecond // whether there are others, since a code at the wrong one is a try
)

// defaultDoor is the port where leaders let machines in.
const defaultDoor = "8443"

// doors are where the house that is meant lets machines in, each to be tried.
func (j join) doors(ctx context.Context) ([]string, error) {
	if j.leader != "" {
		door, err := doorAt(j.leader)
		if err != nil {
			return nil, &program.Exit{Code: program.BadUsage, Err: err}
		}
		return []string{door}, nil
	}
	meant := j.house
	if meant == "" && j.before != nil {
		meant = string(j.before.House)
	}
	fmt.Fprintln(j.says, "Looking for the house in the local network …")
	houses, tried := heard(ctx, whereabouts.Leaders, meant)
	house, err := whereabouts.Pick(houses, meant)
	var several *whereabouts.Several
	if errors.As(err, &several) && j.answers != nil {
		house, err = choose(j.says, j.answers, several.Houses)
	}
	switch {
	case ctx.Err() != nil:
		return nil, j.interrupted()
	case errors.As(err, &several):
		return nil, j.whichOne(several.Houses)
	case errors.Is(err, whereabouts.ErrNone):
		return nil, j.notFound(houses, meant, tried)
	case err != nil:
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	fmt.Fprintf(j.says, "Found %s at %s.\n", house, house.Doors[0])
	return house.Doors, nil
}

// heard looks until the house that is meant, or any if none is, answers, and
// then a moment longer for others. On a machine without a network it gives up
// early.
func heard(ctx context.Context, find whereabouts.Find, meant string) ([]whereabouts.House, discovery.Tried) {
	until := func(lasts time.Duration, fits func(discovery.Entry) bool) discovery.Tried {
		ctx, cancel := context.WithTimeout(ctx, lasts)
		defer cancel()
		_, tried, _ := find(ctx, fits)
		return tried
	}
	fits := func(e discovery.Entry) bool {
		_, err := whereabouts.Pick(whereabouts.Houses([]discovery.Entry{e}), meant)
		return err == nil
	}
	tried := until(networkTime, fits)
	if len(tried.Interfaces) > 0 && !slices.ContainsFunc(tried.Heard, fits) {
		before := tried
		tried = until(searchTime-networkTime, fits)
		tried.Lasted += before.Lasted
		for _, e := range before.Heard {
			if !slices.ContainsFunc(tried.Heard, func(again discovery.Entry) bool { return again.Instance == e.Instance }) {
				tried.Heard = append(tried.Heard, e)
			}
		}
	}
	if _, err := whereabouts.Pick(whereabouts.Houses(tried.Heard), meant); err != nil {
		return whereabouts.Houses(tried.Heard), tried
	}
	others := until(secondLook, func(discovery.Entry) bool { return false })
	return whereabouts.Houses(slices.Concat(tried.Heard, others.Heard)), tried
}

// choose asks a person which house is meant.
func choose(w io.Writer, r io.Reader, houses []whereabouts.House) (whereabouts.House, error) {
	fmt.Fprintln(w, "There are several houses here:")
	for i, h := range houses {
		fmt.Fprintf(w, "  %d  %s at %s\n", i+1, h, h.Doors[0])
	}
	fmt.Fprintf(w, "Which one is the code of? [1-%d] ", len(houses))
	line, err := bufio.NewReader(r).ReadString('\n')
	n, bad := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || bad != nil || n < 1 || n > len(houses) {
		return whereabouts.House{}, &whereabouts.Several{Houses: houses}
	}
	return houses[n-1], nil
}

// whichOne says how to name each of the houses: a code at the wrong one is a
// try that counts.
func (j join) whichOne(houses []whereabouts.House) error {
	var b strings.Builder
	fmt.Fprintf(&b, "there are %d houses here; type the line of the one that the code is of:", len(houses))
	for _, h := range houses {
		fmt.Fprintf(&b, "\n  %s%s --house %s    (%s at %s)", j.command, j.code, h.ID, h.Name, h.Doors[0])
	}
	return &program.Exit{Code: program.BadUsage, Err: errors.New(b.String())}
}

// notFound says what was tried, and what else can be.
func (j join) notFound(others []whereabouts.House, meant string, tried discovery.Tried) error {
	what := "no house was found"
	switch {
	case len(tried.Interfaces) == 0:
		what = "this machine is in no network where a house could be"
	case j.house != "":
		what = fmt.Sprintf("the house %q was not found", j.house)
	case meant != "":
		what = fmt.Sprintf("the house of this machine, %s (%s), was not found", j.before.Name, meant)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", what)
	for line := range strings.Lines(tried.String()) {
		fmt.Fprintf(&b, "  %s", line)
	}
	for _, h := range others {
		fmt.Fprintf(&b, "\n  %s is here, at %s", h, h.Doors[0])
	}
	if j.before != nil && j.house == "" && len(others) > 0 {
		fmt.Fprintf(&b, "\nTo move to another house:  %s", j.leave())
	}
	fmt.Fprintf(&b, "\nIf you know where the leader is:  %s%s --leader HOST", j.command, j.code)
	return &program.Exit{Code: program.NoAnswer, Err: errors.New(b.String())}
}

// doorAt reads --leader: a host, or host:port.
func doorAt(leader string) (string, error) {
	host, port, err := net.SplitHostPort(leader)
	if err != nil {
		host, port = strings.Trim(leader, "[]"), defaultDoor
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@ ") {
		return "", fmt.Errorf("--leader is %q (want host or host:port, as in 192.168.1.2 or pi1.local:8443)", leader)
	}
	return net.JoinHostPort(host, port), nil
}

// sameHouse holds that a machine that belongs to a house knocks at no other's
// door. What cannot be asked is left to the join itself.
func (j join) sameHouse(ctx context.Context, door string) error {
	if j.before == nil {
		return nil
	}
	config, err := j.before.TLS()
	if err != nil {
		return &program.Exit{Code: program.CannotRun, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", door)
	if err == nil {
		conn.Close()
		return nil
	}
	var foreign *identity.ForeignLeader
	if errors.As(err, &foreign) {
		return j.otherHouse(fmt.Sprintf("the leader at %s is of another:\nits authority is %s, ours is %s", door, foreign.Got, foreign.Want))
	}
	return nil
}

// otherHouse refuses to move a machine by a join.
func (j join) otherHouse(found string) error {
	return program.Fail(program.Unwell, "this machine belongs to %s (%s), and %s.\nNothing was changed. To move this machine:  %s, then the same again",
		j.before.Name, j.before.House, found, j.leave())
}

func (j join) leave() string { return strings.TrimSuffix(j.command, "join") + "leave" }

// terminal is where a person answers, nil when none is there.
func terminal(cmd *cobra.Command) io.Reader {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); !ok || !program.Terminal(f) {
		return nil
	}
	return in
}
