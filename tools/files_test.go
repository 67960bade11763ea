package tools_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/files"
)

// allow lets the tools read and write in a new directory with some files, and returns its path.
func (c *client) allow(contents map[string]string) string {
	c.t.Helper()
	dir := c.t.TempDir()
	for name, text := range contents {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	var err error
	if c.files, err = files.New([]string{dir}, []string{dir}); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

func TestCallMayHaveAsMuchOfFilesReadAsItsCallerAloneGets(t *testing.T) {
	const total = 8 << 20
	storyWith(t, &client{fileBytes: total}, func(t *testing.T, c *client) {
		dir := c.allow(map[string]string{"half.txt": strings.Repeat("x", total/2), "more.txt": strings.Repeat("x", total/2+1), "whole.txt": strings.Repeat("x", total), "above.txt": strings.Repeat("x", total+1)})
		c.opts.ContextGuard = "off"
		c.use(backendtest.New("gpu-1").Answer("ok"))
		reads := func(file string) string { return `{"model":"tiny","prompt":"?","files":["` + file + `"]}` }
		c.succeeds("generate", reads("whole.txt")) // the client of stdio, which has no others beside it
		c.fails("generate", reads("above.txt"), "invalid_argument", "above.txt")
		one := c.as(caller.Caller{ID: "one", Dirs: []string{dir}})
		one.succeeds("generate", reads("half.txt"))
		one.fails("generate", reads("more.txt"), "invalid_argument", "more.txt")
	})
}

func TestFilesThatAPatternMatchesAndThatCannotBeReadAreLeftOutWithANote(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		bad := "\x00\xff"
		c.allow(map[string]string{"a.txt": "alpha", "b.bin": bad, "c.bin": bad, "d.bin": bad, "e.bin": bad, "x.pdf": "%PDF-1.7\n"})
		host := c.use(backendtest.New("gpu-1").Answer("ok"))
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","files":["*"]}`)
		const why = " is neither an image nor text in UTF-8; "
		shown{facts: []string{"ok"}, notes: []string{"Files left out: b.bin" + why + "c.bin" + why + "d.bin" + why + "2 more."}}.check(t, "some", a)
		if calls := host.Calls(); !strings.Contains(calls[len(calls)-1].Generate.Prompt, "alpha") {
			t.Errorf("the model got %q, want the text", calls[len(calls)-1].Generate.Prompt)
		}
		c.fails("generate", `{"model":"tiny","prompt":"?","files":["*","b.bin"]}`, "invalid_argument", "b.bin") // it is wanted
		c.fails("generate", `{"model":"tiny","prompt":"?","files":["*.bin"]}`, "invalid_argument", "b.bin")
	})
}

func TestFilesAreReadIntoThePromptByTheServer(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.allow(map[string]string{"a.txt": "alpha\n", "b.txt": "beta", "logo.png": "\x89PNG\r\n\x1a\n"})
		host := c.use(backendtest.New("gpu-1").Answer("ok").Install(backendtest.Model{Name: "eyes", Capabilities: []string{"completion", "vision"}}))
		c.succeeds("generate", `{"model":"eyes","prompt":"Compare.","files":["*.txt","logo.png"]}`)
		c.succeeds("chat", `{"model":"tiny","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Compare."}],"files":"b.txt"}`)
		calls := host.Calls()
		generated, chatted := calls[len(calls)-2].Generate, calls[len(calls)-1].Chat
		if want := "=== a.txt ===\nalpha\n\n=== b.txt ===\nbeta\n\nCompare."; generated.Prompt != want || len(generated.Images) != 1 {
			t.Errorf("the prompt was %q with %d images, want %q with one", generated.Prompt, len(generated.Images), want)
		}
		if got, want := chatted.Messages[1].Content, "=== b.txt ===\nbeta\n\nCompare."; got != want || chatted.Messages[0].Content != "Be brief." {
			t.Errorf("the messages were %+v, want %q in the last", chatted.Messages, want)
		}
		c.fails("generate", `{"model":"tiny","prompt":"?","files":["c.txt"]}`, "invalid_argument", `"files[0]"`, "c.txt", "does not exist")
		c.fails("generate", `{"model":"tiny","prompt":"?","files":["/etc/passwd"]}`, "forbidden", "outside", "these may be")
		c.fails("generate", `{"model":"tiny","prompt":"?","files":["a.txt"],"raw":true}`, "invalid_argument", "raw")
		if n := len(host.Calls()); n != len(calls) {
			t.Errorf("the host was asked %d times, want %d: a call with bad files costs nothing", n, len(calls))
		}
	})
}

func TestFilesAreOffUnlessADirectoryIsAllowedAndPerCaller(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		c.fails("generate", `{"model":"tiny","prompt":"?","files":["a.txt"]}`, "forbidden", "no directory may be read", "--allow-dir")
		c.fails("generate", `{"model":"tiny","prompt":"?","output_file":"a.txt"}`, "forbidden", "no directory may be written", "--allow-write")
		dir := c.allow(map[string]string{"a.txt": "alpha", "sub/b.txt": "beta"})
		c.use(backendtest.New("gpu-1"))
		c.who = caller.Caller{ID: "ci", Tenant: "ci", Dirs: []string{filepath.Join(dir, "sub")}, WriteDirs: []string{}}
		c.succeeds("generate", `{"model":"tiny","prompt":"?","files":["b.txt"]}`)
		c.fails("generate", `{"model":"tiny","prompt":"?","files":["../a.txt"]}`, "forbidden", "outside")
		c.fails("generate", `{"model":"tiny","prompt":"?","output_file":"new.txt"}`, "forbidden", "no directory may be written")
	})
}

// rooted is a session whose client works in some folders, or cannot be asked for them.
type rooted struct {
	mcpserver.ClientSession
	uris []string
	err  error
}

func (r rooted) SessionID() string { return "s" }

func (r rooted) ListRoots(context.Context, mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	if r.err != nil {
		return nil, r.err
	}
	result := new(mcp.ListRootsResult)
	for _, uri := range r.uris {
		result.Roots = append(result.Roots, mcp.Root{URI: uri})
	}
	return result, nil
}

func TestFoldersOfTheClientNarrowWhatIsRead(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		dir := c.allow(map[string]string{"a.txt": "alpha", "sub folder/b.txt": "beta"})
		c.use(backendtest.New("gpu-1"))
		for _, tc := range []struct {
			uris   []string
			file   string
			forbid bool
		}{
			{nil, "a.txt", false}, // a client that works nowhere narrows nothing
			{[]string{"https://example.com/a"}, "a.txt", true},
			{[]string{"file://" + strings.ReplaceAll(dir, " ", "%20") + "/sub%20folder"}, "b.txt", false},
			{[]string{"file://" + dir + "/sub%20folder"}, filepath.Join(dir, "a.txt"), true},
			{[]string{"file:///"}, "a.txt", false},
			{[]string{"file:///"}, "/etc/passwd", true},
			{[]string{"file:///elsewhere"}, "a.txt", true},
		} {
			ctx := new(mcpserver.MCPServer).WithContext(c.context(), rooted{uris: tc.uris})
			a := c.call(ctx, "generate", `{"model":"tiny","prompt":"?","files":["`+tc.file+`"]}`)
			if a.IsError != tc.forbid || tc.forbid && a.StructuredContent["code"] != "forbidden" {
				t.Errorf("folders %q, file %s: got %+v, want forbidden %t", tc.uris, tc.file, a, tc.forbid)
			}
		}
		for err, want := range map[error]bool{
			mcp.MissingRequiredClientCapabilityError{}:     false,
			mcpserver.ErrServerInitiatedRequestUnsupported: false,
			context.DeadlineExceeded:                       true, // it has folders, and does not say which
		} {
			ctx := new(mcpserver.MCPServer).WithContext(c.context(), rooted{err: err})
			if a := c.call(ctx, "generate", `{"model":"tiny","prompt":"?","files":["a.txt"]}`); a.IsError != want {
				t.Errorf("a client that answers %v: got %+v, want forbidden %t", err, a, want)
			}
		}
	})
}

func TestAnswerIsWrittenToAFileAndTheResultIsAReceipt(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		dir := c.allow(map[string]string{"old.txt": "old"})
		text := strings.Repeat("line\n", 8)
		host := c.use(backendtest.New("gpu-1").Answer(text))
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","output_file":"new.txt"}`)
		written, err := os.ReadFile(filepath.Join(dir, "new.txt"))
		if err != nil || string(written) != text {
			t.Errorf("the file holds %q (%v), want %q", written, err, text)
		}
		out := a.StructuredContent
		if out["path"] != filepath.Join(dir, "new.txt") || out["bytes"] != 40.0 || out["tokens"] != 1.0 || out["begins"] != strings.Repeat("line\n", 4)+"line…" {
			t.Errorf("the receipt says %v", out)
		}
		asked := len(host.Calls())
		c.fails("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}],"output_file":"old.txt"}`, "invalid_argument", "exists already", "overwrite")
		c.fails("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}],"output_file":"no/such.txt"}`, "invalid_argument", "folder that does not exist")
		c.fails("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}],"output_file":"/elsewhere/x"}`, "forbidden", "outside")
		if n := len(host.Calls()); n != asked {
			t.Errorf("the host was asked, though the answer could not be written")
		}
		c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}],"output_file":"old.txt","overwrite":true}`)
		if written, _ := os.ReadFile(filepath.Join(dir, "old.txt")); string(written) != text {
			t.Errorf("overwritten with %q, want %q", written, text)
		}
		host.Answer(`{"answer":42}`)
		a = c.succeeds("generate", `{"model":"tiny","prompt":"?","format":"json","output_file":"a.json"}`)
		if written, _ := os.ReadFile(filepath.Join(dir, "a.json")); string(written) != `{"answer":42}` || a.StructuredContent["bytes"] != 13.0 {
			t.Errorf("JSON was written as %q, and the receipt says %v", written, a.StructuredContent)
		}
	})
}

// The file comes into being while the model answers, which is the last moment to refuse it.
func TestAnswerThatCannotBeWrittenIsNotLost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who = caller.Caller{ID: "ci", Tenant: "ci"}
		dir := c.allow(nil)
		late := filepath.Join(dir, "late")
		host := c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			if err := os.WriteFile(late, []byte("first"), 0o600); err != nil {
				t.Error(err)
			}
			return backendtest.Reply{Text: "the answer"}
		}))
		a := c.fails("generate", `{"model":"tiny","prompt":"?","output_file":"late"}`, "invalid_argument", `"output_file"`, "exists already")
		if a.StructuredContent["partial"] != "the answer" {
			t.Errorf("got %+v, want the answer in the error", a)
		}
		if err := os.Remove(late); err != nil {
			t.Fatal(err)
		}
		const args = `{"model":"tiny","prompt":"{{input}}","inputs":["a","b"],"output_file":`
		c.fails("map", args+`"late"}`, "invalid_argument", "exists already", "another output_file costs nothing")
		asked := len(host.Calls())
		if m := c.maps(args + `"other"}`); m.Reused != 2 || m.Path != filepath.Join(dir, "other") || len(host.Calls()) != asked {
			t.Errorf("got %+v, and the host was asked %d times more", m, len(host.Calls())-asked)
		}
		if text, _ := os.ReadFile(late); string(text) != "first" {
			t.Errorf("the file that came meanwhile has %q", text)
		}
	})
}
