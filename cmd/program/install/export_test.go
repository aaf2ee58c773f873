package install

import (
	"context"
	"os"
)

// Machine is one that tests make up.
type Machine struct {
	Files      string
	Root       bool
	Executable string
	Invoked    string
	Run        func(name string, args ...string) (string, error)
	Give       func(path string, uid, gid int)
}

func (m Machine) machine() machine {
	return machine{
		files: m.Files, root: m.Root, executable: m.Executable, invoked: m.Invoked,
		run: func(_ context.Context, name string, args ...string) (string, error) { return m.Run(name, args...) },
		give: func(dir *os.Root, name string, uid, gid int) error {
			if _, err := dir.Lstat(name); err != nil {
				return err
			}
			m.Give(dir.Name()+"/"+name, uid, gid)
			return nil
		},
	}
}

func (m Machine) Install(ctx context.Context, o Options) error { return m.machine().install(ctx, o) }
func (m Machine) Uninstall(ctx context.Context, o Options) error {
	return m.machine().uninstall(ctx, o)
}

func Place(executable string) (string, error) { return place(executable) }
