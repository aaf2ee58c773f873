package configs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with a setting, and where it was said: file:line, an environment variable, or a flag.
type Error struct {
	// Where is the file's path as the user gave it, the variable ("DOMINION_LISTEN"), the flag ("--listen"), or empty for a
	// setting that nobody set.
	Where string
	// Line counts from 1; 0 when Where is no file or the error belongs to no line.
	Line int
	// Err names the key, what is wrong with it and, in brackets, a remedy.
	Err error

	layer layer
}

// layer is where a setting comes from, in the order in which one overrides the other.
type layer int

const (
	inFile layer = iota
	inEnvironment
	inFlags
	nowhere
)

func (e *Error) Error() string {
	switch {
	case e.Where == "":
		return e.Err.Error()
	case e.Line == 0:
		return fmt.Sprintf("%s: %v", e.Where, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Where, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Errors is everything that is wrong with a configuration, one line of text each. It is never empty.
type Errors []error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

func (e Errors) Unwrap() []error { return e }

// Join makes one error of many, as errors.Join does, in the order a person mends them: first the file's, line by line,
// then the environment's, the flags' and those without a place. Joined errors among them (the checks of several rooms) are
// taken apart first; what is said twice is kept once. It returns nil when all of errs are nil, else [Errors].
func Join(errs ...error) error {
	flat := takeApart(nil, errs)
	if len(flat) == 0 {
		return nil
	}
	slices.SortStableFunc(flat, func(a, b error) int {
		x, y := orderOf(a), orderOf(b)
		if x.layer != y.layer {
			return int(x.layer) - int(y.layer)
		}
		return x.line - y.line
	})
	said := map[string]bool{}
	return Errors(slices.DeleteFunc(flat, func(err error) bool {
		again := said[err.Error()]
		said[err.Error()] = true
		return again
	}))
}

func takeApart(into, errs []error) []error {
	for _, err := range errs {
		var several interface{ Unwrap() []error }
		if err == nil {
			continue
		}
		// An error that wraps several and has words of its own (fmt.Errorf) stays whole.
		if errors.As(err, &several) && Errors(several.Unwrap()).Error() == err.Error() {
			into = takeApart(into, several.Unwrap())
			continue
		}
		into = append(into, err)
	}
	return into
}

type order struct {
	layer layer
	line  int
}

func orderOf(err error) order {
	var placed *Error
	if errors.As(err, &placed) {
		return order{placed.layer, placed.Line}
	}
	return order{layer: nowhere}
}

// withRemedy adds, in brackets, what the user can do about an error.
func withRemedy(err error, remedy string) error {
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, remedy)
}
