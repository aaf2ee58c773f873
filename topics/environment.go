package topics

import (
	"errors"
	"fmt"
	"strings"
)

// Travels tells whether a value may come from the bus into a service's
// environment: [A-Za-z0-9._:/@%+,=-]*. make expands $ in its variables, and
// runs what it finds there.
func Travels(value string) bool {
	for i := range len(value) {
		if !alphanumeric(value[i]) && !strings.ContainsRune("._:/@%+,=-", rune(value[i])) {
			return false
		}
	}
	return true
}

// CheckVariable tells why a variable must not come from the bus into a
// service's environment, or nil: it is no name of one, it steers a loader, a
// shell or make, or its value must not reach make.
func CheckVariable(name, value string) error {
	switch {
	case !isVariable(name):
		return errors.New("is no name of a variable (letters, digits and _)")
	case steers(name):
		return errors.New("steers a loader, a shell or make, and cannot come from the bus (set it in the Makefile or the env_file)")
	case !Travels(value):
		return fmt.Errorf("is %.40q (letters, digits and ._:/@%%+,=- are allowed; put others in the env_file)", value)
	}
	return nil
}

func isVariable(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (!alphanumeric(c) || i == 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return name != ""
}

// steers tells whether a variable changes what a loader, a shell, an
// interpreter, a compiler's driver or make does, and not only what the
// service does.
func steers(key string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "MAKE", "BASH_FUNC_", "GIT_", "GLIBC_", "MALLOC_", "LUA_"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	switch key {
	case "PATH", "SHELL", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "ENV", "IFS", "CDPATH", "PS4", "PROMPT_COMMAND",
		"GNUMAKEFLAGS", "MFLAGS", "VPATH", "CURDIR", "SUFFIXES",
		"AR", "AS", "CC", "CXX", "CPP", "FC", "LD", "LEX", "YACC", "RM", "GO", "GOROOT", "GOFLAGS", "RUSTFLAGS",
		"ARFLAGS", "ASFLAGS", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "FFLAGS", "LDFLAGS", "LDLIBS", "LFLAGS", "YFLAGS",
		"NODE_PATH", "NODE_OPTIONS", "CLASSPATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS",
		"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PERL5LIB", "PERLLIB", "PERL5OPT", "PERL5DB",
		"RUBYLIB", "RUBYOPT", "GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES":
		return true
	}
	return false
}
