package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"dominion/cmd/program"
	"dominion/configs"
	"dominion/coordinator"
)

// operatorFile is where the operator's login is, in the leader's data and in
// that of the user who typed sudo dominion init: an mqtt URL.
const operatorFile = "operator"

// identityDir is where who belongs to the house is kept, in the leader's data.
const identityDir = "identity"

// local is the house whose leader this machine has: what its file says.
type local struct {
	config
	file      *configs.File
	catalogue *coordinator.Catalogue
}

// localSettings are the flags of a command that works on the leader's machine,
// on its files.
func localSettings() []program.Setting {
	return []program.Setting{{Key: "data", Kind: "directory", Help: "the leader's data, default what its configuration file says"}}
}

// loadLocal reads the leader's settings as serve does. The path of its file is
// "" when there is none.
func loadLocal(cmd *cobra.Command) (*local, error) {
	l := &local{config: defaults()}
	var err error
	if l.file, err = program.LoadOwn(cmd, &l.config, "DOMINION", localSettings()); err != nil {
		return nil, err
	}
	if l.catalogue, err = l.check(l.file); err != nil {
		return nil, err
	}
	return l, nil
}

// identityDir is where the house's identity is.
func (l *local) identityDir() string { return filepath.Join(l.Data, identityDir) }

// leads tells whether a leader has the data directory now: it holds a lock.
// What cannot be looked at is taken for one that runs.
func (l *local) leads() bool {
	lock, err := os.Open(filepath.Join(l.Data, "in-use"))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// dial speaks to the running leader of this machine, as its operator.
func (l *local) dial(cmd *cobra.Command) (*line, error) {
	broker, err := l.operatorURL()
	if err != nil {
		return nil, &program.Exit{Code: program.BadUsage, Err: err}
	}
	return connect(cmd, to{url: broker}, l.space(), stateFilters)
}

// operatorURL is the broker with the operator's login, where dominion init
// wrote it; the leader's file "address" says where its own broker listens now.
func (l *local) operatorURL() (string, error) {
	if l.Broker != "" {
		return program.BrokerURL(l.Broker, l.Username, l.PasswordFile)
	}
	broker := defaultBroker
	if address, err := os.ReadFile(filepath.Join(l.Data, "address")); err == nil {
		broker = strings.TrimSpace(string(address))
	}
	u, err := url.Parse(broker)
	if err != nil {
		return "", err
	}
	if login, err := os.ReadFile(filepath.Join(l.Data, operatorFile)); err == nil {
		if as, err := url.Parse(strings.TrimSpace(string(login))); err == nil {
			u.User = as.User
		}
	}
	return u.String(), nil
}

// denied makes of an error about a file one that says sudo, where that helps.
func denied(err error, command string) error {
	var exit *program.Exit
	switch {
	case errors.As(err, &exit):
		return err
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return program.Fail(program.CannotRun, "%w (only root may do that here: sudo %s)", err, command)
	case errors.Is(err, syscall.ENOSPC):
		return program.Fail(program.CannotRun, "%w (make room on the disk, and type it again)", err)
	}
	return &program.Exit{Code: program.CannotRun, Err: err}
}
