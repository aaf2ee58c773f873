// Command packaging builds Dominion's Debian packages, for every machine that
// a house may have:
//
//	go run ./packaging                      all, into dist/
//	go run ./packaging -for amd64,armv6     these
//	go run ./packaging -addon               and the Home Assistant add-on's folder
//
// It needs Go alone: nfpm, which makes the packages, is a tool with a go.mod of
// its own (packaging/tools), and the programs are static.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"dominion/cmd/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	version := flag.String("version", program.Version(), "of the packages: semver")
	only := flag.String("for", strings.Join(names(targets()), ","), "the `machines`, with commas between")
	out := flag.String("out", "dist", "the `directory` for the packages")
	withAddon := flag.Bool("addon", false, "also write the folder of the Home Assistant add-on")
	flag.Parse()
	wanted, err := pick(targets(), *only)
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if *out, err = filepath.Abs(*out); err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "dominion-packaging-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for _, t := range wanted {
		for _, p := range packages() {
			b := build{root: root, scratch: filepath.Join(scratch, t.name, p.part.Name), pkg: p, target: t, version: debianVersion(*version)}
			path := filepath.Join(*out, b.file())
			if err := b.run(ctx, path); err != nil {
				return fmt.Errorf("%s: %w", b.file(), err)
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			fmt.Printf("%5.1f MB  %s\n", float64(info.Size())/1e6, path)
		}
	}
	if *withAddon {
		return addon(ctx, root, *out, *version)
	}
	return nil
}

func pick(all []target, only string) ([]target, error) {
	var wanted []target
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, t := range all {
			if t.name == name {
				wanted, found = append(wanted, t), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no machine %q (there are %s)", name, strings.Join(names(all), ", "))
		}
	}
	return wanted, nil
}

// moduleRoot is the directory of this module's go.mod.
func moduleRoot(ctx context.Context) (string, error) {
	path, err := command(ctx, "", nil, "go", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	if path = strings.TrimSpace(path); filepath.Base(path) != "go.mod" {
		return "", errors.New("there is no go.mod here (run it in Dominion's directory: go run ./packaging)")
	}
	return filepath.Dir(path), nil
}

// command runs a program in a directory, with variables more than this
// process's own, and returns what it printed.
func command(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), complaint.String())
	}
	return out.String(), nil
}
