package mosquitto_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/cmd/dominion/mosquitto"
	"dominion/topics"
)

func node(name string) topics.Identity { return topics.Identity{Role: topics.RoleNode, Name: name} }
func service(name string) topics.Identity {
	return topics.Identity{Role: topics.RoleService, Name: name}
}

// household is one login of each kind.
func household() []mosquitto.Login {
	login := func(user, about string, who ...topics.Identity) mosquitto.Login {
		return mosquitto.Login{User: user, About: about, Who: who}
	}
	return []mosquitto.Login{
		login("dominion", "the leader", topics.Identity{Role: topics.RoleCoordinator}),
		login("ann", "user ann: operator", topics.Identity{Role: topics.RoleOperator}),
		login("ha", "user ha: homeassistant", topics.Identity{Role: topics.RoleHomeAssistant}),
		login("vera", "user vera: viewer", topics.Identity{Role: topics.RoleViewer}),
		login("attic", "node attic", node("attic")),
		login("attic.lamp", "service lamp on attic", service("lamp")),
		login("shared", "nodes", node("kitchen"), node("porch")),
		login("shared", "services", service("lamp")),
	}
}

// TestRules compares with a file; set UPDATE_GOLDEN to write it, and read the
// difference.
func TestRules(t *testing.T) {
	got := mosquitto.Rules(topics.Space{}, "Villa Kunterbunt", household(), []string{"zigbee2mqtt", "tasmota/cmnd"})
	path := filepath.Join("testdata", "house.acl")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	for _, line := range strings.Split(got, "\n") {
		if len(line) > 80 {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
}

// rights reads an acl_file as mosquitto does: what each user may write and read.
type rights map[string]*struct{ write, read, deny []string }

func parse(t *testing.T, file string) rights {
	t.Helper()
	all, user := rights{}, ""
	for _, line := range strings.Split(file, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		switch words := strings.Split(line, " "); {
		case words[0] == "user" && len(words) == 2:
			user = words[1]
			if all[user] != nil {
				t.Fatalf("%s stands there twice", user)
			}
			all[user] = &struct{ write, read, deny []string }{}
		case words[0] == "topic" && len(words) == 3 && user != "":
			if words[1] == "deny" {
				all[user].deny = append(all[user].deny, words[2])
			}
			if strings.Contains(words[1], "write") {
				all[user].write = append(all[user].write, words[2])
			}
			if strings.Contains(words[1], "read") {
				all[user].read = append(all[user].read, words[2])
			}
		default:
			t.Fatalf("not a line of an acl_file: %q", line)
		}
	}
	return all
}

// matches is mosquitto's own rule for a topic and a filter.
func matches(filters []string, topic string) bool {
	for _, filter := range filters {
		if strings.HasPrefix(topic, "$") == strings.HasPrefix(filter, "$") && matchesOne(strings.Split(filter, "/"), strings.Split(topic, "/")) {
			return true
		}
	}
	return false
}

func matchesOne(filter, topic []string) bool {
	for i, level := range filter {
		switch {
		case level == "#":
			return true
		case i >= len(topic), level != "+" && level != topic[i]:
			return false
		}
	}
	return len(filter) == len(topic)
}

// TestMosquittoAllowsNoMoreThanWeDo holds for any topic: what the file allows,
// our own broker allows too, but for what it only lets be cleared; and what
// ours allows the file does, but for clearing by Home Assistant, reading what
// one may not write, and the topics of programs that it was not told of.
func TestMosquittoAllowsNoMoreThanWeDo(t *testing.T) {
	space := topics.Space{Base: "home/dominion"}
	file := parse(t, mosquitto.Rules(space, "x", household(), []string{"zigbee2mqtt"}))
	levels := strings.Fields("attic kitchen coordinator reader service state event desired command join forget lamp ready lookup sync homeassistant device status zigbee2mqtt $SYS")
	random := rand.New(rand.NewPCG(4, 4))
	seen := map[string]int{}
	for range 30_000 {
		var picked []string
		switch random.IntN(8) {
		case 0, 1:
		case 2:
			picked = []string{"home", "dominion", "coordinator", "command"}
		default:
			picked = []string{"home", "dominion"}
		}
		for range 1 + random.IntN(5) {
			picked = append(picked, levels[random.IntN(len(levels))])
		}
		topic := strings.Join(picked, "/")
		for user, who := range identities() {
			write, empty, read := ours(space, who, topic)
			theirs := file[user]
			denied := matches(theirs.deny, topic)
			told := strings.HasPrefix(topic, "zigbee2mqtt/") || topic == "zigbee2mqtt"
			switch w := !denied && matches(theirs.write, topic); {
			case w && !write && !(empty && clears(who)):
				t.Fatalf("mosquitto lets %s write %s, we do not", user, topic)
			case !w && write && (told || !space.Foreign(topic)):
				t.Fatalf("we let %s write %s, mosquitto does not", user, topic)
			case w:
				seen[user+" writes"]++
			}
			if denied {
				seen[user+" is denied"]++
			} else if r := matches(theirs.read, topic); r != read && !strings.HasPrefix(topic, "$") {
				t.Fatalf("mosquitto lets %s read %s: %v, we: %v", user, topic, r, read)
			} else if r {
				seen[user+" reads"]++
			}
		}
	}
	if seen["ha is denied"] == 0 {
		t.Error("Home Assistant is never denied anything")
	}
	for user := range identities() {
		if seen[user+" reads"] == 0 || seen[user+" writes"] == 0 && user != "vera" {
			t.Errorf("%s is never allowed anything: %v", user, seen)
		}
	}
}

// A login that is Home Assistant's and an operator's may what either may.
func TestADenialIsOfTheWholeLogin(t *testing.T) {
	ha, operator := topics.Identity{Role: topics.RoleHomeAssistant}, topics.Identity{Role: topics.RoleOperator}
	for name, c := range map[string]struct {
		who    []topics.Identity
		denies bool
	}{
		"Home Assistant":                 {[]topics.Identity{ha}, true},
		"Home Assistant and a node":      {[]topics.Identity{ha, node("attic")}, true},
		"Home Assistant and an operator": {[]topics.Identity{ha, operator}, false},
	} {
		got := mosquitto.Rules(topics.Space{}, "x", []mosquitto.Login{{User: "u", Who: c.who}}, nil)
		for _, line := range []string{"topic deny dominion/coordinator/command/join/#\n", "topic deny dominion/coordinator/command/forget/#\n"} {
			if strings.Contains(got, line) != c.denies {
				t.Errorf("%s: denied %v, want %v: %s", name, !c.denies, c.denies, line)
			}
		}
	}
}

func identities() map[string][]topics.Identity {
	all := map[string][]topics.Identity{}
	for _, l := range household() {
		all[l.User] = append(all[l.User], l.Who...)
	}
	return all
}

func ours(space topics.Space, who []topics.Identity, topic string) (write, empty, read bool) {
	for _, id := range who {
		write = write || space.MayWrite(id, topic)
		empty = empty || space.MayEmpty(id, topic)
		read = read || space.MayRead(id, topic)
	}
	return write, empty, read
}

// clears are those that may write what we let be cleared; the file says so.
func clears(who []topics.Identity) bool {
	return who[0].Role == topics.RoleNode || who[0].Role == topics.RoleCoordinator
}

func TestWhatIsForeign(t *testing.T) {
	space := topics.Space{Base: "home/dominion"}
	for topic, want := range map[string]bool{
		"zigbee2mqtt": true, "tasmota/cmnd": true, "homeassistant/sensor": true, "home/other": true, "home/dominion2": true,
		"home": false, "home/dominion": false, "home/dominion/attic": false, "homeassistant": false, "homeassistant/device": false,
		"homeassistant/device/x": false, "": false, "#": false, "a/+": false, "$SYS": false, "a b": false, "a\nuser eve": false, "a/": false,
	} {
		if err := mosquitto.CheckForeign(space, topic); (err == nil) != want {
			t.Errorf("%q: %v", topic, err)
		}
	}
}

func TestTheFileFollowsTheSpace(t *testing.T) {
	got := mosquitto.Rules(topics.Space{Base: "home/dominion", Prefix: "ha"}, "x", household(), nil)
	for _, line := range strings.Split(got, "\n") {
		rest, ok := strings.CutPrefix(line, "topic ")
		if !ok {
			continue
		}
		_, filter, _ := strings.Cut(rest, " ")
		ours := strings.HasPrefix(filter, "home/dominion/") || strings.HasPrefix(filter, "ha/")
		if !ours && filter != "#" && filter != "$SYS/#" {
			t.Errorf("%q is of another house", line)
		}
	}
}
