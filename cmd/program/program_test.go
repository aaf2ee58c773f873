package program_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"context"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"dominion/cmd/program"
	"dominion/topics"
)

func TestMainExits(t *testing.T) {
	tests := []struct {
		name string
		err  error
		args []string
		code int
		says string
	}{
		{name: "well", code: 0},
		{name: "with its code", err: program.Fail(program.NoAnswer, "no broker at %s", "x"), code: 4, says: "tool: no broker at x\n"},
		{name: "silently with its code", err: &program.Exit{Code: program.Unwell}, code: 1},
		{name: "unwell for any other error", err: errors.New("broken"), code: 1, says: "tool: broken\n"},
		{name: "for an unknown flag", args: []string{"--nope"}, code: 2, says: "tool: unknown flag: --nope (tool --help)\n"},
		{name: "for too many arguments", args: []string{"a"}, code: 2, says: "tool: unknown command \"a\" for \"tool\" (tool --help)\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := &cobra.Command{Use: "tool", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return tt.err }}
			cmd.SetArgs(tt.args)
			cmd.SetErr(&out)
			code := program.Main(cmd)
			if code != tt.code || out.String() != tt.says {
				t.Errorf("exit %d, said %q; want exit %d, %q", code, out.String(), tt.code, tt.says)
			}
		})
	}
}

func TestMainEndsOnASignalAndSaysWhich(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		var cause error
		cmd := &cobra.Command{Use: "tool", RunE: func(cmd *cobra.Command, _ []string) error {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				return err
			}
			<-cmd.Context().Done()
			cause = context.Cause(cmd.Context())
			return nil
		}}
		cmd.SetArgs(nil)
		if code := program.Main(cmd); code != 0 {
			t.Errorf("%v: exit code %d", sig, code)
		}
		var signalled *program.Signalled
		if !errors.As(cause, &signalled) || signalled.Signal != sig {
			t.Errorf("%v: cause is %v", sig, cause)
		}
	}
}

func TestUntilEOF(t *testing.T) {
	r, w := io.Pipe()
	ctx, cancel := program.UntilEOF(t.Context(), r)
	defer cancel()
	if _, err := w.Write([]byte("still there")); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Error("ended while the pipe was open")
	}
	w.Close()
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("did not end with the pipe")
	}
}

func TestOpenData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "data")
	first, err := program.OpenData(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := topics.CheckName(string(first.ID)); err != nil || len(first.ID) < 20 {
		t.Errorf("machine id %q: %v", first.ID, err)
	}
	if _, err := program.OpenData(path); err == nil || !strings.Contains(err.Error(), "is in use by process") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a second process may have it: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := program.OpenData(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.ID != first.ID {
		t.Errorf("machine id was %s, is %s", first.ID, again.ID)
	}
}

func TestWriteFileGivesWhatRootWritesToTheDirectorysOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir := t.TempDir()
	const uid, gid = 12345, 23456
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "file")
	if err := program.WriteFile(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != uid || owner.Gid != gid || info.Mode() != 0o600 {
		t.Errorf("the file is %d:%d's, %v", owner.Uid, owner.Gid, info.Mode())
	}
}

func TestOpenDataRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below"), "/proc/nowhere"} {
		d, err := program.OpenData(path)
		if err == nil {
			d.Close()
			t.Errorf("%s was opened", path)
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--data") {
			t.Errorf("%s: the error names no path or no remedy: %v", path, err)
		}
	}
}

func TestBrokerURL(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("p@ss/word\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ broker, user, file, want, err string }{
		{"mqtt://10.0.0.1:1883", "", "", "mqtt://10.0.0.1:1883", ""},
		{"10.0.0.1:1883", "", "", "mqtt://10.0.0.1:1883", ""},
		{"", "", "", "", ""},
		{"mqtt://10.0.0.1", "ann", "", "mqtt://ann@10.0.0.1", ""},
		{"mqtt://10.0.0.1", "ann", secret, "mqtt://ann:p%40ss%2Fword@10.0.0.1", ""},
		{"mqtt://ann@10.0.0.1", "", secret, "mqtt://ann:p%40ss%2Fword@10.0.0.1", ""},
		{"mqtt://10.0.0.1", "", secret, "", "no username"},
		{"mqtt://10.0.0.1", "ann", secret + "x", "", "no such file"},
		{"mqtt://10.0.0.1", "ann", os.DevNull, "", "first line is empty"},
	}
	for _, tt := range tests {
		got, err := program.BrokerURL(tt.broker, tt.user, tt.file)
		if tt.err == "" && (err != nil || got != tt.want) {
			t.Errorf("%+v gives %q, %v", tt, got, err)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%+v gives %q, %v", tt, got, err)
		}
	}
	if got := program.Redacted("mqtt://ann:secret@10.0.0.1:1883"); got != "mqtt://ann@10.0.0.1:1883" {
		t.Errorf("redacted is %q", got)
	}
}

func TestNameOf(t *testing.T) {
	want := map[string]topics.Node{
		"attic": "attic", "attic.local": "attic", "my_pi-4": "my_pi-4", "ünser haus": "nser-haus", "-x-": "x",
		"": "", "...": "", "coordinator": "", "Service": "", strings.Repeat("a", 70): topics.Node(strings.Repeat("a", 63)),
	}
	got := map[string]topics.Node{}
	for host := range want {
		got[host] = program.NameOf(host)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewLog(t *testing.T) {
	var out bytes.Buffer
	log, err := program.NewLog(&out, "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info().Msg("quiet")
	log.Warn().Str("domain", "attic").Msg("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "WRN loud domain=attic") || strings.Contains(got, "\x1b") {
		t.Errorf("logged %q", got)
	}
	if _, err := program.NewLog(&out, "shout"); err == nil || !strings.Contains(err.Error(), "debug, info, warn or error") {
		t.Errorf("level shout: %v", err)
	}
}

func TestNewLogLeavesTheTimeToTheJournal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	for _, tt := range []struct{ stream, want string }{
		{fmt.Sprintf("%d:%d", stat.Dev, stat.Ino), "WRN loud"},
		{fmt.Sprintf("%d:%d", stat.Dev, stat.Ino+1), time.Now().Format("2006-")},
		{"", time.Now().Format("2006-")},
	} {
		t.Setenv("JOURNAL_STREAM", tt.stream)
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		log, err := program.NewLog(file, "info")
		if err != nil {
			t.Fatal(err)
		}
		log.Warn().Msg("loud")
		said, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimLeft(string(said), "\x00"); !strings.HasPrefix(got, tt.want) {
			t.Errorf("with the journal at %q it logs %q", tt.stream, got)
		}
	}
}
