package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cost is what a process has taken so far, or takes now.
type cost struct {
	processor time.Duration
	resident  float64 // KiB
	share     float64 // KiB, pages that others map too counted in part; 0: it may not be read
	written   float64 // bytes that it had the disk take
	wakes     float64 // how often one of its threads had waited
	sent      float64 // bytes on the wire
	files     map[string]string
}

// tick is the kernel's unit for what /proc says of processor time: USER_HZ.
const tick = 10 * time.Millisecond

// costOf reads what Linux counts, proc(5).
func costOf(pid int) (c cost, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return c, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			return c, fmt.Errorf("%sstat: %w", dir, err)
		}
		c.processor += time.Duration(n) * tick
	}
	if c.resident, err = labelled(dir+"status", "VmRSS:"); err != nil {
		return c, err
	}
	c.share, _ = labelled(dir+"smaps_rollup", "Pss:")
	if c.written, err = labelled(dir+"io", "write_bytes:"); err != nil {
		return c, err
	}
	threads, err := filepath.Glob(dir + "task/*/status")
	for _, t := range threads {
		n, _ := labelled(t, "voluntary_ctxt_switches:")
		c.wakes += n
	}
	return c, err
}

// labelled is the number behind a word at the begin of a line.
func labelled(path, label string) (float64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == label {
			return strconv.ParseFloat(fields[1], 64)
		}
	}
	return 0, fmt.Errorf("%s: no %s", path, label)
}

// filesIn tells how the files of a directory are: what was written is another
// way afterwards.
func filesIn(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files[path] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) { // a file that went meanwhile
		err = nil
	}
	return files, err
}

// changed are the files that were written between two looks.
func changed(before, after map[string]string) (all []string) {
	for path, is := range after {
		if before[path] != is {
			all = append(all, path)
		}
	}
	return all
}
