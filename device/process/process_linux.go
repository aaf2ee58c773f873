package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// look reads /proc/<pid>/stat, proc(5): field 3 is the state, 5 the process
// group, 22 the start in clock ticks since the boot. The name in field 2 may
// hold spaces and parentheses.
func look(pid int) (proc, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return proc{}, ErrGone
	}
	if err != nil {
		return proc{}, err
	}
	stat := string(raw)
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return proc{}, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	p := proc{pid: pid, zombie: fields[0] == "Z" || fields[0] == "X", stopped: fields[0] == "T"}
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return proc{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	if p.group, err = strconv.Atoi(fields[2]); err != nil {
		return proc{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	if p.began, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return proc{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return p, nil
}

func list() ([]proc, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []proc
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := look(pid); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// carries tells whether a process was started with that in its environment.
// Another user's environment cannot be read, and is not ours.
func carries(pid int, assignment string) bool {
	return bytes.Contains(append([]byte{0}, environ(pid)...), []byte("\x00"+assignment+"\x00"))
}

// environ is what a process was started with, a zero byte behind each
// assignment; nil if it cannot be read.
func environ(pid int) []byte {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	return env
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}
