package install

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dominion/cmd/program"
)

// systemPrograms are the directories from which a unit may start a program:
// only root writes there, and they are there at boot.
func systemPrograms() []string {
	return []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"}
}

// place is the path a unit starts a program from that was started from another.
func place(executable string) (string, error) {
	if strings.Contains(executable, "/go-build") {
		return "", program.Fail(program.BadUsage, "%s is a temporary program of go run or go test, gone tomorrow (build it: CGO_ENABLED=0 go build -o . ./cmd/...; then install that)", executable)
	}
	if slices.Contains(systemPrograms(), filepath.Dir(executable)) {
		return executable, nil
	}
	return filepath.Join("/usr/local/bin", filepath.Base(executable)), nil
}

// putProgram copies this program to where a unit may start it, unless it is
// there already. It tells whether a file changed.
func (m machine) putProgram(o Options) (path string, changed bool, err error) {
	path, err = place(m.executable)
	if err != nil || path == m.executable {
		return path, false, err
	}
	own, err := os.Open(m.executable)
	if err != nil {
		return "", false, err
	}
	defer own.Close()
	switch same, err := sameContent(own, m.path(path)); {
	case err != nil:
		return "", false, err
	case same:
		return path, false, nil
	}
	if err := replaceable(m.path(path), path, o.Part.Program); err != nil {
		return "", false, err
	}
	content, err := io.ReadAll(own)
	if err != nil {
		return "", false, err
	}
	if err := m.write(path, content, 0o755); err != nil {
		return "", false, err
	}
	fmt.Fprintf(o.Out, "copied this program to %s\n", path)
	return path, true, nil
}

// sameContent compares an open file, which it leaves at its beginning, with
// another that need not be there.
func sameContent(f *os.File, path string) (bool, error) {
	defer f.Seek(0, io.SeekStart)
	other, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer other.Close()
	var sums [2][]byte
	for i, r := range []io.Reader{f, other} {
		hash := sha256.New()
		if _, err := io.Copy(hash, r); err != nil {
			return false, err
		}
		sums[i] = hash.Sum(nil)
	}
	return bytes.Equal(sums[0], sums[1]), nil
}

// builtHere is how the Go linker writes down what a program of ours is. (The
// package that reads it knows all formats of programs, and is as large.)
const builtHere = "path\tdominion/cmd/"

// replaceable tells why a file is not overwritten: it is not an earlier build
// of one of our programs.
func replaceable(file, path, name string) error {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if bytes.Contains(content, []byte(builtHere)) {
		return nil
	}
	return program.Fail(program.CannotRun, "%s is another program, and is left alone (move it away; or put this one into /usr/bin as %s, and install that)", path, name)
}
