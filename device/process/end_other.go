//go:build !linux

package process

import "errors"

// end is nothing here: ends are waited for by a thread, or looked for.
type end struct{}

func endOf(int) (end, error) { return end{}, errors.ErrUnsupported }

func (end) wait() error { return errors.ErrUnsupported }

func (end) close() {}
