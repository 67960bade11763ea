package config_test

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/config"
)

var update = flag.Bool("update", false, "rewrite docs/options.md")

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	const file = "queue: 3"
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		file string
		want int
	}{
		{"default", nil, nil, "", 256},
		{"file", nil, nil, file, 3},
		{"environment before file", nil, map[string]string{"OLLAMA_MCP_QUEUE": "2"}, file, 2},
		{"flag before all", []string{"--queue=1"}, map[string]string{"OLLAMA_MCP_QUEUE": "2"}, file, 1},
		{"an empty variable says nothing", nil, map[string]string{"OLLAMA_MCP_QUEUE": ""}, file, 3},
	} {
		c, err := parseFile(t, tc.file, tc.args, tc.env)
		if err != nil || c.Queue != tc.want {
			t.Errorf("%s: got queue %d, %v; want %d", tc.name, c.Queue, err, tc.want)
		}
	}
}

func TestHostsComeFromTheFirstPlaceThatNamesAny(t *testing.T) {
	const file = "hosts: [{url: e}, {url: f}]"
	ours, ollamas := map[string]string{"OLLAMA_MCP_HOST": "b,c", "OLLAMA_HOST": "d"}, map[string]string{"OLLAMA_HOST": "d"}
	for _, tc := range []struct {
		args []string
		env  map[string]string
		file string
		want string
	}{
		{nil, nil, "", "127.0.0.1:11434"},
		{nil, ollamas, "", "d"},
		{nil, ollamas, file, "e f"},
		{nil, ollamas, "host: e", "e"},
		{nil, ollamas, "{host: [e, f], hosts: [{url: g}]}", "e f g"},
		{nil, ours, file, "b c"},
		{[]string{"--host=a"}, ours, file, "a"},
		{[]string{"--host=a", "--host=z"}, ours, file, "a z"},
	} {
		c, err := parseFile(t, tc.file, tc.args, tc.env)
		var got []string
		for _, h := range c.Hosts {
			got = append(got, h.URL)
		}
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%q %v %q: got hosts %q, %v; want %s", tc.args, tc.env, tc.file, got, err, tc.want)
		}
	}
}

func TestVariableWithTheNameOfNoOptionIsWarnedOf(t *testing.T) {
	got := config.Misspelled(config.Flags(new(config.Config)), []string{
		"OLLAMA_MCP_TIME_OUT=1m", "OLLAMA_MCP_CACHETTL=1m", // slips
		"OLLAMA_MCP_TIMEOUT=1m", "OLLAMA_MCP_KEY=secret", "OLLAMA_MCP_LISTN=", "OLLAMA_HOST=a", "PATH=/bin", // none
		"OLLAMA_MCP_SERVICE_HOST=10.0.0.1", "OLLAMA_MCP_SERVICE_PORT=80", "OLLAMA_MCP_PORT=tcp://10.0.0.1:80", // of Kubernetes
	})
	want := []string{
		"the variable OLLAMA_MCP_TIME_OUT is that of no option; did you mean OLLAMA_MCP_TIMEOUT?",
		"the variable OLLAMA_MCP_CACHETTL is that of no option; did you mean OLLAMA_MCP_CACHE_TTL?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBadValueIsNamedByWhereItCameFrom(t *testing.T) {
	for _, tc := range []struct {
		args []string
		env  map[string]string
		want string // is in the error
	}{
		{[]string{"--hst=a"}, nil, "unknown flag: --hst; did you mean --host?"},
		{[]string{"--cache_ttl=1m"}, nil, "unknown flag: --cache_ttl; did you mean --cache-ttl?"},
		{[]string{"--something-else"}, nil, "unknown flag: --something-else"},
		{[]string{"--slots=many"}, nil, `--slots: "many": must be a whole number`},
		{[]string{"--slots=-1"}, nil, "--slots: must be 0 to 4096"},
		{[]string{"--solts=1"}, nil, "--solts"},
		{[]string{"--route=nearest"}, nil, "--route: \"nearest\": must be warmest, least-busy, fastest or round-robin"},
		{[]string{"--host="}, nil, "--host: has no address"},
		{[]string{"--host=a", "--host=a:11434"}, nil, "--host: another host has the name a:11434 already"},
		{[]string{"--output-filter=mask:("}, nil, `--output-filter: "mask:(": error parsing regexp: missing closing ): `},
		{[]string{"--output-filter=secret"}, nil, `--output-filter: "secret": must be mask:REGEX or refuse:REGEX`},
		{[]string{"--output-filter=refuse:"}, nil, `--output-filter: "refuse:": needs a name and something to match`},
		{[]string{"--hedge-after=-1s"}, nil, "--hedge-after: must be 0 or more"},
		{[]string{"--merge-window=2s"}, nil, "--merge-window: must be 0 to 1s"},
		{[]string{"--timeout=5"}, nil, `--timeout: "5": must be a duration with a unit, such as 500ms, 30s or 1h30m`},
		{[]string{"--host=http://"}, nil, "--host: the address names no host"},
		{[]string{"--host=dns+https:///api"}, nil, "--host: the address names no host"},
		{[]string{"--host=11434"}, nil, "--host: a number is not an address; a port of this machine is written as :11434"},
		{[]string{"--trust-proxy=10.0.0.0/8,proxy"}, nil, "--trust-proxy: must be an address, a network such as 10.0.0.0/8, or unix"},
		{[]string{"--allowed-origin=foo"}, nil, "--allowed-origin: must be of the form https://example.com"},
		{[]string{"--allowed-origin=https://a.example/"}, nil, "--allowed-origin: must be of"},
		{[]string{"--allowed-origin=https://a.example,https://*.b.example"}, nil, "--allowed-origin: must be of"},
		{[]string{"--tls-key=a"}, nil, "--tls-key: needs tls-cert"},
		{nil, map[string]string{"OLLAMA_MCP_SLOTS": "many"}, `OLLAMA_MCP_SLOTS: "many": must be a whole number`},
		{nil, map[string]string{"OLLAMA_MCP_TIMEOUT": "-1s"}, "OLLAMA_MCP_TIMEOUT: must be 0 or more"},
		{nil, map[string]string{"OLLAMA_MCP_CACHE_TTL": "10"}, `OLLAMA_MCP_CACHE_TTL: "10": must be a duration with a unit`},
		{nil, map[string]string{"OLLAMA_HOST": "http://"}, "OLLAMA_HOST: the address names no host"},
		{nil, map[string]string{"OLLAMA_MCP_LOG_LEVEL": "loud"}, "OLLAMA_MCP_LOG_LEVEL"},
		{nil, map[string]string{"OLLAMA_MCP_HOST": "ftp://a"}, "OLLAMA_MCP_HOST: the scheme"},
		{nil, map[string]string{"OLLAMA_HOST": "a b"}, "OLLAMA_HOST: the host"},
		{nil, map[string]string{"OLLAMA_MCP_CONFIG": "none.yaml"}, "OLLAMA_MCP_CONFIG: none.yaml: no such file"},
	} {
		_, err := parse(tc.args, tc.env)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
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

func TestRuleIsTheSameInALineOfTheFileAndInAFlag(t *testing.T) {
	want := []config.Rule{
		{Name: "#1", Pattern: `[a,b]{2,}:`},
		{Name: "#2", Pattern: "orion", Refuse: true},
	}
	for _, tc := range []struct {
		args []string
		env  map[string]string
		file string
		want []config.Rule
	}{
		{[]string{"--output-filter=mask:[a,b]{2,}:", "--output-filter=refuse:orion"}, nil, "output-filter: mask:c", want},
		{nil, nil, "output-filter: ['mask:[a,b]{2,}:', refuse:orion]", want},
		{nil, nil, "output-filter: ['mask:[a,b]{2,}:', {name: '#2', match: orion, refuse: true}]", want},
		{nil, map[string]string{"OLLAMA_MCP_OUTPUT_FILTER": want[0].Pattern}, "", nil},
		{nil, map[string]string{"OLLAMA_MCP_OUTPUT_FILTER": "mask:" + want[0].Pattern}, "output-filter: mask:c", want[:1]},
	} {
		c, err := parseFile(t, tc.file, tc.args, tc.env)
		if (err != nil) != (tc.want == nil) || !reflect.DeepEqual(c.Filter, tc.want) {
			t.Errorf("%q %v %q: got %+v, %v", tc.args, tc.env, tc.file, c.Filter, err)
		}
	}
}

func TestErrorNeverShowsThePasswordOfAnAddress(t *testing.T) {
	const address = `ftp://me:swordfish@a"`
	_, flag := parse([]string{"--host=" + address}, nil)
	_, variable := parse(nil, map[string]string{"OLLAMA_MCP_HOST": address})
	_, ollamas := parse(nil, map[string]string{"OLLAMA_HOST": address})
	for _, err := range []error{flag, variable, ollamas} {
		if err == nil || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("got %v", err)
		}
	}
}

func TestKeyComesFromTheEnvironmentAlone(t *testing.T) {
	c, err := parse(nil, map[string]string{"OLLAMA_API_KEY": "secret"})
	if err != nil || c.APIKey != "secret" {
		t.Errorf("got %q, %v", c.APIKey, err)
	}
	if c.Hosts[0].APIKey != "secret" {
		t.Errorf("the usual host is sent %q", c.Hosts[0].APIKey)
	}
	if _, err := parse([]string{"--api-key=secret"}, nil); err == nil {
		t.Error("a flag for the key exists")
	}
}

func TestAnotherStartIsGivenTheFlagsButServesStdio(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "c.yaml", "{listen: a:1, queue: 3}")
	var c, again config.Config
	fs := config.Flags(&c)
	fs.Bool("json", false, "of a command")
	env := func(string) string { return "" }
	if err := config.Parse(fs, &c, []string{"--config=c.yaml", "--host=[::1]:1", "--host=a,b", "--listen=:1", "--json", "--slots=7", "--output-filter=mask:a,b", "--output-filter=refuse:c"}, env); err != nil {
		t.Fatal(err)
	}
	if err := config.Parse(config.Flags(&again), &again, config.Given(fs), env); err != nil {
		t.Fatal(err)
	}
	if len(again.Listen) != 0 || again.Queue != 3 || !reflect.DeepEqual(again.Hosts, c.Hosts) || !reflect.DeepEqual(again.Filter, c.Filter) || len(c.Hosts) != 3 || len(c.Filter) != 2 || c.Hosts[2].Slots != 7 {
		t.Errorf("given %q, the other start has %+v", config.Given(fs), again)
	}
}

func TestChangesThatNeedARestartAreNamed(t *testing.T) {
	const key = "keys: [{name: a, sha256: " + digest + "}]"
	for _, tc := range []struct {
		was, is string
		want    string
	}{
		{"queue: 3", "queue: 3", ""},
		{"queue: 3", "", "queue"},
		{"listen: a:1", "{listen: [a:1, b:2], timeout: 1s}", "listen timeout"},
		{"", "{log-level: debug, slots: 3, ca-file: a, hosts: [{url: a}], models: {a: {num_ctx: 1}}, fallback: [a], output-filter: mask:a}", ""},
		{"", key, "keys"},
		{key, "", "keys"},
		{"", "keys: []", "keys"},
		{key, "keys: []", ""},
		{key, strings.Replace(key, "name: a", "name: b", 1), ""},
	} {
		was, err := parseFile(t, tc.was, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		is, err := parseFile(t, tc.is, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(config.NeedsRestart(was, is), " "); got != tc.want {
			t.Errorf("%q to %q: got %q, want %q", tc.was, tc.is, got, tc.want)
		}
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

// parseFile is parse with a file that holds text, named config.yaml.
func parseFile(t *testing.T, text string, args []string, env map[string]string) (config.Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("config.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return parse(append(args, "--config=config.yaml"), env)
}
