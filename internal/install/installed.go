package install

import (
	"errors"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Installed is an entry of this program in the settings of an MCP host.
type Installed struct {
	Host, Title string // of the host, as in Names and as people call it
	File        string // that holds the settings
	Entry       Entry
	Via         string // what the host starts in place of the program, such as npx or docker; "" for the program itself
	Contained   bool   // it runs in a container with a network of its own, where 127.0.0.1 is not this machine
	Off         bool   // the settings say that the server is not to be started
	Err         error  // the file could not be read; then there is no Entry
}

// Find returns the entries that start a program of this name, such as ollama-mcp, in the
// settings of the user and of the project in the current directory. The program may be started
// by npx from its package, or by docker from its image; then Args and Env of the entry are those
// that the program gets. It changes nothing.
func Find(p Places, program string) []Installed {
	var all []Installed
	for _, h := range hosts {
		for _, project := range []bool{false, true} {
			if project && h.project == "" {
				continue
			}
			all = append(all, h.find(h.file(p, project), program)...)
		}
	}
	return all
}

// find returns the entries in one file.
func (h host) find(file, program string) []Installed {
	here := Installed{Host: h.name, Title: h.title, File: file}
	text, _, err := read(&here.File)
	if err != nil {
		here.Err = err
		return []Installed{here}
	}
	_, body := cutBOM(text)
	settings, err := h.format.parse(body)
	if err != nil {
		if !strings.Contains(string(body), program) {
			return nil // and so of no concern to us
		}
		here.Err = errors.New("cannot be read: " + err.Error())
		return []Installed{here}
	}
	servers, _ := lookUp(settings, h.servers(settings)).(map[string]any)
	var found []Installed
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		one := here
		one.Entry, one.Off = entryFrom(servers[name])
		one.Entry.Name = name
		switch command := baseName(one.Entry.Command); {
		case command == program:
			found = append(found, one)
		case one.unwrap(command, program):
			found = append(found, one)
		}
	}
	return found
}

// entryFrom reads what plain and the entries of other hosts write. Members that are missing or
// of another form are left empty.
func entryFrom(value any) (e Entry, off bool) {
	entry, _ := value.(map[string]any)
	var command []string
	switch c := entry["command"].(type) {
	case string:
		command = []string{c}
	case []any: // with its arguments
		command = texts(c)
	}
	if len(command) > 0 {
		e.Command, e.Args = command[0], command[1:]
	}
	args, _ := entry["args"].([]any)
	e.Args = append(e.Args, texts(args)...)
	e.Env = make(map[string]string)
	for _, name := range []string{"env", "environment"} {
		env, _ := entry[name].(map[string]any)
		for variable, value := range env {
			if text, ok := value.(string); ok {
				e.Env[variable] = text
			}
		}
	}
	return e, entry["disabled"] == true || entry["enabled"] == false
}

func texts(list []any) (all []string) {
	for _, item := range list {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// baseName is the name of a program without its folder and without what Windows puts behind it.
func baseName(command string) string {
	base := filepath.Base(strings.ReplaceAll(command, `\`, "/"))
	for _, suffix := range []string{".exe", ".cmd"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return base
}

// Programs that start another: from a package of npm, or in a container.
var (
	launchers  = map[string]bool{"npx": true, "bunx": true, "pnpm": true, "yarn": true}
	containers = map[string]bool{"docker": true, "podman": true, "nerdctl": true}
)

// unwrap makes the entry that of the program if the command is one that starts it from its
// package or its image, and reports whether it is. Both have a path before the program's name:
// the package without one is another's.
func (i *Installed) unwrap(command, program string) bool {
	if !launchers[command] && !containers[command] {
		return false
	}
	at := slices.IndexFunc(i.Entry.Args, func(arg string) bool {
		dir, name := path.Split(arg)
		name, _, _ = strings.Cut(name, "@")
		name, _, _ = strings.Cut(name, ":")
		return len(dir) > 1 && name == program && !strings.HasPrefix(arg, "-")
	})
	if at < 0 {
		return false
	}
	i.Via = command
	before := i.Entry.Args[:at]
	i.Entry.Args = i.Entry.Args[at+1:]
	if containers[command] {
		i.Entry.Env = passedOn(before, i.Entry.Env)
		i.Contained = !sharesNetwork(before)
	}
	return true
}

// passedOn are the variables that a container gets: those that the arguments of docker run name,
// with their value there or else in the environment of docker.
func passedOn(args []string, env map[string]string) map[string]string {
	got := make(map[string]string)
	for i, arg := range args {
		var named string
		switch {
		case arg == "-e" || arg == "--env":
			if i+1 < len(args) {
				named = args[i+1]
			}
		case strings.HasPrefix(arg, "--env="):
			named = strings.TrimPrefix(arg, "--env=")
		case strings.HasPrefix(arg, "-e"):
			named = strings.TrimPrefix(arg, "-e")
		}
		name, value, given := strings.Cut(named, "=")
		if outside, ok := env[name]; !given && ok {
			value, given = outside, true
		}
		if given && name != "" {
			got[name] = value
		}
	}
	return got
}

// sharesNetwork reports whether the arguments of docker run give a container the network of the
// machine.
func sharesNetwork(args []string) bool {
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok && i+1 < len(args) {
			value = args[i+1]
		}
		if (name == "--network" || name == "--net") && value == "host" {
			return true
		}
	}
	return false
}
