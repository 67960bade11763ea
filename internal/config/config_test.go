package config_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"ollama-mcp/internal/config"
)

var update = flag.Bool("update", false, "rewrite docs/options.md")

func TestFlagBeatsEnvironmentBeatsDefault(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		want string
	}{
		{"default", nil, nil, "127.0.0.1:11434"},
		{"OLLAMA_HOST", nil, map[string]string{"OLLAMA_HOST": "a"}, "a"},
		{"our variable before OLLAMA_HOST", nil, map[string]string{"OLLAMA_HOST": "a", "OLLAMA_MCP_HOST": "b"}, "b"},
		{"flag before both", []string{"--host=c"}, map[string]string{"OLLAMA_HOST": "a", "OLLAMA_MCP_HOST": "b"}, "c"},
		{"an empty variable says nothing", nil, map[string]string{"OLLAMA_MCP_HOST": ""}, "127.0.0.1:11434"},
	} {
		c, err := parse(tc.args, tc.env)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if c.Host != tc.want {
			t.Errorf("%s: got host %q, want %q", tc.name, c.Host, tc.want)
		}
	}
}

func TestBadValueIsNamedByWhereItCameFrom(t *testing.T) {
	for _, tc := range []struct {
		args []string
		env  map[string]string
		want string // is in the error
	}{
		{[]string{"--slots=many"}, nil, "--slots"},
		{[]string{"--slots=0"}, nil, "--slots"},
		{[]string{"--solts=1"}, nil, "--solts"},
		{nil, map[string]string{"OLLAMA_MCP_SLOTS": "many"}, "OLLAMA_MCP_SLOTS"},
		{nil, map[string]string{"OLLAMA_MCP_TIMEOUT": "-1s"}, "OLLAMA_MCP_TIMEOUT"},
		{nil, map[string]string{"OLLAMA_MCP_LOG_LEVEL": "loud"}, "OLLAMA_MCP_LOG_LEVEL"},
	} {
		_, err := parse(tc.args, tc.env)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v %v: got %v, want an error that names %s", tc.args, tc.env, err, tc.want)
		}
	}
}

func TestOptionThatMayBeRepeatedIsReadFromAnywhere(t *testing.T) {
	for _, tc := range []struct {
		args []string
		env  map[string]string
	}{
		{[]string{"--listen=a:1", "--listen=b:2"}, nil},
		{[]string{"--listen=a:1,b:2"}, map[string]string{"OLLAMA_MCP_LISTEN": "c:3"}},
		{nil, map[string]string{"OLLAMA_MCP_LISTEN": "a:1,b:2"}},
	} {
		c, err := parse(tc.args, tc.env)
		if err != nil || strings.Join(c.Listen, " ") != "a:1 b:2" {
			t.Errorf("%v %v: got %q, %v", tc.args, tc.env, c.Listen, err)
		}
	}
}

func TestKeyComesFromTheEnvironmentAlone(t *testing.T) {
	c, err := parse(nil, map[string]string{"OLLAMA_API_KEY": "secret"})
	if err != nil || c.APIKey != "secret" {
		t.Errorf("got %q, %v", c.APIKey, err)
	}
	if _, err := parse([]string{"--api-key=secret"}, nil); err == nil {
		t.Error("a flag for the key exists")
	}
}

func TestOptionsPageIsCurrent(t *testing.T) {
	const file = "../../docs/options.md"
	if *update {
		if err := os.WriteFile(file, []byte(config.Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != config.Page() {
		t.Errorf("%s is out of date: run make docs", file)
	}
}

func parse(args []string, env map[string]string) (config.Config, error) {
	var c config.Config
	err := config.Parse(config.Flags(&c), &c, args, func(key string) string { return env[key] })
	return c, err
}
