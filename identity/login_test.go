package identity_test

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"dominion/identity"
	"dominion/topics"
)

func TestUsersComeInByTheirPasswords(t *testing.T) {
	h, dir := create(t, "Home")
	tests := []struct {
		name string
		role topics.Role
	}{
		{"ann", topics.RoleOperator}, {"homeassistant", topics.RoleHomeAssistant}, {"guest", topics.RoleViewer},
		{"esp-1", topics.RoleNode}, {"thermostat", topics.RoleService},
	}
	for _, tt := range tests {
		password := "correct horse " + tt.name
		if err := h.SetUser(tt.name, tt.role, password); err != nil {
			t.Fatal(err)
		}
		for range 2 { // slowly, then from memory
			account, err := h.Password(tt.name, password)
			want := topics.Identity{Role: tt.role, Name: tt.name}
			if err != nil || account.Name != "user "+tt.name || account.Who != want || account.Key == "" || !h.Stands(account) {
				t.Errorf("%s: %+v, %v", tt.name, account, err)
			}
			for _, wrong := range []string{"", password + " ", "correct horse", strings.ToUpper(password)} {
				if _, err := h.Password(tt.name, wrong); err == nil {
					t.Errorf("%s came in with %q", tt.name, wrong)
				}
			}
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, "users.json"))
	if err != nil || strings.Contains(string(content), "correct horse") {
		t.Errorf("the file of users shows a password, or: %v", err)
	}
	if got := h.Users(); len(got) != len(tests) || got[0].Name != "ann" || got[0].Since.IsZero() {
		t.Errorf("users: %+v", got)
	}
}

func TestAWrongUserLooksLikeAWrongPassword(t *testing.T) {
	h, _ := create(t, "Home")
	admit(t, h, "attic", "machine-1")
	if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	_, want := h.Password("ann", "wrong horse")
	for _, user := range []string{"bob", "", "attic", "attic.lamp", "cellar.lamp", ".", "a.b.c", "\x00", strings.Repeat("x", 1<<16)} {
		if _, err := h.Password(user, "wrong horse"); err == nil || err.Error() != want.Error() {
			t.Errorf("%.20q: %v; for a wrong password: %v", user, err, want)
		}
	}
}

func TestUsersThatCannotBe(t *testing.T) {
	h, _ := create(t, "Home")
	admit(t, h, "attic", "machine-1")
	tests := []struct {
		name     string
		role     topics.Role
		password string
	}{
		{"", topics.RoleOperator, "correct horse"}, {"a.b", topics.RoleOperator, "correct horse"}, {"a:b", topics.RoleOperator, "correct horse"},
		{"a b", topics.RoleOperator, "correct horse"}, {strings.Repeat("x", 64), topics.RoleOperator, "correct horse"},
		{"ann", "", "correct horse"}, {"ann", "king", "correct horse"}, {"ann", topics.RoleCoordinator, "correct horse"},
		{"ann", topics.RoleOperator, ""}, {"coordinator", topics.RoleNode, "correct horse"}, {"state", topics.RoleService, "correct horse"},
		{"attic", topics.RoleNode, "correct horse"}, // whose name is a machine's
	}
	for _, tt := range tests {
		if err := h.SetUser(tt.name, tt.role, tt.password); err == nil {
			t.Errorf("user %q as %q with %q was made", tt.name, tt.role, tt.password)
		}
	}
	if len(h.Users()) != 0 {
		t.Errorf("users: %v", h.Users())
	}
}

func TestAMachineCannotTakeAUsersName(t *testing.T) {
	h, _ := create(t, "Home")
	if err := h.SetUser("esp-1", topics.RoleNode, "correct horse"); err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Admit("esp-1", "machine-1", request(t, key, "esp-1")); err == nil {
		t.Error("it was admitted")
	}
}

func TestAnAccountEndsWithItsPassword(t *testing.T) {
	h, _ := create(t, "Home")
	login := func() topics.Account {
		t.Helper()
		account, err := h.Password("ann", "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		return account
	}
	set := func(role topics.Role, password string) {
		t.Helper()
		if err := h.SetUser("ann", role, password); err != nil {
			t.Fatal(err)
		}
	}
	set(topics.RoleOperator, "correct horse")
	first := login()
	set(topics.RoleOperator, "another horse")
	if h.Stands(first) {
		t.Error("it stands after a new password")
	}
	if _, err := h.Password("ann", "correct horse"); err == nil {
		t.Error("the former password is accepted")
	}
	set(topics.RoleOperator, "correct horse")
	second := login()
	set(topics.RoleViewer, "correct horse")
	if h.Stands(second) {
		t.Error("it stands after a new role")
	}
	third := login()
	if err := h.RemoveUser("ann"); err != nil {
		t.Fatal(err)
	}
	if h.Stands(third) {
		t.Error("it stands after its user was removed")
	}
	if _, err := h.Password("ann", "correct horse"); err == nil {
		t.Error("a removed user came in")
	}
}

func TestServicesHaveLoginsOfTheirOwn(t *testing.T) {
	h, _ := create(t, "Home")
	attic, cellar := admit(t, h, "attic", "machine-1"), admit(t, h, "cellar", "machine-2")
	account, err := h.Password(identity.ServiceLogin("attic", attic.Secret, "lamp"))
	want := topics.Identity{Role: topics.RoleService, Name: "lamp"}
	if err != nil || account.Name != "service attic.lamp" || account.Who != want || !h.Stands(account) {
		t.Errorf("service: %+v, %v", account, err)
	}
	account, err = h.Password(identity.NodeLogin("attic", attic.Secret))
	want = topics.Identity{Role: topics.RoleNode, Name: "attic"}
	if err != nil || account.Name != "node attic" || account.Who != want || !h.Stands(account) {
		t.Errorf("node: %+v, %v", account, err)
	}
	_, lamp := identity.ServiceLogin("attic", attic.Secret, "lamp")
	_, others := identity.ServiceLogin("cellar", cellar.Secret, "lamp")
	_, nodes := identity.NodeLogin("attic", attic.Secret)
	for user, password := range map[string]string{
		"attic.radio": lamp, "cellar.lamp": lamp, "attic": lamp, "attic.lamp": others, "attic.": nodes, "attic.attic": nodes,
		"attic.state": lamp, "attic.lamp.lamp": lamp, "attic.node": nodes,
	} {
		if account, err := h.Password(user, password); err == nil {
			t.Errorf("%s came in with another's password as %+v", user, account)
		}
	}
}

// line is user:$7$iterations$salt$hash as mosquitto 2.0 reads it.
var line = regexp.MustCompile(`^\$7\$([0-9]+)\$([A-Za-z0-9+/]{16})\$([A-Za-z0-9+/]{86}==)$`)

func fits(t *testing.T, hash, password string) bool {
	t.Helper()
	parts := line.FindStringSubmatch(hash)
	if parts == nil {
		t.Fatalf("%q is no line of mosquitto's", hash)
	}
	iterations, err := strconv.Atoi(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	key, err := pbkdf2.Key(sha512.New, password, salt, iterations, 64)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(key) == parts[3]
}

func TestMosquittoIsToldTheSameLogins(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"ann": "correct horse"}
	for _, service := range []topics.Service{"lamp", "radio"} {
		user, password := identity.ServiceLogin("attic", m.Secret, service)
		want[user] = password
	}
	user, password := identity.NodeLogin("attic", m.Secret)
	want[user] = password
	lines, err := h.Mosquitto([]topics.Service{"lamp", "radio"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if !fits(t, l.Hash, want[l.User]) {
			t.Errorf("the line of %s is for another password", l.User)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines for %d logins", len(lines), len(want))
	}
}

func TestWhatMosquittoHashedIsAccepted(t *testing.T) {
	program, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Skip("mosquitto_passwd is not installed")
	}
	file := filepath.Join(t.TempDir(), "passwords")
	if out, err := exec.CommandContext(t.Context(), program, "-b", "-c", file, "ann", "correct horse").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hash, ok := strings.CutPrefix(strings.TrimSpace(string(content)), "ann:")
	if !ok {
		t.Fatalf("mosquitto_passwd wrote %q", content)
	}
	h, dir := create(t, "Home")
	list := fmt.Sprintf(`{"users":{"ann":{"role":"operator","hash":%q}}}`, hash)
	if err := os.WriteFile(filepath.Join(dir, "users.json"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	if account, err := h.Password("ann", "correct horse"); err != nil || account.Name != "user ann" {
		t.Errorf("mosquitto's %q: %+v, %v", hash, account, err)
	}
	if _, err := h.Password("ann", "wrong horse"); err == nil {
		t.Error("another password has the same hash")
	}
}

func TestManyLogInAtOnce(t *testing.T) {
	h, _ := create(t, "Home")
	if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	m := admit(t, h, "attic", "machine-1")
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			password := "correct horse"
			if i%4 == 3 {
				password = "wrong horse"
			}
			if account, err := h.Password("ann", password); (err == nil) != (i%4 != 3) {
				t.Errorf("%q: %+v, %v", password, account, err)
			}
			if _, err := h.Password(identity.ServiceLogin("attic", m.Secret, "lamp")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestNewPasswordsCanBeTyped(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		password := identity.NewPassword()
		if !regexp.MustCompile(`^[a-zA-Z0-9-]{20,24}$`).MatchString(password) || seen[password] {
			t.Errorf("password %q", password)
		}
		seen[password] = true
	}
}
