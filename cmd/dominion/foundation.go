package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"dominion/broker/client"
	"dominion/cmd/dominion/setup"
	"dominion/cmd/program"
	"dominion/configs"
	"dominion/identity"
	"dominion/topics"
)

// founded is what init made or found, as --json writes it.
type founded struct {
	Name          string     `json:"name"`
	Config        string     `json:"config"`
	Data          string     `json:"data"`
	Broker        string     `json:"broker,omitempty"` // of somebody else's
	Fingerprint   string     `json:"fingerprint"`      // of the house's authority
	Made          bool       `json:"made"`             // now; else it was there
	HomeAssistant *userLogin `json:"homeassistant,omitempty"`
	Boot          bool       `json:"boot"` // the unit was installed
	Notes         []string   `json:"notes,omitempty"`
}

// homeAssistantUser is the login that Home Assistant is given.
const homeAssistantUser = "homeassistant"

// make makes the house. The configuration file comes last: until it is there,
// init can be typed again and begins anew, with what is there already.
func (f *founding) make(cmd *cobra.Command) error {
	made := founded{Made: true}
	accounts, err := f.found(&made)
	if err != nil {
		return denied(err, "dominion init")
	}
	if f.config.Broker == "" && f.homeAssistant.wanted {
		if made.HomeAssistant, err = giveHomeAssistant(accounts); err != nil {
			return denied(err, "dominion init")
		}
	}
	if err := program.WriteFile(filepath.Join(f.config.Data, firstLoginFile), nil); err != nil { // he was asked
		return denied(err, "dominion init")
	}
	if err := f.write(); err != nil {
		return denied(err, "dominion init")
	}
	return f.finish(cmd, made)
}

// again is init where there is a house: nothing of it is overwritten, and what
// is missing is made.
func (f *founding) again(cmd *cobra.Command) error {
	f.config = defaults()
	file, err := configs.Load(&f.config, configs.Source{Path: f.path})
	if err == nil {
		_, err = f.config.check(file)
	}
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	if err := f.contradictions(); err != nil {
		return err
	}
	made := founded{}
	accounts, err := f.found(&made)
	if errors.Is(err, fs.ErrPermission) && !f.boot.said && !f.homeAssistant.said {
		made = founded{Name: f.config.Name, Config: f.path, Data: f.config.Data, Notes: []string{"More of it only root and the leader's own user may see."}}
		return told(cmd, f.json, made, func(w io.Writer) { f.tell(w, made) })
	}
	if err != nil {
		return denied(err, "dominion init")
	}
	if f.boot.said {
		if err := f.bootDenied(); err != nil {
			return err
		}
	}
	known := slices.ContainsFunc(accounts.Users(), func(u identity.User) bool { return u.Name == homeAssistantUser })
	if f.config.Broker == "" && f.homeAssistant.said && f.homeAssistant.wanted && !known {
		if made.HomeAssistant, err = giveHomeAssistant(accounts); err != nil {
			return denied(err, "dominion init")
		}
	}
	return f.finish(cmd, made)
}

// contradictions refuses flags that want the house to be another.
func (f *founding) contradictions() error {
	wanted := defaults()
	file, err := configs.Load(&wanted, configs.Source{Path: f.path, Flags: f.said})
	if err != nil {
		return &program.Exit{Code: program.BadUsage, Err: err}
	}
	if _, err := wanted.check(file); err != nil {
		return err
	}
	var differ []string
	for i, t := range reflect.VisibleFields(reflect.TypeFor[config]()) {
		key := t.Tag.Get("toml")
		is, want := reflect.ValueOf(f.config).Field(i).Interface(), reflect.ValueOf(wanted).Field(i).Interface()
		if _, said := f.said[key]; said && !sameSetting(is, want) {
			differ = append(differ, fmt.Sprintf("%s is %v there, not %v", key, is, want))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return program.Fail(program.Unwell, "there is a house already, and it was not changed: %s (edit %s and restart the leader; or make another house with --config and --data elsewhere)",
		strings.Join(differ, "; "), f.path)
}

// sameSetting compares values; paths may be written in two ways.
func sameSetting(is, want any) bool {
	if a, ok := is.(string); ok {
		b := want.(string)
		whole, err := filepath.Abs(b)
		return a == b || err == nil && a == whole
	}
	return reflect.DeepEqual(is, want)
}

// found makes what of the house's data is not there: identity, the operator's
// login, passwords that were typed.
func (f *founding) found(made *founded) (*identity.House, error) {
	if err := os.MkdirAll(f.config.Data, 0o700); err != nil {
		return nil, err
	}
	dir := filepath.Join(f.config.Data, identityDir)
	accounts, err := identity.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		accounts, err = identity.Create(dir, f.config.Name)
	}
	if err != nil {
		return nil, err
	}
	for _, s := range f.secrets {
		*s.setting = f.dataPath(s.name)
		if err := program.WriteFile(*s.setting, []byte(s.password+"\n")); err != nil {
			return nil, err
		}
	}
	if f.config.NodeUsername == f.config.Username && f.config.NodePasswordFile == "" {
		f.config.NodePasswordFile = f.config.PasswordFile
	}
	login, err := f.operatorLogin(accounts)
	if err != nil {
		return nil, err
	}
	made.Name, made.Config, made.Data, made.Broker = f.config.Name, f.path, f.config.Data, f.config.Broker
	made.Fingerprint = accounts.Fingerprint()
	if err := leaveWithUser(login); err != nil {
		made.Notes = append(made.Notes, err.Error()) // the house does not need it
	}
	return accounts, nil
}

// operatorLogin is the broker's address with the login of the local command
// line: the one that is there if it stands, else a new one.
func (f *founding) operatorLogin(accounts *identity.House) (string, error) {
	path := f.dataPath(operatorFile)
	if f.config.Broker != "" {
		login, err := program.BrokerURL(f.config.Broker, f.config.Username, f.config.PasswordFile)
		if err != nil {
			return "", err
		}
		return login, program.WriteFile(path, []byte(login+"\n"))
	}
	if written, err := readOperator(path); err == nil {
		user, password := loginOf(written)
		if a, err := accounts.Password(user, password); err == nil && a.Who.Role == topics.RoleOperator {
			return written, nil
		}
	}
	password := identity.NewPassword()
	if err := accounts.SetUser(operatorName, topics.RoleOperator, password); err != nil {
		return "", err
	}
	login := url.URL{Scheme: "mqtt", User: url.UserPassword(operatorName, password), Host: net.JoinHostPort("127.0.0.1", plainPort)}
	if own := reached(f.config.Listen); own.port != "" {
		login.Host = net.JoinHostPort("127.0.0.1", own.port)
	}
	return login.String(), program.WriteFile(path, []byte(login.String()+"\n"))
}

func giveHomeAssistant(accounts *identity.House) (*userLogin, error) {
	u := &userLogin{User: homeAssistantUser, Role: topics.RoleHomeAssistant, Password: identity.NewPassword(), Changed: true}
	return u, accounts.SetUser(u.User, u.Role, u.Password)
}

// write writes the configuration file, which is checked before it is there.
func (f *founding) write() error {
	text, err := setup.First(configs.DominionExample(), f.settings())
	if err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	release, err := alone(dir)
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Lstat(f.path); err == nil {
		return fmt.Errorf("%s: %w", f.path, errMeanwhile)
	}
	return newFile(f.path, text)
}

// settings are the keys of the new file.
func (f *founding) settings() []setup.Setting {
	c := f.config
	all := []setup.Setting{setup.Text("name", c.Name), setup.Text("data", c.Data), setup.Text("https", c.HTTPS)}
	text := func(key, value string) {
		if value != "" {
			all = append(all, setup.Text(key, value))
		}
	}
	if c.Broker == "" {
		all = append(all, setup.List("listen", c.Listen...), setup.List("listen_tls", c.ListenTLS...))
	} else {
		text("broker", c.Broker)
		text("username", c.Username)
		text("password_file", c.PasswordFile)
		text("logins", c.Logins)
		text("node_username", c.NodeUsername)
		text("node_password_file", c.NodePasswordFile)
	}
	if c.Domain != "" {
		text("domain", string(c.Domain))
		all = append(all, setup.List("traits", words(c.Traits)...))
		text("services_dir", c.ServicesDir)
	}
	for key, value := range map[string]string{"base": string(c.Base), "prefix": c.Prefix} {
		if _, said := f.said[key]; said {
			text(key, value)
		}
	}
	return all
}

func words[S ~string](all []S) []string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = string(s)
	}
	return texts
}

// finish starts the house at boot if that is wanted, and tells what there is.
func (f *founding) finish(cmd *cobra.Command, made founded) error {
	w := cmd.OutOrStdout()
	if silent := f.silentBroker(cmd.Context()); silent != "" {
		made.Notes = append(made.Notes, "Nobody answers at "+silent+" now. The leader waits until the broker there does. If the address is wrong: it is in "+f.path+".")
	}
	if !f.json {
		f.tell(w, made)
	}
	if f.boot.wanted && (made.Made || f.boot.said) {
		if err := startAtBoot(cmd.Context(), cmd.ErrOrStderr(), f.path, f.passwordFiles(), made.Made); err != nil {
			return program.Fail(program.CannotRun, "the house is there, but it does not start at boot: %w", err)
		}
		made.Boot = true
	}
	return told(cmd, f.json, made, func(w io.Writer) { f.next(w, made) })
}

// silentBroker is where somebody else's broker should listen, if nobody does.
func (f *founding) silentBroker(ctx context.Context) string {
	if f.config.Broker == "" {
		return ""
	}
	address, err := client.HostPort(f.config.Broker)
	if err != nil || knock(ctx, address) {
		return ""
	}
	return address
}

// passwordFiles are those that the configuration names, if any.
func (f *founding) passwordFiles() []string {
	return slices.DeleteFunc([]string{f.config.PasswordFile, f.config.NodePasswordFile}, func(path string) bool { return path == "" })
}

func (f *founding) tell(w io.Writer, made founded) {
	what := "is made"
	if !made.Made {
		what = "is there already, and was not changed"
	}
	fmt.Fprintf(w, "The house %s %s.\n", made.Name, what)
	fmt.Fprintf(w, "  settings     %s\n  data         %s\n", made.Config, made.Data)
	if made.Broker != "" {
		fmt.Fprintf(w, "  broker       %s\n", program.Redacted(made.Broker))
	}
	if made.Fingerprint != "" {
		fmt.Fprintf(w, "  fingerprint  %s\n", made.Fingerprint)
	}
	if made.Made {
		fmt.Fprintln(w, "Keep a copy of its data where nobody else finds it: who has it owns the house.")
	}
	if u := made.HomeAssistant; u != nil {
		fmt.Fprintln(w)
		showPassword(w, &local{config: f.config}, *u)
	}
	for _, n := range made.Notes {
		fmt.Fprint(w, "\n"+styleOf(w).Paragraph(n, 0))
	}
}

// next is what to type.
func (f *founding) next(w io.Writer, made founded) {
	style := styleOf(w)
	leads := (&local{config: f.config}).leads()
	if leads && made.Made && !made.Boot {
		fmt.Fprint(w, "\n"+style.Paragraph("A leader runs with that data already. It has other settings: stop it, and start it again.", 0))
	}
	if !leads {
		for _, address := range occupied(f.config.addresses()) {
			fmt.Fprint(w, "\n"+style.Paragraph("Another program listens on "+address+" already. Give the leader another port there (in "+f.path+"), or end that program.", 0))
		}
	}
	fmt.Fprint(w, "\nnext:\n")
	if leads || made.Boot {
		fmt.Fprintln(w, "  dominion status    how it is: it runs")
	} else {
		fmt.Fprintln(w, "  dominion serve     start it")
	}
	fmt.Fprintln(w, "  dominion add DIR   have it run a service")
	fmt.Fprintln(w, "  dominion invite    let another machine join")
}

// addresses are those that the leader will listen on.
func (c *config) addresses() []string {
	var all []string
	if c.Broker == "" {
		all = slices.Concat(c.Listen, c.ListenTLS)
	}
	for _, address := range []string{c.HTTPS, c.HTTP} {
		if address != "" {
			all = append(all, address)
		}
	}
	return all
}

// occupied are the addresses that cannot be listened on now.
func occupied(addresses []string) []string {
	var all []string
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		switch {
		case err == nil:
			listener.Close()
		case errors.Is(err, syscall.EADDRINUSE):
			all = append(all, address)
		}
	}
	return all
}
