package app

import (
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

func TestUsageOutlastsTheProgramAndIsPrinted(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	state := t.TempDir()
	stdin := initialized + toolCall(2, "generate", `{"model":"tiny","prompt":"hi"}`)
	for range 2 {
		if _, errs, status := program(t, stdin, []string{"OLLAMA_HOST=" + host.Listen(t)}, "--state-dir="+state); status != 0 {
			t.Fatalf("status %d, %q", status, errs)
		}
	}
	out, errs, status := program(t, "", nil, "usage", "--state-dir", state)
	if lines := strings.Split(out, "\n"); status != 0 || len(lines) != 4 || !strings.Contains(lines[1], "local   tiny:latest  local") || !strings.HasSuffix(lines[1], "< 1 s") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
	out, _, status = program(t, "", []string{"OLLAMA_MCP_STATE_DIR=" + state}, "usage", "--json", "--days=1")
	var rows []struct {
		Caller    string
		Calls     int
		TokensOut int `json:"tokens_out"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || status != 0 || len(rows) != 1 || rows[0].Calls != 2 || rows[0].TokensOut != 6 {
		t.Errorf("status %d, %v, %+v", status, err, rows)
	}
}

func TestUsageExplainsWhatItNeeds(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"usage"}, misuse, "--state-dir"},
		{[]string{"usage", "--state-dir=/missing"}, failure, "no usage is kept there"},
		{[]string{"usage", "--state-dir=/missing", "--days=0"}, misuse, "--days"},
		{[]string{"usage", "extra"}, misuse, "unexpected argument"},
	} {
		if _, errs, status := program(t, "", nil, tc.args...); status != tc.status || !strings.Contains(errs, tc.want) {
			t.Errorf("%q: status %d, %q", tc.args, status, errs)
		}
	}
}
