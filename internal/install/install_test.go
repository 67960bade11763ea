package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// places are those of a user who has nothing yet.
func places(t *testing.T) Places {
	t.Helper()
	home := t.TempDir()
	return Places{
		OS: "linux", Home: home, Config: filepath.Join(home, ".config"), Project: t.TempDir(),
		Getenv: func(string) string { return "" },
	}
}

var entry = Entry{Name: "ollama", Command: "/opt/bin/ollama-mcp", Env: map[string]string{"OLLAMA_HOST": "http://gpu:11434"}}

func run(t *testing.T, o Options) (out string, err error) {
	t.Helper()
	var b strings.Builder
	o.Out = &b
	err = Run(o)
	return b.String(), err
}

func mustRun(t *testing.T, o Options) string {
	t.Helper()
	out, err := run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEachHostGetsItsShape has the whole file that each host finds when it had none.
func TestEachHostGetsItsShape(t *testing.T) {
	want := map[string]string{
		"claude-desktop": `{
  "mcpServers": {
    "ollama": {
      "command": "/opt/bin/ollama-mcp",
      "args": [],
      "env": {
        "OLLAMA_HOST": "http://gpu:11434"
      }
    }
  }
}
`,
		"claude-code": `{
  "mcpServers": {
    "ollama": {
      "type": "stdio",
      "command": "/opt/bin/ollama-mcp",
      "args": [],
      "env": {
        "OLLAMA_HOST": "http://gpu:11434",
        "OLLAMA_MCP_TIMEOUT": "9m50s"
      },
      "timeout": 600000
    }
  }
}
`,
		"vscode": `{
  "servers": {
    "ollama": {
      "type": "stdio",
      "command": "/opt/bin/ollama-mcp",
      "args": [],
      "env": {
        "OLLAMA_HOST": "http://gpu:11434"
      }
    }
  }
}
`,
		"codex": `[mcp_servers.ollama]
command = "/opt/bin/ollama-mcp"
args = []
env = { OLLAMA_HOST = "http://gpu:11434", OLLAMA_MCP_TIMEOUT = "9m50s" }
tool_timeout_sec = 600
`,
		"zed": `{
  "context_servers": {
    "ollama": {
      "command": "/opt/bin/ollama-mcp",
      "args": [],
      "env": {
        "OLLAMA_HOST": "http://gpu:11434"
      }
    }
  }
}
`,
		"opencode": `{
  "mcp": {
    "ollama": {
      "type": "local",
      "command": ["/opt/bin/ollama-mcp"],
      "environment": {
        "OLLAMA_HOST": "http://gpu:11434"
      }
    }
  }
}
`,
	}
	want["cursor"], want["lm-studio"], want["windsurf"] = want["claude-desktop"], want["claude-desktop"], want["claude-desktop"]
	want["gemini"] = strings.Replace(want["claude-code"], "      \"type\": \"stdio\",\n", "", 1)
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			p := places(t)
			out := mustRun(t, Options{Entry: entry, Hosts: []string{h.name}, Places: p})
			file := h.file(p, false)
			if got := contents(t, file); got != want[h.name] {
				t.Errorf("%s holds\n%s\nwant\n%s", file, got, want[h.name])
			}
			for _, told := range []string{h.title, file, "/opt/bin/ollama-mcp", "OLLAMA_HOST=http://gpu:11434", h.next} {
				if !strings.Contains(out, told) {
					t.Errorf("it does not say %q:\n%s", told, out)
				}
			}
			again := mustRun(t, Options{Entry: entry, Hosts: []string{h.name}, Places: p})
			if got := contents(t, file); got != want[h.name] || !strings.Contains(again, "nothing to do") {
				t.Errorf("the second time it says %q, and the file holds\n%s", again, got)
			}
		})
	}
}

// settings are files as people have them, with what installing makes of them. Removing the
// server again gives the file back as it was, unless removed says otherwise.
var settings = []struct{ name, host, before, after, removed string }{
	{
		name: "another server", host: "claude-desktop",
		before: "{\n\t\"mcpServers\": {\n\t\t\"files\": {\"command\": \"npx\"}\n\t},\n\t\"theme\": \"dark\"\n}\n",
		after: "{\n\t\"mcpServers\": {\n\t\t\"files\": {\"command\": \"npx\"},\n\t\t\"ollama\": {\n\t\t\t\"command\": \"/opt/bin/ollama-mcp\"," +
			"\n\t\t\t\"args\": [],\n\t\t\t\"env\": {\n\t\t\t\t\"OLLAMA_HOST\": \"http://gpu:11434\"\n\t\t\t}\n\t\t}\n\t},\n\t\"theme\": \"dark\"\n}\n",
	},
	{
		name: "comments and trailing commas", host: "zed",
		before: "// mine\n{\n  \"context_servers\": {\n    \"a\": {}, // the first\n    /* the\n       second */\n    \"b\": {}, // last\n  },\n  \"vim_mode\": true, // yes\n}\n",
		after: "// mine\n{\n  \"context_servers\": {\n    \"a\": {}, // the first\n    /* the\n       second */\n    \"b\": {}, // last\n    \"ollama\": {\n      \"command\": \"/opt/bin/ollama-mcp\"," +
			"\n      \"args\": [],\n      \"env\": {\n        \"OLLAMA_HOST\": \"http://gpu:11434\"\n      }\n    },\n  },\n  \"vim_mode\": true, // yes\n}\n",
	},
	{
		name: "a comment after the last member", host: "cursor",
		before: "{\n  \"mcpServers\": {\n    \"a\": {} // last\n    // none below\n  }\n}",
		after: "{\n  \"mcpServers\": {\n    \"a\": {}, // last\n    \"ollama\": {\n      \"command\": \"/opt/bin/ollama-mcp\"," +
			"\n      \"args\": [],\n      \"env\": {\n        \"OLLAMA_HOST\": \"http://gpu:11434\"\n      }\n    }\n    // none below\n  }\n}",
	},
	{
		name: "one line", host: "cursor",
		before: `{"mcpServers": {"a": {}}, "x": 1.50}`,
		after:  `{"mcpServers": {"a": {}, "ollama": {"command": "/opt/bin/ollama-mcp", "args": [], "env": {"OLLAMA_HOST": "http://gpu:11434"}}}, "x": 1.50}`,
	},
	{
		name: "Windows line ends and a byte order mark", host: "vscode",
		before: "\uFEFF{\r\n    \"servers\": {}\r\n}\r\n",
		after: "\uFEFF{\r\n    \"servers\": {\r\n        \"ollama\": {\r\n            \"type\": \"stdio\",\r\n            \"command\": \"/opt/bin/ollama-mcp\",\r\n            \"args\": []," +
			"\r\n            \"env\": {\r\n                \"OLLAMA_HOST\": \"http://gpu:11434\"\r\n            }\r\n        }\r\n    }\r\n}\r\n",
	},
	{
		name: "an older entry with settings of the user's own", host: "cursor",
		before:  "{\n  \"mcpServers\": {\n    \"ollama\": {\n      \"disabled\": false, // mine\n      \"command\": \"/old\",\n      \"args\": [\"--slots=1\"],\n      \"env\": {\n        \"A\": \"b\"\n      }\n    }\n  }\n}\n",
		after:   "{\n  \"mcpServers\": {\n    \"ollama\": {\n      \"disabled\": false, // mine\n      \"command\": \"/opt/bin/ollama-mcp\",\n      \"args\": [],\n      \"env\": {\n        \"A\": \"b\",\n        \"OLLAMA_HOST\": \"http://gpu:11434\"\n      }\n    }\n  }\n}\n",
		removed: "{\n  \"mcpServers\": {}\n}\n",
	},
	{
		name: "version 2", host: "opencode",
		before: "{\n  \"mcp\": {\n    \"servers\": {}\n  }\n}\n",
		after: "{\n  \"mcp\": {\n    \"servers\": {\n      \"ollama\": {\n        \"type\": \"local\",\n        \"command\": [\"/opt/bin/ollama-mcp\"]," +
			"\n        \"environment\": {\n          \"OLLAMA_HOST\": \"http://gpu:11434\"\n        }\n      }\n    }\n  }\n}\n",
	},
	{
		name: "other tables", host: "codex",
		before: "# mine\nmodel = \"o\" # the best\n\n[mcp_servers.files]\ncommand = \"npx\"\nargs = [\n  \"-y\", # yes\n]\n\n[tui]\nx = 1\n",
		after: "# mine\nmodel = \"o\" # the best\n\n[mcp_servers.files]\ncommand = \"npx\"\nargs = [\n  \"-y\", # yes\n]\n\n[tui]\nx = 1\n\n[mcp_servers.ollama]\ncommand = \"/opt/bin/ollama-mcp\"\nargs = []\n" +
			"env = { OLLAMA_HOST = \"http://gpu:11434\", OLLAMA_MCP_TIMEOUT = \"9m50s\" }\ntool_timeout_sec = 600\n",
	},
	{
		name: "an older table, with a table of its environment", host: "codex",
		before: "[mcp_servers.ollama] # local\ncommand = \"/old\" # old\nenabled_tools = [\"chat\"]\n\n[mcp_servers.ollama.env]\nA = \"b\"\n\n# below\n[tui]\nx = 1\n",
		after: "[mcp_servers.ollama] # local\ncommand = \"/opt/bin/ollama-mcp\" # old\nenabled_tools = [\"chat\"]\nargs = []\ntool_timeout_sec = 600\n\n[mcp_servers.ollama.env]\nA = \"b\"\n" +
			"OLLAMA_HOST = \"http://gpu:11434\"\nOLLAMA_MCP_TIMEOUT = \"9m50s\"\n\n# below\n[tui]\nx = 1\n",
		removed: "\n# below\n[tui]\nx = 1\n",
	},
	{
		name: "inline tables", host: "codex",
		before: "mcp_servers = { files = { command = \"npx\" } } # all\n",
		after: "mcp_servers = { files = { command = \"npx\" }, ollama = { command = \"/opt/bin/ollama-mcp\", args = [], " +
			"env = { OLLAMA_HOST = \"http://gpu:11434\", OLLAMA_MCP_TIMEOUT = \"9m50s\" }, tool_timeout_sec = 600 } } # all\n",
	},
	{
		name: "inline tables with values of all kinds", host: "codex",
		before: `mcp_servers = {files = {a = 1, b = 1.0, c = -0.5e-7, d = 1e30, e = inf, f = true, g = 2026-01-02T03:04:05.6+07:00, h = 2026-01-02, i = 03:04:05, ` +
			`j = 2026-01-02T03:04:05, k = [], l = [1, [2.5, "x"], {m = '\'}], "n o" = "\u0001\"\n'\u2028", p = {}}}` + "\n",
		after: `mcp_servers = { files = { a = 1, b = 1.0, c = -5e-08, d = 1e+30, e = +inf, f = true, g = 2026-01-02T03:04:05.6+07:00, h = 2026-01-02, i = 03:04:05, ` +
			`j = 2026-01-02T03:04:05, k = [], l = [1, [2.5, "x"], { m = '\' }], "n o" = "\u0001\"\n'\u2028", p = {} }, ollama = { command = "/opt/bin/ollama-mcp", args = [], ` +
			`env = { OLLAMA_HOST = "http://gpu:11434", OLLAMA_MCP_TIMEOUT = "9m50s" }, tool_timeout_sec = 600 } }` + "\n",
		removed: `mcp_servers = { files = { a = 1, b = 1.0, c = -5e-08, d = 1e+30, e = +inf, f = true, g = 2026-01-02T03:04:05.6+07:00, h = 2026-01-02, i = 03:04:05, ` +
			`j = 2026-01-02T03:04:05, k = [], l = [1, [2.5, "x"], { m = '\' }], "n o" = "\u0001\"\n'\u2028", p = {} } }` + "\n",
	},
}

func TestEverythingElseInAFileStaysAsItWas(t *testing.T) {
	for _, c := range settings {
		t.Run(c.host+", "+c.name, func(t *testing.T) {
			p := places(t)
			o := Options{Entry: entry, Hosts: []string{c.host}, Places: p}
			chosen, err := choose(o)
			if err != nil {
				t.Fatal(err)
			}
			file := chosen[0].file(p, false)
			write(t, file, c.before)
			mustRun(t, o)
			if got := contents(t, file); got != c.after {
				t.Errorf("installed:\n%s\nwant\n%s", got, c.after)
			}
			if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o644 {
				t.Errorf("permissions are %v (%v), and were 0644", info.Mode(), err)
			}
			if backups, _ := filepath.Glob(file + ".backup-*"); len(backups) != 1 || contents(t, backups[0]) != c.before {
				t.Errorf("backups are %q, want one of what was there", backups)
			}
			o.Remove = true
			if out := mustRun(t, o); !strings.HasSuffix(out, "  next:    restart "+chosen[0].title+"\n") {
				t.Errorf("removed: %s", out)
			}
			want := c.before
			if c.removed != "" {
				want = c.removed
			}
			if got := contents(t, file); got != want {
				t.Errorf("removed:\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestFileThatCannotBeEditedIsLeftAloneAndSaidWhy(t *testing.T) {
	for _, c := range []struct{ host, text, want string }{
		{"cursor", `{"mcpServers": `, "unexpected EOF"},
		{"cursor", "{\n  \"mcpServers\": {\n    oops\n  }\n}", "line 3"},
		{"cursor", `[]`, "not an object"},
		{"cursor", `{"mcpServers": []}`, `"mcpServers" is not an object`},
		{"codex", "model = \n", "line 1"},
		{"codex", "mcp_servers = 3\n", `"mcp_servers" is not a table`},
		{"codex", "[[mcp_servers]]\ncommand = \"x\"\n", "cannot be edited"},
	} {
		p := places(t)
		o := Options{Entry: entry, Hosts: []string{c.host}, Places: p}
		chosen, _ := choose(o)
		file := chosen[0].file(p, false)
		write(t, file, c.text)
		_, err := run(t, o)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), "--print") {
			t.Errorf("%s: %q: error %v, want one with %q", c.host, c.text, err, c.want)
		}
		if got := contents(t, file); got != c.text {
			t.Errorf("%s: %q became %q", c.host, c.text, got)
		}
		if others, _ := filepath.Glob(file + ".*"); len(others) > 0 {
			t.Errorf("left behind: %q", others)
		}
		// The snippet is there all the same.
		o.Print = true
		if out := mustRun(t, o); !strings.Contains(out, entry.Command) {
			t.Errorf("printed %q", out)
		}
	}
}

func TestLinksAreFollowedAndReadOnlyFilesAreNotReplaced(t *testing.T) {
	p := places(t)
	real := filepath.Join(p.Home, "dotfiles", "mcp.json")
	link := filepath.Join(p.Home, ".cursor", "mcp.json")
	write(t, real, "{}")
	write(t, filepath.Join(p.Home, ".cursor", "x"), "")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	o := Options{Entry: entry, Hosts: []string{"cursor"}, Places: p}
	mustRun(t, o)
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if !strings.Contains(contents(t, real), entry.Command) {
		t.Error("the file that the link points to does not have the server")
	}
	write(t, real, "{}")
	if err := os.Chmod(real, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, o); err == nil || !strings.Contains(err.Error(), "read-only") || contents(t, real) != "{}" {
		t.Errorf("read-only: error %v, and the file holds %q", err, contents(t, real))
	}
	if err := os.Remove(real); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, o); err == nil || !strings.Contains(err.Error(), "a link to a file that does not exist") {
		t.Errorf("dangling link: error %v", err)
	}
	if err := errors.Join(os.Remove(link), os.Mkdir(link, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, o); err == nil || !strings.Contains(err.Error(), "not a settings file") {
		t.Errorf("directory: error %v", err)
	}
}

func TestHostsAreFoundByThemselvesAndOneThatFailsDoesNotStopTheOthers(t *testing.T) {
	p := places(t)
	if _, err := run(t, Options{Entry: entry, Places: p}); err == nil || !strings.Contains(err.Error(), "no MCP host was found") {
		t.Errorf("on an empty machine: error %v", err)
	}
	write(t, filepath.Join(p.Home, ".cursor", "mcp.json"), "broken")
	write(t, filepath.Join(p.Home, ".codex", "auth.json"), "{}")
	out, err := run(t, Options{Entry: entry, Places: p})
	if err == nil || !strings.Contains(err.Error(), "Cursor") || !strings.Contains(out, "Codex") || strings.Contains(out, "Zed") {
		t.Errorf("error %v, output\n%s", err, out)
	}
	for _, hosts := range [][]string{{"cursr"}, {"cursor", "emacs"}} {
		if _, err := run(t, Options{Entry: entry, Places: p, Hosts: hosts}); err == nil || !strings.Contains(err.Error(), "known are claude-desktop") {
			t.Errorf("%q: error %v", hosts, err)
		}
	}
}

func TestProjectHasItsOwnFile(t *testing.T) {
	p := places(t)
	mustRun(t, Options{Entry: entry, Hosts: []string{"vscode", "claude-code"}, Places: p, Project: true})
	for _, file := range []string{".vscode/mcp.json", ".mcp.json"} {
		if !strings.Contains(contents(t, filepath.Join(p.Project, file)), entry.Command) {
			t.Errorf("%s does not have the server", file)
		}
	}
	if _, err := run(t, Options{Entry: entry, Hosts: []string{"claude-desktop"}, Places: p, Project: true}); err == nil {
		t.Error("Claude Desktop has no projects")
	}
}

func TestPrintChangesNothingAndSaysHowSureItIs(t *testing.T) {
	p := places(t)
	p.OS, p.Config = "windows", `C:\Users\ann\AppData\Roaming`
	e := entry
	e.Command = `C:\Program Files\ollama-mcp.exe`
	out := mustRun(t, Options{Entry: e, Hosts: []string{"windsurf", "codex"}, Places: p, Print: true})
	for _, want := range []string{secondHand, documented, `"command": "C:\\Program Files\\ollama-mcp.exe"`, `command = 'C:\Program Files\ollama-mcp.exe'`} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not print %q:\n%s", want, out)
		}
	}
	if made, err := os.ReadDir(p.Home); err != nil || len(made) > 0 {
		t.Errorf("made %v (%v)", made, err)
	}
}

// TestAnySettingsSurviveInstallingAndRemoving tries settings of any shape, laid out in any way.
func TestAnySettingsSurviveInstallingAndRemoving(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "mcpServers", "ollama", "env", "command", "x y", "é", `"`, ""})
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Just[any](true), rapid.Just[any](json.Number("1.50")), rapid.Just[any]("// no comment"), rapid.Just[any]([]any{}))
		if depth == 0 {
			return leaf
		}
		return rapid.OneOf(leaf, rapid.Custom(func(t *rapid.T) any {
			object := map[string]any{}
			for _, n := range rapid.SliceOfNDistinct(name, 0, 4, rapid.ID).Draw(t, "names") {
				object[n] = value(depth-1).Draw(t, n)
			}
			return any(object)
		}))
	}
	rapid.Check(t, func(t *rapid.T) {
		settings, ok := value(3).Draw(t, "settings").(map[string]any)
		if !ok {
			settings = map[string]any{}
		}
		text, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		if unit := rapid.SampledFrom([]string{"", "  ", "\t"}).Draw(t, "unit"); unit != "" {
			var b bytes.Buffer
			if err := json.Indent(&b, text, "", unit); err != nil {
				t.Fatal(err)
			}
			text = b.Bytes()
		}
		o := Options{Entry: entry}
		cursor := hosts[3]
		installed, err := o.edit(cursor, text)
		servers, isObject := settings["mcpServers"].(map[string]any)
		if _, has := settings["mcpServers"]; has && !isObject {
			if err == nil {
				t.Fatalf("servers that are no object were edited: %s", installed)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := cursor.format.parse(installed)
		if err != nil {
			t.Fatalf("%s: %v", installed, err)
		}
		if command := lookUp(got, []string{"mcpServers", "ollama", "command"}); command != entry.Command {
			t.Fatalf("command is %v in %s", command, installed)
		}
		o.Remove = true
		removed, err := o.edit(cursor, installed)
		if err != nil {
			t.Fatalf("%s: %v", installed, err)
		}
		left, err := cursor.format.parse(removed)
		if err != nil {
			t.Fatalf("%s: %v", removed, err)
		}
		delete(servers, "ollama")
		if len(servers) == 0 {
			settings["mcpServers"] = map[string]any{}
		}
		want, _ := cursor.format.parse(mustJSON(settings))
		if !reflect.DeepEqual(left, want) {
			t.Fatalf("left is %v, want %v", left, want)
		}
	})
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
