// Package unit renders the systemd units of Dominion: what a machine that
// starts it at boot is told. It is pure; package install brings the units onto
// machines, and packaging puts them into packages.
package unit

import (
	_ "embed"
	"path/filepath"
	"slices"
	"strings"
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

// The text of a unit: its frame, and in it the manners of one that runs
// services, or the walls around one that does not. A word between @ is put in.
var (
	//go:embed unit.service
	frame string
	//go:embed runs.service
	runs string
	//go:embed walls.service
	walls string
)

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
	is := p.words()
	return strings.NewReplacer(
		"@part@", is.part, "@description@", is.description, "@condition@", is.condition, "@mode@", is.mode, "@secrets@", is.secrets,
		"@name@", p.Name, "@user@", user, "@command@", strings.Join(words, " "),
		"@config@", p.Config, "@state@", p.StatePath(), "@directory@", p.State, "@writes@", p.writes(),
	).Replace(strings.Replace(frame, "@manners@", is.manners, 1))
}

// words are those of a unit that differ from part to part. A package for
// templates would say it shorter, and make the agent's program larger by a
// fourth.
type words struct{ part, description, condition, mode, manners, secrets string }

func (p Part) words() words {
	if !p.Leads {
		return words{
			part: "the agent of this machine", description: "the agent that runs this machine's services",
			mode: "StateDirectoryMode=0700", manners: runs,
		}
	}
	w := words{
		part: "the leader of a house", description: "the leader of the house",
		condition: `# Without a house there is nothing to lead: dominion init makes one.
ConditionPathExists=` + p.Config + "\n",
		mode: `# The agent's, of another user, is below it. What is the leader's own is 0700.
StateDirectoryMode=0711`,
		manners: walls,
	}
	if p.Runs {
		w.description += " and this machine's services"
		w.manners = runs
		w.secrets = ` The leader's secrets are this user's too: to
# keep them from the services, take domain out of ` + p.Config + `
# and install the agent beside the leader (dominion domain install).`
	}
	return w
}

func (p Part) writes() string {
	var all strings.Builder
	for _, dir := range p.Writes {
		all.WriteString("\nReadWritePaths=-" + dir)
	}
	return all.String()
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
