package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dominion/cmd/program"
)

// person answers questions at a terminal.
type person struct {
	in  *os.File
	out io.Writer
}

// errUnanswered is what a command ends with when a question got no answer.
var errUnanswered = errors.New("not answered, so nothing was changed")

// atTerminal is the person at the command's terminal; false: there is none.
func atTerminal(cmd *cobra.Command) (person, bool) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return person{}, false
	}
	return person{in: in, out: cmd.ErrOrStderr()}, true
}

// unasked is the error of a command that would have to ask.
func unasked(remedy string) error {
	return program.Fail(program.BadUsage, "there is no terminal to ask at (%s)", remedy)
}

// line writes a question and reads its answer.
func (p person) line(ctx context.Context, question string) (string, error) {
	return p.answer(ctx, question, func() (string, error) { return readLine(p.in) })
}

// password asks for one, which is not shown.
func (p person) password(ctx context.Context, question string) (string, error) {
	fd := int(p.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, before) // an interrupted read does not
	answer, err := p.answer(ctx, question, func() (string, error) {
		hidden, err := term.ReadPassword(fd)
		return string(hidden), err
	})
	fmt.Fprintln(p.out)
	return answer, err
}

// answer waits for an answer or the end of ctx. A read from a terminal cannot
// be interrupted: then it ends with the program.
func (p person) answer(ctx context.Context, question string, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	fmt.Fprint(p.out, question+" ")
	answers := make(chan result, 1)
	go func() {
		text, err := read()
		answers <- result{text, err}
	}()
	select {
	case r := <-answers:
		if r.err == nil {
			return strings.TrimSpace(r.text), nil
		}
	case <-ctx.Done():
	}
	fmt.Fprintln(p.out)
	return "", &program.Exit{Code: program.Unwell, Err: errUnanswered}
}

// readLine reads to the end of a line and not beyond it: what follows may be
// the answer to the next question.
func readLine(r io.Reader) (string, error) {
	const longest = 4096
	var line []byte
	for b := make([]byte, 1); len(line) < longest; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	return string(line), nil
}

// text asks until check takes the answer; an empty one is usual.
func (p person) text(ctx context.Context, question, usual string, check func(string) error) (string, error) {
	if usual != "" {
		question += " [" + usual + "]"
	}
	for {
		answer, err := p.line(ctx, question)
		if err != nil {
			return "", err
		}
		if answer == "" {
			answer = usual
		}
		if err = check(answer); err == nil {
			return answer, nil
		}
		fmt.Fprintf(p.out, "  %v\n", err)
	}
}

// yes asks a question of yes and no.
func (p person) yes(ctx context.Context, question string, usual bool) (bool, error) {
	words := "[y/N]"
	if usual {
		words = "[Y/n]"
	}
	said := usual
	_, err := p.text(ctx, question+" "+words, "", func(answer string) error {
		switch strings.ToLower(answer) {
		case "":
		case "y", "yes":
			said = true
		case "n", "no":
			said = false
		default:
			return errors.New("y or n?")
		}
		return nil
	})
	return said, err
}

// choose asks for one of several; the first is usual.
func (p person) choose(ctx context.Context, question string, options []string) (int, error) {
	fmt.Fprintln(p.out, question)
	for i, o := range options {
		fmt.Fprintf(p.out, "  %d  %s\n", i+1, o)
	}
	chosen := 0
	_, err := p.text(ctx, "Which?", "1", func(answer string) error {
		n, err := strconv.Atoi(answer)
		if err != nil || n < 1 || n > len(options) {
			return fmt.Errorf("a number from 1 to %d", len(options))
		}
		chosen = n - 1
		return nil
	})
	return chosen, err
}
