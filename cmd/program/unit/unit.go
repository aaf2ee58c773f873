// Package unit renders the systemd units of Dominion: what a machine that
// starts it at boot is told. It is pure; package install brings the units onto
// machines, and packaging puts them into packages.
package unit

import (
	_ "embed"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

// Part is a part of Dominion that runs as a unit.
type Part struct {
	Name    string // of the unit and of its user
	Program string // the name of the program that it is
	Config  string // the file with its settings
	State   string // its directory below /var/lib
	Leads   bool   // the house
	Runs    bool   // services on this machine

	// Writes are directories beside its own that it has to write.
	Writes []string
}

//go:embed unit.service
var text string

// Leader is the unit of `dominion serve`. One that is a domain too (domain =
// "NAME" in its configuration) Runs services: they cannot live behind the
// leader's walls, and can read what it keeps.
func Leader() Part {
	return Part{Name: "dominion", Program: "dominion", Config: "/etc/dominion/dominion.toml", State: "dominion", Leads: true}
}

// Agent is the unit of `domain`. Its user is not the leader's: the services it
// starts are that user's processes, and must not read what the leader keeps.
func Agent() Part {
	return Part{Name: "dominion-domain", Program: "domain", Config: "/etc/dominion/domain.toml", State: "dominion/domain", Runs: true}
}

// File is the unit's file name.
func (p Part) File() string { return p.Name + ".service" }

// StatePath is the part's own directory.
func (p Part) StatePath() string { return filepath.Join("/var/lib", p.State) }

// Groups are those whose members may use a machine's devices. Machines have
// few of them each; the user of services is put into those that there are. They
// do not stand in the unit: systemd starts none that names a group which is not there.
func (p Part) Groups() []string {
	if !p.Runs {
		return nil
	}
	return []string{"audio", "bluetooth", "dialout", "gpio", "i2c", "input", "plugdev", "render", "spi", "video"}
}

// Render is the unit's text. Command is the program's absolute path, and what
// comes before the part's own arguments if that program is more than the part.
func (p Part) Render(user string, command ...string) string {
	if p.Leads {
		command = append(slices.Clip(command), "serve", "--config", p.Config)
	}
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = quote(word)
	}
	var rendered strings.Builder
	err := template.Must(template.New(p.Name).Parse(text)).Execute(&rendered, struct {
		Part
		User, Command string
	}{p, user, strings.Join(words, " ")})
	if err != nil {
		panic(err) // the template is ours, and so is what it is given
	}
	return rendered.String()
}

// quote writes a word of a command as systemd.service(5) reads it: in quotes
// where it needs them, with its specifiers (%) and variables ($) made plain.
func quote(word string) string {
	word = strings.NewReplacer("%", "%%", "$", "$$", `\`, `\\`, `"`, `\"`).Replace(word)
	if word == "" || strings.ContainsAny(word, " \t\n'\"\\;") {
		return `"` + strings.ReplaceAll(word, "\n", `\n`) + `"`
	}
	return word
}
