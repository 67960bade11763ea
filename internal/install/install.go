// Package install writes the server into the settings of MCP hosts.
//
// It promises that everything else in a settings file stays as it was, byte for byte:
// comments, order and line ends too. A file that it cannot read as its format is left alone,
// each file that is changed has a backup beside it, and a file is replaced as a whole or not
// at all. Where hosts keep their settings, and in which shape, is the table in hosts.go.
package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/durable"
)

// Entry is how a host starts the server.
type Entry struct {
	Name    string            // that the host calls it by; it becomes a part of the names of its tools
	Command string            // absolute path of the program
	Args    []string          // that it is started with; may be empty
	Env     map[string]string // added to the environment that the host gives it; may be nil
}

// Options say what to do, and where.
type Options struct {
	Entry   Entry
	Hosts   []string // names as in Names; none for all hosts that are found on this machine
	Project bool     // write into the settings of the project in the current directory
	Remove  bool     // remove the entry instead
	Print   bool     // print what would be written, and change nothing
	Places  Places
	Out     io.Writer
}

// Run adds the entry to the settings of each host, or removes it, and prints what it did. Its
// error joins those of the hosts that it failed on; the others are done.
func Run(o Options) error {
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	var problems []error
	for _, h := range chosen {
		if err := o.apply(h); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", h.title, err))
		}
	}
	return errors.Join(problems...)
}

// choose returns the hosts that are named, or found.
func choose(o Options) ([]host, error) {
	if len(o.Hosts) == 0 {
		found := slices.DeleteFunc(slices.Clone(hosts), func(h host) bool { return !h.isFound(o.Places) || o.Project && h.project == "" })
		if len(found) == 0 {
			return nil, fmt.Errorf("no MCP host was found on this machine; name one of %s", strings.Join(Names(), ", "))
		}
		return found, nil
	}
	var chosen []host
	for _, name := range o.Hosts {
		i := slices.IndexFunc(hosts, func(h host) bool { return h.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown host %q; known are %s", name, strings.Join(Names(), ", "))
		}
		if o.Project && hosts[i].project == "" {
			return nil, fmt.Errorf("%s has no settings for single projects; leave out --scope", hosts[i].title)
		}
		chosen = append(chosen, hosts[i])
	}
	return chosen, nil
}

// apply does for one host what the options say.
func (o Options) apply(h host) error {
	file := h.file(o.Places, o.Project)
	before, perm, err := read(&file)
	if err != nil {
		return err
	}
	if o.Print {
		return o.print(h, file, before)
	}
	after, err := o.edit(h, before)
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was changed. Mend the file, or see `ollama-mcp install %s --print`", file, err, h.name)
	}
	if bytes.Equal(before, after) {
		fmt.Fprintf(o.Out, "%s: nothing to do, %s is %s\n", h.title, file, o.state())
		return nil
	}
	backup, err := replace(file, before, after, perm)
	if err != nil {
		return fmt.Errorf("%w; nothing was changed. `ollama-mcp install %s --print` prints what to add by hand", err, h.name)
	}
	did := "added to"
	if o.Remove {
		did = "removed from"
	}
	fmt.Fprintf(o.Out, "%s: %q was %s %s\n", h.title, o.Entry.Name, did, file)
	if backup != "" {
		fmt.Fprintf(o.Out, "  backup:  %s\n", backup)
	}
	if !o.Remove {
		fmt.Fprintf(o.Out, "  command: %s\n", strings.Join(append([]string{o.Entry.Command}, o.Entry.Args...), " "))
		for _, s := range h.entry(o.Entry) {
			if env, ok := s.value.(members); ok {
				for _, m := range env {
					fmt.Fprintf(o.Out, "  env:     %s=%v\n", m.name, m.value)
				}
			}
		}
	}
	next := h.next
	if o.Remove {
		next = "restart " + h.title // what else it says is about a server that is there
	}
	fmt.Fprintf(o.Out, "  next:    %s\n", next)
	return nil
}

func (o Options) state() string {
	if o.Remove {
		return "without it"
	}
	return "up to date"
}

// edit returns the text with the entry added or removed, after a check that nothing else
// means anything else now.
func (o Options) edit(h host, text []byte) ([]byte, error) {
	bom, body := cutBOM(text)
	old, err := h.format.parse(body)
	if err != nil {
		return nil, err
	}
	path := append(h.servers(old), o.Entry.Name)
	edited := body
	if o.Remove {
		edited, err = h.format.remove(body, path)
	} else {
		edited, err = add(h.format, body, path, h.entry(o.Entry), lookUp(old, path))
	}
	if err != nil {
		return nil, err
	}
	now, err := h.format.parse(edited)
	if err != nil {
		return nil, fmt.Errorf("the edited text would be broken: %w", err)
	}
	if !reflect.DeepEqual(without(old, path), without(now, path)) {
		return nil, errors.New("it is written in a way that cannot be edited without changing something else")
	}
	return append(bom, edited...), nil
}

// add gives an entry its settings. What it has beside them stays: a user may have added it.
func add(f format, text []byte, path []string, settings members, entry any) ([]byte, error) {
	if _, ok := entry.(map[string]any); !ok {
		return f.set(text, path, settings)
	}
	var err error
	for _, s := range settings {
		has := lookUp(entry, []string{s.name})
		inner, nested := s.value.(members)
		if _, ok := has.(map[string]any); !nested || !ok {
			inner, nested = members{s}, false
		}
		for _, m := range inner {
			at := append(slices.Clone(path), s.name)
			if nested {
				at = append(at, m.name)
			}
			if text, err = f.set(text, at, m.value); err != nil {
				return nil, err
			}
		}
	}
	return text, nil
}

// print prints where the entry belongs, and what it is.
func (o Options) print(h host, file string, text []byte) error {
	if o.Remove {
		return errors.New("--print and --remove do not go together")
	}
	_, body := cutBOM(text)
	old, err := h.format.parse(body)
	if err != nil {
		old = nil // The snippet is what somebody needs who mends the file.
	}
	path := append(h.servers(old), o.Entry.Name)
	snippet, err := h.format.set(nil, path, h.entry(o.Entry))
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "%s: add this to %s\n%s\n\n%s\n", h.title, file, h.known(), snippet)
	return nil
}

// maxFile is far more than settings need.
const maxFile = 16 << 20

// read returns the contents and the permissions of a settings file, which need not exist. It
// follows a link, since replacing the link would cut it.
func read(file *string) ([]byte, fs.FileMode, error) {
	if target, err := filepath.EvalSymlinks(*file); err == nil {
		*file = target
	}
	info, err := os.Stat(*file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(*file); err == nil {
			return nil, 0, fmt.Errorf("%s is a link to a file that does not exist", *file)
		}
		return nil, 0o600, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, 0, fmt.Errorf("%s is not a settings file", *file)
	}
	text, err := os.ReadFile(*file)
	return text, info.Mode().Perm(), err
}

// replace writes the file, and beside it a backup of what it held, if it held anything.
func replace(file string, before, after []byte, perm fs.FileMode) (backup string, err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	if perm&0o200 == 0 {
		return "", fmt.Errorf("%s is read-only", file)
	}
	if len(before) > 0 {
		backup = file + ".backup-" + time.Now().UTC().Format("20060102T150405.000Z")
		if err := durable.Create(backup, before); err != nil {
			return "", err
		}
	}
	return backup, durable.WriteMode(file, after, perm)
}

// cutBOM splits off a byte order mark, which editors on Windows write.
func cutBOM(text []byte) (bom, body []byte) {
	mark := []byte("\uFEFF")
	if body, ok := bytes.CutPrefix(text, mark); ok {
		return mark, body
	}
	return nil, text
}

// lookUp returns the value at a path in parsed settings; nil if there is none.
func lookUp(v any, path []string) any {
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// without returns a copy of parsed settings without the value at a path, and without the
// objects around it that hold nothing else.
func without(v any, path []string) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	copied := make(map[string]any, len(object))
	for name, value := range object {
		if name == path[0] {
			if len(path) == 1 {
				continue
			}
			value = without(value, path[1:])
			if inner, ok := value.(map[string]any); ok && len(inner) == 0 {
				continue
			}
		}
		copied[name] = value
	}
	return copied
}
