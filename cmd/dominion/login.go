package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
	"dominion/identity"
	"dominion/topics"
)

// operatorName is the user that the local command line is.
const operatorName = "operator"

// keepOperator writes the operator's file: with the login that is in it while
// that stands, else with a new one.
func (l *leader) keepOperator() error {
	path := filepath.Join(l.data.Path, operatorFile)
	if l.broker == nil {
		return l.tell(path, l.url)
	}
	user, password := "", ""
	if written, err := readOperator(path); err == nil {
		user, password = loginOf(written)
	}
	account, err := l.gate.accounts.Password(user, password)
	if err != nil || user != operatorName || account.Who.Role != topics.RoleOperator { // also after the identity was put back from a backup
		password = identity.NewPassword()
		if err := l.gate.accounts.SetUser(operatorName, topics.RoleOperator, password); err != nil {
			return fmt.Errorf("make the login of this machine's command line: %w", err)
		}
	}
	u, err := url.Parse(l.url)
	if err != nil {
		return err
	}
	u.User = url.UserPassword(operatorName, password)
	return l.tell(path, u.String())
}

// tell writes a line into a file for other programs on this machine, if it does
// not stand there. A full disk keeps no house from being led: those programs
// have to be told by hand then.
func (l *leader) tell(path, line string) error {
	if have, err := os.ReadFile(path); err == nil && string(have) == line+"\n" {
		return nil
	}
	err := program.WriteFile(path, []byte(line+"\n"))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		l.log.Error().Err(err).Msg("the disk is full: the command line on this machine may not find the house, or not be let in (free room: df -h " + l.data.Path + ")")
		return nil
	}
	return err
}

// firstLoginFile stands in the leader's data once it is settled whether a login
// is made without being asked for: by the owner's answer to dominion init, or
// because one was.
const firstLoginFile = "first-login"

// firstLogin makes the login for Home Assistant when the broker is opened to
// others for the first time, and says it once.
func (l *leader) firstLogin(w io.Writer) error {
	if l.broker == nil || l.config.AllowInsecure {
		return nil
	}
	settled := filepath.Join(l.data.Path, firstLoginFile)
	_, open := l.lanURL()
	if _, err := os.Stat(settled); !open || err == nil {
		return nil
	}
	others := slices.ContainsFunc(l.gate.accounts.Users(), func(u identity.User) bool { return u.Name != operatorName })
	const name = "homeassistant"
	if !others && !program.Terminal(w) { // a log is no place for a password
		fmt.Fprintf(w, "Others need a login: dominion user add %s --role homeassistant\n", name)
		return nil
	}
	if err := program.WriteFile(settled, nil); err != nil || others {
		return err
	}
	password := identity.NewPassword()
	if err := l.gate.accounts.SetUser(name, topics.RoleHomeAssistant, password); err != nil {
		return fmt.Errorf("make the first login: %w", err)
	}
	fmt.Fprintf(w, `A login for Home Assistant was made. It is shown only now:
  user %s   password %s   (another: dominion user password %s)
`, name, password, name)
	return nil
}

// leaderHere is what the file of this machine's leader says, as far as it can be
// read: what is wrong with it is told by the commands that it is for.
func leaderHere(cmd *cobra.Command) config {
	c := defaults()
	_, _ = program.LoadOwn(cmd, &c, "DOMINION", nil)
	return c
}

// operatorFiles are where the login of a leader on this machine may be, which
// says that its data is in a directory; "" if it does not.
func operatorFiles(data string) []string {
	var all []string
	if data != "" {
		all = append(all, filepath.Join(data, operatorFile))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		all = append(all, filepath.Join(dir, "dominion", operatorFile))
	}
	if dir, err := program.DataDir(); err == nil {
		all = append(all, filepath.Join(dir, operatorFile))
	}
	return append(all, filepath.Join("/var/lib/dominion", operatorFile))
}

// localLogin is the broker's address with the login of a leader on this
// machine: of any, or of the one that listens at address. Locked is a file
// that is there and may not be read.
func localLogin(address, data string) (login, locked string) {
	for _, path := range operatorFiles(data) {
		written, err := readOperator(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			locked = path
		case err == nil && (address == "" || sameBroker(address, written)):
			return written, ""
		}
	}
	return "", locked
}

func readOperator(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if _, err := url.Parse(line); err != nil {
		return "", fmt.Errorf("%s holds no address", path) // never the line: it has a password
	}
	return line, nil
}

func sameBroker(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && x.Hostname() == y.Hostname() && portOfURL(a) == portOfURL(b)
}

func loginOf(broker string) (user, password string) {
	u, err := url.Parse(broker)
	if err != nil || u.User == nil {
		return "", ""
	}
	password, _ = u.User.Password()
	return u.User.Username(), password
}

// bare is a broker's address without its login.
func bare(broker string) string {
	u, err := url.Parse(broker)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

func portOfURL(broker string) string {
	u, err := url.Parse(broker)
	switch {
	case err != nil:
		return ""
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "mqtts" || u.Scheme == "ssl" || u.Scheme == "tls":
		return "8883"
	}
	return "1883"
}

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

func hostOf(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

func number(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

// authorityTLS trusts the authority in a file, and no other.
func authorityTLS(path string) (*tls.Config, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate (copy house.crt from a machine of the house)", path)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
