package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dominion/cmd/program/unit"
)

// target is a kind of machine. Debian's armhf is ARMv7 and up; Raspberry Pi OS
// calls ARMv6 armhf too. So there are two packages of that architecture, which
// their file names tell apart, and the one for ARMv7 refuses an ARMv6.
type target struct {
	name   string // of the file: dominion_0.1.0_armv6.deb
	debian string // architecture, as dpkg knows it
	build  string // what the scripts are told it was built for
	env    []string
}

func targets() []target {
	return []target{
		{"amd64", "amd64", "amd64", []string{"GOARCH=amd64"}},
		{"arm64", "arm64", "arm64", []string{"GOARCH=arm64"}},
		{"armhf", "armhf", "armv7", []string{"GOARCH=arm", "GOARM=7"}},
		{"armv6", "armhf", "armv6", []string{"GOARCH=arm", "GOARM=6"}},
	}
}

func names(all []target) []string {
	var names []string
	for _, t := range all {
		names = append(names, t.name)
	}
	return names
}

// pkg is one of the two packages: most machines of a house need the agent
// alone, which is small; and the leader's machine can be upgraded without it.
type pkg struct {
	part        unit.Part
	description string
	example     string // the configuration file that is an example
	next        string // what to type after the first installation
	recommends  []string
	suggests    []string
}

func packages() []pkg {
	return []pkg{
		{
			part: unit.Leader(), example: "dominion.example.toml", suggests: []string{unit.Agent().Name},
			next: "make a house with:  sudo dominion init",
			description: `leader of a house, and its command line
Dominion keeps the right programs running on the right machines of a house,
lets them find one another, and shows all of it in Home Assistant, over MQTT.
This is the leader: a broker, the coordinator and the bridge to Home
Assistant; and the command line.`,
		},
		{
			part: unit.Agent(), example: "domain.example.toml", recommends: []string{"make"},
			next: "make this machine belong to a house with:  sudo domain join CODE",
			description: `agent of a machine in a house
Dominion keeps the right programs running on the right machines of a house,
lets them find one another, and shows all of it in Home Assistant, over MQTT.
This is the agent, one for each machine: it starts services and looks after
them.`,
		},
	}
}

// debianVersion is a semantic version as dpkg orders them: 0.2.0~rc1 comes
// before 0.2.0.
func debianVersion(semver string) string {
	version, build, hasBuild := strings.Cut(semver, "+")
	version = strings.Replace(version, "-", "~", 1)
	if hasBuild {
		version += "+" + build
	}
	return version
}

// build is a package in the making, for one kind of machine.
type build struct {
	root    string // of the module
	scratch string // for this build alone
	pkg     pkg
	target  target
	version string
}

func (b build) file() string {
	return fmt.Sprintf("%s_%s_%s.deb", b.pkg.part.Name, b.version, b.target.name)
}

// run builds the program and packs it.
func (b build) run(ctx context.Context, path string) error {
	if err := os.MkdirAll(b.scratch, 0o755); err != nil {
		return err
	}
	program := b.pkg.part.Program
	if err := compile(ctx, b.root, b.target, program, b.in(program)); err != nil {
		return err
	}
	files := map[string]string{b.pkg.part.File(): b.pkg.part.Render(b.pkg.part.Name, "/usr/bin/"+program)}
	for name := range scripts() {
		script, err := b.script(name)
		if err != nil {
			return err
		}
		files[name] = script
	}
	config, err := json.MarshalIndent(b.config(), "", "\t")
	if err != nil {
		return err
	}
	files["nfpm.json"] = string(config) // which is YAML too
	for name, text := range files {
		if err := os.WriteFile(b.in(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err = command(ctx, b.root, nil, "go", "tool", "-modfile="+filepath.Join("packaging", "tools", "go.mod"),
		"nfpm", "package", "--packager", "deb", "--config", b.in("nfpm.json"), "--target", path)
	return err
}

func (b build) in(name string) string { return filepath.Join(b.scratch, name) }

// scripts are the maintainer scripts, by their names at Debian, with nfpm's.
func scripts() map[string]string {
	return map[string]string{"preinst": "preinstall", "postinst": "postinstall", "prerm": "preremove", "postrm": "postremove"}
}

// script is a maintainer script: what the package is, and then what is the same
// for all.
func (b build) script(name string) (string, error) {
	body, err := os.ReadFile(filepath.Join(b.root, "packaging", "scripts", name))
	if err != nil {
		return "", err
	}
	part := b.pkg.part
	services, others, mode := "", "", "0700"
	if part.Runs {
		services = "/usr/local/dominion/services"
	}
	if part.Leads {
		others, mode = unit.Agent().StatePath(), "0711"
	}
	var text strings.Builder
	text.WriteString("#!/bin/sh\n")
	for _, v := range [][2]string{
		{"package", part.Name}, {"program", part.Program}, {"built_for", b.target.build},
		{"config", part.Config}, {"state", part.StatePath()}, {"mode", mode}, {"others", others},
		{"services", services}, {"groups", strings.Join(part.Groups(), " ")}, {"next", b.pkg.next},
	} {
		fmt.Fprintf(&text, "%s='%s'\n", v[0], v[1])
	}
	text.Write(body)
	return text.String(), nil
}

// config is what nfpm reads.
func (b build) config() any {
	type content struct {
		Src  string         `json:"src"`
		Dst  string         `json:"dst"`
		Info map[string]any `json:"file_info,omitempty"`
	}
	part := b.pkg.part
	doc := "/usr/share/doc/" + part.Name
	maintainerScripts := map[string]string{}
	for name, nfpm := range scripts() {
		maintainerScripts[nfpm] = b.in(name)
	}
	plain := map[string]any{"mode": 0o644}
	return map[string]any{
		"name": part.Name, "arch": b.target.debian, "platform": "linux",
		"version": b.version, "version_schema": "none",
		"section": "misc", "priority": "optional", "license": "MIT",
		"maintainer": "The Dominion authors <root@localhost>", "description": b.pkg.description,
		"depends": []string{"passwd"}, "recommends": b.pkg.recommends, "suggests": b.pkg.suggests,
		"deb": map[string]any{"compression": "xz"},
		"contents": []content{
			{b.in(part.Program), "/usr/bin/" + part.Program, map[string]any{"mode": 0o755}},
			{b.in(part.File()), "/usr/lib/systemd/system/" + part.File(), plain},
			{filepath.Join(b.root, "LICENSE"), doc + "/copyright", plain},
			{filepath.Join(b.root, "configs", b.pkg.example), doc + "/examples/" + strings.Replace(b.pkg.example, ".example", "", 1), plain},
		},
		"scripts": maintainerScripts,
	}
}
