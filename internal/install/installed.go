package install

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
)

// Installed is an entry of this program in the settings of an MCP host.
type Installed struct {
	Host, Title string // of the host, as in Names and as people call it
	File        string // that holds the settings
	Entry       Entry
	Off         bool  // the settings say that the server is not to be started
	Err         error // the file could not be read; then there is no Entry
}

// Find returns the entries that start a program of this name, such as ollama-mcp, in the
// settings of the user and of the project in the current directory. It changes nothing.
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
	for name, value := range servers {
		one := here
		one.Entry, one.Off = entryFrom(value)
		one.Entry.Name = name
		base := strings.TrimSuffix(filepath.Base(strings.ReplaceAll(one.Entry.Command, `\`, "/")), ".exe")
		if base == program {
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, b Installed) int { return strings.Compare(a.Entry.Name, b.Entry.Name) })
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
