package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// addon writes the folder of the Home Assistant add-on, with the leader for
// the machines that Home Assistant OS runs on, named as uname names those.
func addon(ctx context.Context, root, out, version string) error {
	from, to := filepath.Join(root, "packaging", "homeassistant-addon"), filepath.Join(out, "homeassistant-addon")
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	config := filepath.Join(to, "config.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	line := regexp.MustCompile(`(?m)^version: .*$`)
	if !line.Match(text) {
		return fmt.Errorf("%s has no line with the version", config)
	}
	if err := os.WriteFile(config, line.ReplaceAll(text, []byte("version: "+version)), 0o644); err != nil {
		return err
	}
	for _, t := range targets() {
		machine, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[t.name]
		if !ok {
			continue
		}
		if err := compile(ctx, root, t, "dominion", filepath.Join(to, "dominion-"+machine)); err != nil {
			return err
		}
	}
	fmt.Println("          ", to)
	return nil
}

// compile builds one of our programs for a kind of machine.
func compile(ctx context.Context, root string, t target, program, path string) error {
	env := append([]string{"CGO_ENABLED=0", "GOOS=linux"}, t.env...)
	_, err := command(ctx, root, env, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/"+program)
	return err
}
