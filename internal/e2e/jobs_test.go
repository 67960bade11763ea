package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/tinymodels"
)

// A client gives up on each call in half the time that the model writes. Over HTTP it loses its
// connection too.
func TestLongGenerationReachesAClientThatGivesUpEarly(t *testing.T) {
	overHTTP := func(revision string) func(*testing.T) func() *session {
		return func(t *testing.T) func() *session {
			url := serve(t, command(deadline(t), shared.URL(), "--listen=127.0.0.1:0", "--wait=1s")).url()
			return func() *session {
				return join(t, deadline(t), &mcp.StreamableClientTransport{Endpoint: url + "/mcp"}, revision)
			}
		}
	}
	for name, start := range map[string]func(*testing.T) (client func() *session){
		"stdio": func(t *testing.T) func() *session {
			s := connect(t, shared, "OLLAMA_MCP_WAIT=1s")
			return func() *session { return s }
		},
		"HTTP":           overHTTP(""),
		"HTTP as legacy": overHTTP(legacy),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := start(t)
			longEnough(t, func(limit time.Duration) bool {
				call := func(tool, args string) (a answer) {
					t.Helper()
					ctx, giveUp := context.WithTimeout(t.Context(), limit/2)
					defer giveUp()
					res, err := client().CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(args)})
					if err == nil {
						a, err = read(res)
					}
					if err != nil {
						t.Logf("%s: %v", tool, err) // the machine is too busy for this limit
					}
					return a
				}
				a := call("generate", fmt.Sprintf(`{"model":%q,"prompt":%q,"timeout_seconds":%v}`, tinymodels.Loops.Name, fresh(), limit.Seconds()))
				id, _ := a.StructuredContent["job"].(string)
				for id != "" && a.StructuredContent["job"] == id {
					a = call("job", `{"id":"`+id+`"}`)
				}
				if a.Meta.Served.DoneReason != "timeout" {
					return false
				}
				if !strings.HasPrefix(a.text(), " tick tock tick") || a.Meta.Served.Total < limit.Milliseconds()/2 {
					t.Errorf("got %.200s… (%+v)", a.text(), a.Meta.Served)
				}
				return true
			})
		})
	}
}
