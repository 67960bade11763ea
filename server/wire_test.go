package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

var update = flag.Bool("update", false, "rewrite the conversations in testdata")

// TestConversationsAreAsRecorded replays what clients say in testdata/*.wire, the
// lines that begin with "> ", and compares what the server says, "< ".
func TestConversationsAreAsRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.wire")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			recorded, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var heard []byte
			synctest.Test(t, func(t *testing.T) { heard = converse(t, recorded) })
			if *update {
				if err := os.WriteFile(file, heard, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(heard, recorded) {
				t.Errorf("%s has changed (-update records it):\n%s", file, heard)
			}
		})
	}
}

// converse says what the client says in script, and returns script with what the
// server says to that.
func converse(t *testing.T, script []byte) []byte {
	c := connect(t, server.Options{
		Instructions: "Ask for little.",
		ResourceTemplates: []mcpserver.ServerResourceTemplate{{
			Template: mcp.NewResourceTemplate("test://{id}", "thing", mcp.WithTemplateMIMEType("text/plain")),
			Handler: func(_ context.Context, r mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
				return []mcp.ResourceContents{mcp.TextResourceContents{URI: r.Params.URI, MIMEType: "text/plain", Text: "a thing"}}, nil
			},
		}},
	})
	var both bytes.Buffer
	for line := range strings.Lines(string(script)) {
		if strings.HasPrefix(line, "< ") {
			continue
		}
		both.WriteString(line)
		said, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		c.send(strings.TrimSuffix(said, "\n"))
		synctest.Wait()
		for len(c.lines) > 0 {
			both.WriteString("< " + c.next().line + "\n")
		}
	}
	if rest, err := c.hangUp(); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %v, %v", rest, err)
	}
	return both.Bytes()
}

func TestToolsKnowTheirClient(t *testing.T) {
	type client struct {
		info    mcp.Implementation
		version string
		level   mcp.LoggingLevel
	}
	var seen client
	look := says("look", func(ctx context.Context, _ mcp.CallToolRequest) string {
		session := mcpserver.ClientSessionFromContext(ctx)
		seen = client{
			session.(mcpserver.SessionWithClientInfo).GetClientInfo(),
			mcpserver.RequestProtocolVersion(ctx),
			session.(mcpserver.SessionWithLogging).GetLogLevel(),
		}
		return ""
	})
	me := mcp.Implementation{Name: "t", Version: "1"}
	for name, tt := range map[string]struct {
		in   string
		want client
	}{
		"legacy": {initialize + "\n" + call("1", "look", "{}"), client{me, "2025-11-25", mcp.LoggingLevelError}},
		"modern": {modern(call("1", "look", "{}")), client{me, "2026-07-28", mcp.LoggingLevelError}},
	} {
		t.Run(name, func(t *testing.T) {
			seen = client{}
			talk(t, with(look), strings.NewReader(tt.in))
			got, _ := json.Marshal(seen.info)
			want, _ := json.Marshal(tt.want.info)
			if !bytes.Equal(got, want) || seen.version != tt.want.version || seen.level != tt.want.level {
				t.Errorf("got %v, want %v", seen, tt.want)
			}
		})
	}
}

// modern turns a call into one of the protocol since 2026-07-28.
func modern(call string) string {
	return strings.Replace(call, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
		`"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{},`, 1)
}
