package demo

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"dominion/cmd/dominion/demo/programs"
	"dominion/topics"
)

const leader = "leader"

// company are the processes of the house: the leader and the agents. It is
// not safe for concurrent use.
type company struct {
	executable string
	house      topics.HouseID
	environ    []string
	folder     *folder
	lifeline   *os.File // its other end is held by this process alone
	hold       *os.File
	running    map[string]*member
	deaths     chan death
}

// member is one process of the company.
type member struct {
	process *os.Process
	began   time.Time
}

// death is the end of a member.
type death struct {
	name   string
	how    string // "killed", "exit status 1"
	itself bool   // no signal ended it
}

func newCompany(executable string, f *folder) (*company, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &company{
		executable: executable, house: topics.HouseID(topics.NewID(6)), environ: cleanEnvironment(os.Environ()), folder: f,
		lifeline: read, hold: write,
		running: map[string]*member{}, deaths: make(chan death, 16),
	}, nil
}

// start starts the leader or an agent in a process group of its own: a Ctrl-C
// at the terminal is the parent's alone, so that the house ends in order.
func (c *company) start(name string) error {
	log, err := os.OpenFile(c.folder.file("log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"domain", "--config", c.folder.file(name + ".toml")}
	if name == leader {
		args = []string{"serve", "--config", c.folder.file("dominion.toml"), "--house", string(c.house)}
	}
	cmd := exec.Command(c.executable, append(args, "--ephemeral", "--until-eof", "3")...)
	cmd.Dir = c.folder.path
	cmd.Env = c.environ
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{c.lifeline}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.running[name] = &member{process: cmd.Process, began: time.Now()}
	go func() {
		err := cmd.Wait()
		d := death{name: name, how: "by itself", itself: true}
		if err != nil {
			d.how = err.Error()
		}
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			d.itself = false
			d.how = status.Signal().String()
		}
		c.deaths <- d
	}()
	return nil
}

// signal is for the process alone; what it started is its own affair.
func (c *company) signal(name string, s syscall.Signal) {
	if m, ok := c.running[name]; ok {
		_ = m.process.Signal(s) // one that has ended just now is as good
	}
}

// bury forgets a member that died.
func (c *company) bury(d death) *member {
	m := c.running[d.name]
	delete(c.running, d.name)
	return m
}

// unplug ends all service processes of a domain at once, as a power cut does.
func (c *company) unplug(domain topics.Node) error {
	living, err := programs.Census(c.folder.path)
	for _, l := range living {
		if l.Domain == domain {
			killGroup(l.PID)
		}
	}
	return err
}

// killGroup ends a service with make and whatever else is in its group.
func killGroup(pid int) {
	group, err := syscall.Getpgid(pid)
	if err != nil || group == syscall.Getpgrp() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
}

func (c *company) close() {
	c.lifeline.Close()
	c.hold.Close()
}
