package install

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever install writes, for any host and scope, Find finds.
func TestWhatIsInstalledIsFoundAgain(t *testing.T) {
	for _, h := range hosts {
		for _, project := range []bool{false, true} {
			if project && h.project == "" {
				continue
			}
			p := places(t)
			e := Entry{Name: "mine", Command: "/opt/bin/ollama-mcp", Args: []string{"--queue=9"}, Env: map[string]string{"OLLAMA_HOST": "gpu:1"}}
			mustRun(t, Options{Entry: e, Hosts: []string{h.name}, Project: project, Places: p})
			found := Find(p, "ollama-mcp")
			if len(found) != 1 || found[0].Host != h.name || found[0].Err != nil || found[0].Off || found[0].Entry.Name != "mine" ||
				found[0].Entry.Command != e.Command || !slices.Equal(found[0].Entry.Args, e.Args) || found[0].Entry.Env["OLLAMA_HOST"] != "gpu:1" {
				t.Errorf("%s, of a project %v: found %+v", h.name, project, found)
			}
		}
	}
}

func TestOnlyEntriesOfTheProgramAreFound(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"mcp.json", `{"mcpServers": {"a": {"command": "npx", "args": ["ollama-mcp"]}}}`, ""},
		{"mcp.json", `{"mcpServers": {"a": {"command": "C:\\Tools\\ollama-mcp.exe"}}}`, "a"},
		{"mcp.json", `{"mcpServers": {"a": {"command": "ollama-mcp"}, "b": {"command": "/x/ollama-mcp", "disabled": true}} /* both */}`, "a b(off)"},
		{"mcp.json", `{"mcpServers": {"a": {"command": 7}, "b": 3}}`, ""},
		{"mcp.json", `{"mcpServers": [1]}`, ""},
		{"mcp.json", `{"mcpServers": `, ""},
		{"mcp.json", `{"mcpServers": {"a": {"command": "ollama-mcp"`, "(broken)"},
		{"mcp.json", "\uFEFF" + `{"mcpServers": {"a": {"command": "ollama-mcp"}}}`, "a"},
	} {
		p := places(t)
		write(t, filepath.Join(p.Home, ".cursor", c.file), c.text)
		var got []string
		for _, f := range Find(p, "ollama-mcp") {
			name := f.Entry.Name
			if f.Off {
				name += "(off)"
			}
			if f.Err != nil {
				name += "(broken)"
			}
			got = append(got, name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: found %v, want %s", c.text, got, c.want)
		}
	}
}

func TestLookingChangesNothing(t *testing.T) {
	p := places(t)
	file := filepath.Join(p.Home, ".cursor", "mcp.json")
	write(t, file, `{"mcpServers": {"a": {"command": "ollama-mcp"}}}`)
	before := contents(t, file)
	Find(p, "ollama-mcp")
	entries, err := os.ReadDir(p.Home)
	if err != nil || len(entries) != 1 || !bytes.Equal([]byte(before), []byte(contents(t, file))) {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestEntriesThatStartTheProgramFromItsPackageOrImageAreFound(t *testing.T) {
	const image = `"ghcr.io/ollama-mcp/ollama-mcp:v1"`
	for name, c := range map[string]struct{ entry, want string }{
		"npx":                {`{"command":"npx","args":["-y","@ollama-mcp/ollama-mcp","--queue=9"],"env":{"OLLAMA_HOST":"gpu:1"}}`, "npx [--queue=9] gpu:1"},
		"npx of a version":   {`{"command":"C:\\node\\npx.cmd","args":["-y","@ollama-mcp/ollama-mcp@1.2.3"]}`, "npx [] "},
		"another's package":  {`{"command":"npx","args":["-y","ollama-mcp"]}`, ""},
		"another's, by path": {`{"command":"npx","args":["-y","@someone/ollama"]}`, ""},
		"docker":             {`{"command":"docker","args":["run","-i","--rm","-e","OLLAMA_HOST=gpu:1",` + image + `,"--queue=9"]}`, "docker [--queue=9] gpu:1 contained"},
		"its environment":    {`{"command":"docker","args":["run","-i","--env","OLLAMA_HOST",` + image + `],"env":{"OLLAMA_HOST":"gpu:1"}}`, "docker [] gpu:1 contained"},
		"not passed on":      {`{"command":"docker","args":["run","-i",` + image + `],"env":{"OLLAMA_HOST":"gpu:1"}}`, "docker []  contained"},
		"on the network":     {`{"command":"/usr/bin/podman","args":["run","-i","--network","host","--env=OLLAMA_HOST=gpu:1",` + image + `]}`, "podman [] gpu:1"},
		"another image":      {`{"command":"docker","args":["run","-i","ollama/ollama"]}`, ""},
		"something else":     {`{"command":"sh","args":["-c","@ollama-mcp/ollama-mcp"]}`, ""},
	} {
		p := places(t)
		write(t, filepath.Join(p.Home, ".cursor", "mcp.json"), `{"mcpServers": {"a": `+c.entry+`}}`)
		var got string
		for _, f := range Find(p, "ollama-mcp") {
			got = fmt.Sprintf("%s %v %s", f.Via, f.Entry.Args, f.Entry.Env["OLLAMA_HOST"])
			if f.Contained {
				got += " contained"
			}
		}
		if got != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}
