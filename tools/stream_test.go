package tools_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/schema"
)

// hearing is a session that keeps the params of its notifications.
type hearing struct {
	mcpserver.ClientSession
	told chan json.RawMessage
}

func (hearing) SessionID() string { return "s" }
func (hearing) Initialized() bool { return true }
func (h hearing) Notify(_ string, params any) {
	h.told <- schema.MustMarshal(params)
}

func TestTextIsStreamedToClientsThatAskForItAndToNoOthers(t *testing.T) {
	const text = "one two three four five six seven eight nine ten"
	for _, streams := range []bool{true, false} {
		story(t, func(t *testing.T, c *client) {
			c.use(backendtest.New("gpu-1").Answer(text).TokenTime(time.Second))
			session := hearing{told: make(chan json.RawMessage, 1000)}
			srv := mcpserver.NewMCPServer("test", "1")
			srv.AddTool(mcp.NewTool("generate"), c.tools["generate"])
			call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate",
				"arguments":{"model":"tiny","prompt":"hi"},"_meta":{"progressToken":1,"ollama-mcp/stream":%v}}}`, streams)
			if _, ok := srv.HandleMessage(srv.WithContext(c.context(), session), []byte(call)).(mcp.JSONRPCResponse); !ok {
				t.Fatal("the call failed")
			}
			close(session.told)
			var got strings.Builder
			pieces := 0
			for params := range session.told {
				var report struct {
					Meta struct {
						Text struct {
							Text  string
							Again bool
						} `json:"ollama-mcp/text"`
					} `json:"_meta"`
				}
				if err := json.Unmarshal(params, &report); err != nil {
					t.Fatal(err)
				}
				piece := report.Meta.Text
				if piece.Text != "" {
					pieces++
				}
				if piece.Again {
					t.Error("the text began anew")
				}
				got.WriteString(piece.Text)
			}
			if streams && (pieces < 5 || !strings.HasPrefix(text, got.String())) || !streams && pieces > 0 {
				t.Errorf("streams %v: %d pieces: %q", streams, pieces, got.String())
			}
		})
	}
}

func TestProgressCarriesTheEndOfTheAnswerSoFarIfWanted(t *testing.T) {
	long := strings.Repeat("word ", 50) + "naïve\tend of it all and then some more"
	for _, wanted := range []bool{true, false} {
		story(t, func(t *testing.T, c *client) {
			c.use(backendtest.New("gpu-1").Answer(long).TokenTime(time.Second))
			session := hearing{told: make(chan json.RawMessage, 1000)}
			srv := mcpserver.NewMCPServer("test", "1")
			srv.AddTool(mcp.NewTool("chat"), c.tools["chat"])
			call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"chat",
				"arguments":{"model":"tiny","messages":[{"role":"user","content":"hi"}],"progress_text":%v,"timeout_seconds":300},"_meta":{"progressToken":1}}}`, wanted)
			if _, ok := srv.HandleMessage(srv.WithContext(c.context(), session), []byte(call)).(mcp.JSONRPCResponse); !ok {
				t.Fatal("the call failed")
			}
			close(session.told)
			last := ""
			for params := range session.told {
				var report struct{ Message string }
				if err := json.Unmarshal(params, &report); err != nil {
					t.Fatal(err)
				}
				message := report.Message
				if message != "" {
					last = message
				}
				if strings.Contains(message, "\n") || len([]rune(message)) > 160 {
					t.Errorf("got the message %q, want a short line", message)
				}
			}
			if got := strings.Contains(last, ": …") && strings.Contains(last, "word"); got != wanted {
				t.Errorf("wanted %v: the last message is %q", wanted, last)
			}
		})
	}
}
