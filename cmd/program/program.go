// Package program is what the two programs, dominion and domain, have in
// common: exit codes, signals, settings, the data directory, the log.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"dominion/configs"
)

// Exit codes. A code once given a meaning keeps it: scripts and systemd units
// build on them.
const (
	Well      = 0 // done; what was asked about is as wanted
	Unwell    = 1 // what was asked about is not as wanted, or the house refused or failed
	BadUsage  = 2 // arguments, configuration, or a name that the house does not know
	NameInUse = 3 // another machine has this domain's name
	NoAnswer  = 4 // the broker does not answer, or no coordinator leads
	CannotRun = 5 // this machine does not let it: port in use, data directory, store
)

// ExitCodes is the table above for people, for the help texts.
const ExitCodes = `Exit codes:
  0  done, or all is as wanted
  1  not as wanted, refused, or failed
  2  wrong arguments, a faulty configuration, or an unknown name
  3  another machine has this domain's name
  4  the broker does not answer, or no coordinator leads
  5  it cannot run here: port in use, data directory not writable`

// Exit is an error with the program's exit code. An Exit without Err ends the
// program without a word: what there was to say is written.
type Exit struct {
	Code int
	Err  error
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }

// Fail is an Exit of that code with a formatted error.
func Fail(code int, format string, args ...any) error {
	return &Exit{Code: code, Err: fmt.Errorf(format, args...)}
}

// Signalled is the cause (see context.Cause) of a command's context that a
// signal ended.
type Signalled struct{ Signal os.Signal }

func (s *Signalled) Error() string { return s.Signal.String() }

// Main runs a program's command until it is done or a signal ends it, writes
// its error, and returns the exit code. A second signal ends the program at once.
func Main(cmd *cobra.Command) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(&Signalled{s})
		case <-ctx.Done():
		}
	}()
	ran := false
	prepare(cmd, &ran)
	err := cmd.ExecuteContext(ctx)
	return report(cmd.ErrOrStderr(), cmd.Name(), err, ran)
}

// prepare makes all commands silent about their errors, which report writes,
// and notes whether one ran: before that, an error is one of usage.
func prepare(cmd *cobra.Command, ran *bool) {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*ran = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		prepare(sub, ran)
	}
}

// report writes an error, for scripts as it is, and returns the exit code.
func report(w io.Writer, name string, err error, ran bool) int {
	var exit *Exit
	var faults configs.Errors
	text := fmt.Sprintf("%s: %v\n", name, err)
	switch {
	case err == nil:
		return Well
	case errors.As(err, &exit) && exit.Err == nil:
		return exit.Code
	case errors.As(err, &faults):
		text = fmt.Sprintln(err) // each line has its place in front
	case exit == nil && !ran:
		text = fmt.Sprintf("%s: %v (%s --help)\n", name, err, name)
	}
	if Terminal(w) {
		text = Wrap(text)
	}
	io.WriteString(w, text)
	switch {
	case exit != nil:
		return exit.Code
	case ran:
		return Unwell
	}
	return BadUsage
}

// Inherited is a file descriptor that this process was started with. Programs
// that it starts itself do not get it.
func Inherited(fd int) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "inherited")
}

// UntilEOF ends the returned context also when r ends: a child that holds the
// read end of its parent's pipe ends with its parent, however that one ends.
func UntilEOF(ctx context.Context, r io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		io.Copy(io.Discard, r)
		cancel(&Signalled{syscall.SIGINT})
	}()
	return ctx, func() { cancel(nil) }
}
