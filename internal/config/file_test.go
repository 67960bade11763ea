package config_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/config"
)

const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" // of "test"

const badName = " must be at most 255 bytes of characters that can be printed, without blanks around them"

// The example is the one that is printed on the page of options.
func TestExampleInTheDocsMeansWhatItSays(t *testing.T) {
	example, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(config.Page(), string(example)) {
		t.Error("the page has another example")
	}
	c, err := parseFile(t, string(example), nil, map[string]string{"GPU_2_KEY": "g", "OPENAI_API_KEY": "o", "OLLAMA_API_KEY": "x", "OPS_WEBHOOK": "https://hooks.example/x"})
	if err != nil {
		t.Fatal(err)
	}
	halfAnHour := 30 * time.Minute
	nobodys, err := hex.DecodeString("f509bb6c8ebb77df9797f57f524921a02f51745362794532887af717621a1a0e")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct{ got, want any }{
		{c.Timeout, 2 * time.Minute},
		{c.Listen, []string{"127.0.0.1:8383"}},
		{c.OAuthIssuer, "https://login.example.com"},
		{c.Hosts, []config.Host{
			{Name: "gpu-1", URL: "http://10.0.0.5:11434", Slots: 4, Weight: 2},
			{Name: "gpu-2", URL: "https://gpu-2.example.com", APIKey: "g", CAFile: "authority.pem"},
			{Name: "ollama.svc:11434", URL: "dns+http://ollama.svc:11434"},
		}},
		{c.Models, map[string]config.Model{
			"qwen3:32b": {Runner: map[string]any{
				"num_ctx": 16384, "num_batch": 512, "num_gpu": 99, "main_gpu": 0, "num_thread": 8, "use_mmap": true,
			}, KeepAlive: &halfAnHour, HedgeAfter: new(5 * time.Second), Semantic: new(0.97)},
			"nomic-embed-text:latest": {Runner: map[string]any{}, Semantic: new(0.93), SameAs: []string{"openai/nomic-embed"}},
			"chat-pro:latest":         {Runner: map[string]any{}, Try: []string{"qwen3:32b", "qwen3:8b", "openai/gpt-4o-mini"}},
			"triage:latest":           {Runner: map[string]any{}, Try: []string{"qwen3:1.7b", "qwen3:32b"}, UnlessConfident: 0.8},
		}},
		{c.Fallback, []string{"qwen3:8b"}},
		{c.Alerts, []config.Alert{{
			Name: "alerts[1]", URL: "https://hooks.example/x", Kind: "slack", Events: []string{"all_hosts_down", "host_down", "budget_spent"},
		}}},
		{c.Providers, map[string]config.Provider{
			"openai": {Kind: "openai", URL: "https://api.openai.com/v1", Key: "o", MaxCalls: 500, MaxTokens: 1000000},
		}},
		{c.Keys, []config.Key{{SHA256: [32]byte(nobodys), Caller: caller.Caller{
			ID: "ci", LocalOnly: true, ExactOnly: true,
			Tools: []string{"generate", "chat", "embed"}, Models: []string{"qwen3:*", "chat-pro:latest"},
			Dirs: []string{"/srv/reports"}, WriteDirs: []string{},
			Limits: caller.Limits{PerSecond: 2, Burst: 10, InFlight: 4, Body: 8 << 20, CallsPerDay: 500, TokensPerDay: 200000},
		}, Expires: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		{c.Scopes, map[string]config.Grant{
			"mcp.chat":  {Tools: []string{"generate", "chat"}, Models: []string{"qwen3:*"}},
			"mcp.admin": {Admin: true},
		}},
		{c.Filter, []config.Rule{
			{Name: "mail-addresses", Pattern: `[\w.]+@[\w.]+\.\w+`, Replacement: "[address]"},
			{Name: "secret-project", Pattern: "(?i)project orion", Refuse: true},
			{Name: "#3", Pattern: "sk-[A-Za-z0-9]{20,}"},
		}},
		{c.Guard, config.Guard{Model: "llama-guard3:1b", Prompt: "A text may pass if it may be shown to pupils."}},
		{c.Warnings, []string(nil)},
	} {
		if !reflect.DeepEqual(part.got, part.want) {
			t.Errorf("got  %+v\nwant %+v", part.got, part.want)
		}
	}
}

func TestMistakeInTheFileIsNamedByItsLine(t *testing.T) {
	for _, tc := range []struct{ file, want string }{
		{"\nslots: many", `config.yaml:2: slots: "many": must be a whole number`},
		{"log-level: loud", `config.yaml:1: log-level: "loud": must be debug, info, warn or error`},
		{"gateway: yes", `config.yaml:1: gateway: "yes": must be true or false`},
		{"insecure: \"on\"", `config.yaml:1: insecure: "on": must be true or false`},
		{"semantic-threshold: high", `config.yaml:1: semantic-threshold: "high": must be a number`},
		{"hosts:\n\t- url: a", "config.yaml:2: is indented with a tab; YAML wants spaces"},
		{"models:\n  a:\n  \tnum_ctx: 1", "config.yaml:3: is indented with a tab; YAML wants spaces"},
		{"timeout: @1m", "config.yaml:1: found character that cannot start any token"},
		{"\n\nslots: -1", "config.yaml:3: slots: must be 0 to 4096"},
		{"hosts:\n- {url: a, slots: 5000}", "config.yaml:2: item 1: slots: must be 0 to 4096"},
		{"output-filter:\n- {name: a, match: (}", "config.yaml:2: item 1: error parsing regexp: missing closing ): `(`"},
		{"output-filter:\n- {match: a}", "config.yaml:2: item 1: needs a name and something to match"},
		{"output-filter: [mask:a, 'mask:(']", "config.yaml:1: item 2: error parsing regexp: missing closing ): `(`"},
		{"output-filter: remove:a", "config.yaml:1: output-filter: must be mask:REGEX or refuse:REGEX"},
		{"guard: {model: a}", "config.yaml:1: guard: needs model and prompt"},
		{"slots: [1]", "config.yaml:1: slots: must be a single value, and not empty"},
		{"slot: 1", "config.yaml:1: unknown key slot; did you mean slots?"},
		{"slots: 1\nslots: 2", "config.yaml:2: slots: is given twice"},
		{"slots:", "config.yaml:1: slots: has no value; give it one or leave it out"},
		{"route: near", `config.yaml:1: route: "near": must be warmest, least-busy, fastest or round-robin`},
		{"config: other.yaml", "config.yaml:1: unknown key config"},
		{"listen: {a: 1}", "config.yaml:1: listen: must be a single value, and not empty"},
		{"semantic: {threshold: 1}", "config.yaml:1: unknown key semantic; did you mean semantic-cache?"},
		{"[]", "config.yaml:1: the document: must be a mapping of keys to values"},
		{"slots: 1\n---\nslots: 2", "config.yaml:2: a second document begins; only one is read"},
		{"slots: 1\n\tqueue: 2", "config.yaml:2: found a tab character that violates indentation"},
		{"slots: 1\nroute: \xff", "config.yaml:2: contains control characters, or is not UTF-8"},
		{"slots: 1\r\nroute: \x01", "config.yaml:2: contains control characters, or is not UTF-8"},
		{"{", "config.yaml:1: did not find expected node content"},
		{"slots: 1\nmodels: {\nqueue: 2\n", "config.yaml:2: did not find expected ',' or '}'"},
		{"slots: 1\n\n- a", "config.yaml:3: did not find expected key"},
		{"slots: 1\nqueue: *one", "config.yaml:2: unknown anchor 'one' referenced"},
		{"? [a]\n: 1", "config.yaml:1: a key must be a text"},

		{"host:\n- a\n- a", "config.yaml:3: item 2: another host has the name a:11434 already"},
		{"hosts: {url: a}", "config.yaml:1: hosts: must be a list"},
		{"hosts:\n- {name: a}", "config.yaml:2: item 1: has no url"},
		{"hosts:\n- url: a\n  slot: 1", "config.yaml:3: unknown key slot; did you mean slots?"},
		{"hosts:\n- {name: a, url: b}\n- {name: a, url: c}", "config.yaml:3: item 2: another host has the name a already"},
		{"hosts: [{url: dns+a}]", "config.yaml:1: item 1: after dns+ comes http:// or https://"},
		{"hosts: [{url: ftp://a}]", "config.yaml:1: item 1: the scheme of the address is neither http nor https"},
		{"hosts: [{url: a, api_key: b}]", "config.yaml:1: unknown key api_key; did you mean api_key_env?"},
		{"hosts: [{url: a, weight: 0}]", "config.yaml:1: weight: must be a number above 0"},
		{"hosts: [{url: a, slots: -1}]", "config.yaml:1: slots: must be a whole number, at least 0"},

		{"models: {a: {num_ctx: 0}}", "config.yaml:1: num_ctx: must be a whole number, at least 1"},
		{"models: {a: {num_ctx: 1e99}}", "config.yaml:1: num_ctx: must be a whole number, at least 1"},
		{"models: {a: {use_mmap: 2}}", "config.yaml:1: use_mmap: must be true or false"},
		{"models: {a: {hedge_after: -1s}}", "config.yaml:1: hedge_after: must be 0 or more"},
		{"models: {a: {hedge_after: 5}}", "config.yaml:1: hedge_after: must be a duration with a unit, such as 500ms, 30s or 1h30m"},
		{"timeout: 5", `config.yaml:1: timeout: "5": must be a duration with a unit, such as 500ms, 30s or 1h30m`},
		{"host: 1", "config.yaml:1: host: a number is not an address; a port of this machine is written as :1"},
		{"hosts: [{url: 'https://'}]", "config.yaml:1: item 1: the address names no host"},
		{"queue: 3\nallowed-origin: [https://a.example, foo]", "config.yaml:2: allowed-origin: must be of the form https://example.com, without a path or *"},
		{"models: {a: {unless_confident: 0.8}}", "config.yaml:1: a: unless_confident needs try: the models to ask in turn"},
		{"models: {a: {try: [b], unless_confident: 80}}", "config.yaml:1: unless_confident: must be more than 0 and less than 1"},
		{"models:\n a: {hedge_after: 1s, try: [b]}", "config.yaml:2: a:latest: has options, but is an alias that does not try the model of that name"},
		{"models: {a: {keep_alive: long}}", "config.yaml:1: keep_alive: must be a duration such as 30m, or a number of seconds; 0 = unload at once, -1 = keep for ever"},
		{"models:\n a: {num_ctx: 1}\n a:latest: {num_ctx: 2}", "config.yaml:3: a:latest: is given twice: both names are of the model a:latest"},
		{"models:\n a: {num_ctx: 1, try: [b]}", "config.yaml:2: a:latest: has options, but is an alias that does not try the model of that name"},
		{"models:\n a: {try: []}", "config.yaml:2: try: names no model"},
		{"models:\n a: {try: [x, b, a]}\n b: {try: [b, c]}\n c: {try: [x, b]}", "config.yaml:3: b:latest: leads back to itself"},
		{"models:\n a: {try: [b]}\n b: {try: [x, a:latest]}", "config.yaml:2: a:latest: leads back to itself"},
		{"models:\n a:\n  try: [opneai/gpt]", "config.yaml:3: try: opneai/gpt: there is no provider opneai; a model of Ollama is named with its tag here, as in opneai/gpt:latest"},
		{"providers: {p: {kind: openai, url: http://a}}\nfallback: [p/]", "config.yaml:2: fallback: p/: names no model of the provider"},
		{"models:\n a:\n  same_as: [opneai/a]", "config.yaml:3: same_as: opneai/a: must be PROVIDER/MODEL, with a provider of this file"},
		{"models: {a: {same_as: [p/]}}\nproviders: {p: {kind: openai, url: http://a}}", "config.yaml:1: same_as: p/: must be PROVIDER/MODEL, with a provider of this file"},
		{"models: {a: {same_as: [b]}}", "config.yaml:1: same_as: b: must be PROVIDER/MODEL, with a provider of this file"},
		{"models: {a: {same_as: [p/a], try: [b]}}\nproviders: {p: {kind: openai, url: http://a}}", "config.yaml:1: same_as: a:latest is an alias that does not try the model of that name"},
		{"models: {a: {same_as: []}}", "config.yaml:1: same_as: names no model"},
		{"fallback: []", "config.yaml:1: fallback: names no model"},
		{"fallback: [~]", "config.yaml:1: item 1: has no value; give it one or leave it out"},

		{"providers: {p: {kind: other, url: http://a}}", "config.yaml:1: p: kind must be openai"},
		{"providers: {p: {kind: openai}}", "config.yaml:1: p: url must begin with http:// or https://, and have no user, password, query or fragment"},
		{"providers: {p/q: {kind: openai, url: http://a}}", "config.yaml:1: p/q: the name of a provider has no slash"},
		{"providers:\n p: {key_env: THE_KEY}", "config.yaml:2: key_env: there is no environment variable THE_KEY, or it is empty"},
		{"providers:\n p: {key_file: none}", "config.yaml:2: key_file: no such file or directory"},
		{"providers: {p: {max_calls_per_day: 0}}", "config.yaml:1: max_calls_per_day: must be a whole number, at least 1"},

		{"keys: [{sha256: " + digest + "}]", "config.yaml:1: item 1: has no name"},
		{"keys: [{name: a}]", "config.yaml:1: item 1: has no sha256"},
		{`keys: [{name: "a\u202eb", sha256: ` + digest + "}]", "config.yaml:1: item 1: the name \"a\\u202eb\"" + badName},
		{`keys: [{name: "a\nlevel=INFO", sha256: ` + digest + "}]", "config.yaml:1: item 1: the name \"a\\nlevel=INFO\"" + badName},
		{`keys: [{name: "a\u200b", sha256: ` + digest + "}]", "config.yaml:1: item 1: the name \"a\\u200b\"" + badName},
		{`keys: [{name: "a\u00a0b", sha256: ` + digest + "}]", "config.yaml:1: item 1: the name \"a\\u00a0b\"" + badName},
		{`keys: [{name: "a ", sha256: ` + digest + "}]", "config.yaml:1: item 1: the name \"a \"" + badName},
		{"keys: [{name: " + strings.Repeat("a", 256) + ", sha256: " + digest + "}]", "config.yaml:1: item 1: the name \"" + strings.Repeat("a", 60) + "\"" + badName},
		{"keys:\n- {name: a, sha256: " + digest + "}\n- {name: b, sha256: " + digest + "}", "config.yaml:3: item 2: another key has that name or sha256 already"},
		{"keys: [{tools: }]", "config.yaml:1: tools: has no value; give it one or leave it out"},
		{"keys: [{calls_per_second: .inf}]", "config.yaml:1: calls_per_second: must be a number above 0"},
		{"keys: [{calls_per_second: 0}]", "config.yaml:1: calls_per_second: must be a number above 0"},
		{"oauth-scopes: {s: {tool: [a]}}", "config.yaml:1: unknown key tool; did you mean tools?"},
	} {
		_, err := parseFile(t, tc.file, nil, nil)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%q:\ngot  %v\nwant %s", tc.file, err, tc.want)
		}
	}
}

func TestErrorNeverShowsWhatMayBeASecret(t *testing.T) {
	const secret = "swordfish"
	for _, file := range []string{
		"hosts: [{url: 'http://me:swordfish@a'}]",
		"host: http://me:swordfish@a",
		"hosts: [{url: a, api_key_env: swordfish}]",
		"hosts: [{url: a, api_key: swordfish}]",
		"providers: {p: {kind: openai, url: 'https://me:swordfish@a'}}",
		"providers: {p: {kind: openai, url: 'https://a/?key=swordfish'}}",
		"providers: {p: {key_env: swordfish}}",
		"providers: {p: {key_file: swordfish}}",
		"providers: {p: {key: swordfish}}",
		"providers: {p: {key_env: KEY, key_file: KEY}}",
		"keys: [{name: a, sha256: swordfish}]",
		"keys: [{name: a, key: swordfish}]",
		"keys: [swordfish]",
		"swordfish",
	} {
		_, err := parseFile(t, file, nil, map[string]string{"KEY": secret})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

func TestValueThatDoesNotCountIsCheckedAllTheSame(t *testing.T) {
	_, err := parseFile(t, "slots: many", []string{"--slots=2"}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "config.yaml:1: slots") {
		t.Errorf("got %v", err)
	}
}

func TestHostsWithoutSettingsOfTheirOwnTakeTheOptions(t *testing.T) {
	c, err := parseFile(t, "hosts: [{url: a, slots: 2, ca_file: a.pem}, {url: b}]\nslots: 3", []string{"--ca-file=c.pem"}, nil)
	want := []config.Host{{Name: "a:11434", URL: "a", Slots: 2, CAFile: "a.pem"}, {Name: "b:11434", URL: "b", Slots: 3, CAFile: "c.pem"}}
	if err != nil || !reflect.DeepEqual(c.Hosts, want) {
		t.Errorf("got %+v, %v", c.Hosts, err)
	}
}

func TestKeyOfOllamaIsNotForTheHostsOfTheFile(t *testing.T) {
	env := map[string]string{"OLLAMA_API_KEY": "secret"}
	c, err := parseFile(t, "hosts: [{url: a}]", nil, env)
	if err != nil || c.Hosts[0].APIKey != "" {
		t.Errorf("host of the file: is sent %q, %v", c.Hosts[0].APIKey, err)
	}
	c, err = parseFile(t, "hosts: [{url: a}]", []string{"--host=b", "--host=c"}, env)
	if err != nil || c.Hosts[0].APIKey != "secret" || c.Hosts[1].APIKey != "secret" {
		t.Errorf("hosts of the flag: %+v, %v", c.Hosts, err)
	}
}

func TestNamesInALadderAreSpelledAsRequestsSpellThem(t *testing.T) {
	c, err := parseFile(t, `
models:
  small: {try: a}
  large: {num_ctx: 1, try: [large, small, b, someone/c:latest, hf.co/someone/d, p/e]}
fallback: [large, f, p/e:free]
providers: {p: {kind: openai, url: "http://localhost:8000/v1", local: true, trace: true}}`, nil, nil)
	want := []string{"large:latest", "small:latest", "b:latest", "someone/c:latest", "hf.co/someone/d:latest", "p/e"}
	if err != nil || !slices.Equal(c.Models["large:latest"].Try, want) {
		t.Errorf("large: got %q, %v", c.Models["large:latest"].Try, err)
	}
	if p := c.Providers["p"]; !p.Local || !p.Trace {
		t.Errorf("provider: got %+v", p)
	}
	if got := c.Models["small:latest"].Try; !slices.Equal(got, []string{"a:latest"}) {
		t.Errorf("small: got %q", got)
	}
	if !slices.Equal(c.Fallback, []string{"large:latest", "f:latest", "p/e:free"}) {
		t.Errorf("fallback: got %q", c.Fallback)
	}
}

func TestNamesOfFilesInTheFileAreRelativeToIt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/config.yaml", "{tls-cert: c.pem, tls-key: /k.pem, tls-client-ca: ca.pem, token-file: tokens.yaml, hosts: [{url: a, ca_file: a.pem}], providers: {p: {kind: openai, url: http://a, key_file: key}}}")
	write(t, dir+"/tokens.yaml", "[{name: a, sha256: "+digest+"}]")
	write(t, dir+"/key", "secret\n")
	write(t, dir+"/ca.pem", "authorities")
	c, err := parse([]string{"--config=" + dir + "/config.yaml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.TLSCert != dir+"/c.pem" || c.TLSKey != "/k.pem" || c.Hosts[0].CAFile != dir+"/a.pem" || c.Providers["p"].Key != "secret" {
		t.Errorf("got %+v", c)
	}
	want := map[string][32]byte{
		dir + "/config.yaml": sum(t, dir+"/config.yaml"), dir + "/tokens.yaml": sum(t, dir+"/tokens.yaml"), dir + "/key": sha256.Sum256([]byte("secret\n")),
		dir + "/ca.pem": sum(t, dir+"/ca.pem"),
	}
	if !reflect.DeepEqual(c.Files, want) {
		t.Errorf("files: got %x\nwant %x", c.Files, want)
	}
}

func TestFilesAreNotedEvenWhenTheyCannotBeRead(t *testing.T) {
	c, err := parseFile(t, "token-file: none.yaml", nil, nil)
	if err == nil || err.Error() != "config.yaml:1: token-file: none.yaml: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if got, noted := c.Files["none.yaml"]; !noted || got != [32]byte{} {
		t.Errorf("got %x", c.Files)
	}
}

func TestTokenFileIsAListOfKeysBesideThoseOfTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "config.yaml", "keys: [{name: a, sha256: "+strings.Repeat("a", 64)+"}]")
	args := []string{"--config=config.yaml", "--token-file=tokens.yaml"}
	for _, tc := range []struct{ tokens, want string }{
		{"- {name: b, sha256: " + strings.Repeat("b", 64) + "}", ""},
		{"", ""},
		{"\n- {name: a, sha256: " + strings.Repeat("b", 64) + "}", "tokens.yaml:2: item 1: another key has that name or sha256 already"},
		{"keys: []", "tokens.yaml:1: the document: must be a list"},
	} {
		write(t, "tokens.yaml", tc.tokens)
		c, err := parse(args, nil)
		if got := text(err); got != tc.want {
			t.Errorf("%q: got error %q, want %q", tc.tokens, got, tc.want)
		}
		if err == nil && len(c.Keys) != 1+strings.Count(tc.tokens, "name") {
			t.Errorf("%q: got %+v", tc.tokens, c.Keys)
		}
	}
}

func TestEmptyListOfKeysLetsNobodyIn(t *testing.T) {
	for _, tc := range []struct {
		file, tokens string
		need         bool
	}{
		{"", "none", false},
		{"keys: []", "none", true},
		{"token-file: tokens.yaml", "", true},
		{"token-file: tokens.yaml", "[]", true},
	} {
		t.Chdir(t.TempDir())
		write(t, "config.yaml", tc.file)
		write(t, "tokens.yaml", tc.tokens)
		c, err := parse([]string{"--config=config.yaml"}, nil)
		if err != nil || (c.Keys != nil) != tc.need {
			t.Errorf("%q, %q: got %#v, %v", tc.file, tc.tokens, c.Keys, err)
		}
	}
}

func FuzzFileIsReadOrRefusedWithALine(f *testing.F) {
	example, err := os.ReadFile("example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(example), "", "# nothing", "a: &a [*a]", "models: &m {x: *m}", "<<: {slots: 1}", "\r@", "a:\r\t@", "\n\t@", "%YAML 9", "models: {a: {try: [b]}, b: {try: [a]}}", "\x00", "hosts: [{url: !!binary a}]"} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	name := regexp.QuoteMeta(dir + "/config.yaml")
	refusal := regexp.MustCompile(`^` + name + `:[1-9]\d*: `)
	f.Fuzz(func(t *testing.T, data []byte) {
		write(t, dir+"/config.yaml", string(data))
		c, err := parse([]string{"--config=" + dir + "/config.yaml"}, map[string]string{"GPU_2_KEY": "g", "OPENAI_API_KEY": "o", "OPS_WEBHOOK": "https://hooks.example/x"})
		if err != nil && !refusal.MatchString(err.Error()) {
			t.Errorf("got %v", err)
		}
		if err == nil && len(c.Hosts) == 0 {
			t.Error("there is no host")
		}
	})
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sum(t *testing.T, name string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestModelsOfAKeyAreSpelledAsRequestsAre(t *testing.T) {
	const file = `
providers: {p: {kind: openai, url: https://a}}
keys: [{name: a, sha256: ` + "f509bb6c8ebb77df9797f57f524921a02f51745362794532887af717621a1a0e" + `, models: [Qwen3, "hf.co/Someone/*", "p/Large", "p/X*"]}]`
	c, err := parseFile(t, file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"qwen3:latest", "hf.co/someone/*", "p/Large", "p/X*"}
	if got := c.Keys[0].Caller.Models; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
