package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"dominion/cmd/program"
)

// leaveWithUser leaves the operator's login with the person who typed sudo, so
// that he commands the house without it. It is written as that user: root
// follows no link of somebody else's.
func leaveWithUser(login string) error {
	name := os.Getenv("SUDO_USER")
	if os.Geteuid() != 0 || name == "" || name == "root" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil // a login that nobody can be given is none that is missed
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if uidErr != nil || gidErr != nil || uid == 0 {
		return nil
	}
	err = as(uid, gid, func() error {
		dir := filepath.Join(u.HomeDir, ".config", "dominion")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return program.WriteFile(filepath.Join(dir, operatorFile), []byte(login+"\n"))
	})
	if err != nil {
		return fmt.Errorf("%s has to type sudo for commands to the house: the operator's login could not be left with him: %w", name, err)
	}
	return nil
}

// as does something with another user's rights. It is for root.
func as(uid, gid int, do func() error) (err error) {
	if err := syscall.Setegid(gid); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Setegid(0)) }()
	if err := syscall.Seteuid(uid); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Seteuid(0)) }()
	return do()
}
