package ollama

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
)

func TestParseHostReadsWhatOllamaReads(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "http://127.0.0.1:11434",
		"  ":                           "http://127.0.0.1:11434",
		"localhost":                    "http://localhost:11434",
		"gpu-1:8080":                   "http://gpu-1:8080",
		"example.com":                  "http://example.com:11434",
		`"example.com:1234"`:           "http://example.com:1234",
		` 'example.com' `:              "http://example.com:11434",
		"http://example.com":           "http://example.com:80",
		"https://example.com":          "https://example.com:443",
		"HTTPS://example.com":          "https://example.com:443",
		"https://example.com:1234":     "https://example.com:1234",
		"https://example.com/a/b/":     "https://example.com:443/a/b",
		"example.com/ollama":           "http://example.com:11434/ollama",
		"example.com:1234/":            "http://example.com:1234",
		"ollama.com":                   "https://ollama.com:443",
		":1234":                        "http://127.0.0.1:1234",
		"http://:1234":                 "http://127.0.0.1:1234",
		"0.0.0.0":                      "http://127.0.0.1:11434",
		"0.0.0.0:1234":                 "http://127.0.0.1:1234",
		"http://0.0.0.0":               "http://127.0.0.1:80",
		"::":                           "http://[::1]:11434",
		"[::]":                         "http://[::1]:11434",
		"[::]:1234":                    "http://[::1]:1234",
		"::1":                          "http://[::1]:11434",
		"[::1]":                        "http://[::1]:11434",
		"[::1]:1234":                   "http://[::1]:1234",
		"2001:db8::1":                  "http://[2001:db8::1]:11434",
		"http://[fe80::1%eth0]:1234":   "http://[fe80::1%25eth0]:1234",
		"http://user:pa%2Fss@gpu:1234": "http://user:pa%2Fss@gpu:1234",
		"user@gpu":                     "http://user@gpu:11434",
	} {
		got, err := ParseHost(in)
		if err != nil {
			t.Errorf("ParseHost(%q): %v", in, err)
		} else if got.String() != want {
			t.Errorf("ParseHost(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestParseHostRefusesTheRestWithoutQuotingIt(t *testing.T) {
	for _, in := range []string{
		"ftp://secret", "unix:///secret.sock", "dns+http://secret",
		"secret:0", "secret:65536", "secret:http", "secret:", "http://secret:-1",
		"http://user:sec/ret@gpu", "http://user:sec%ret@gpu", "gpu secret", "gpu\x00secret",
		"http://gpu/?q=secret", "http://gpu/?", "http://gpu/#secret", "http://gpu?secret",
	} {
		got, err := ParseHost(in)
		if err == nil {
			t.Errorf("ParseHost(%q) = %s, want an error", in, got)
		} else if strings.Contains(err.Error(), "sec") || strings.Contains(err.Error(), "gpu") {
			t.Errorf("ParseHost(%q): %q quotes the address", in, err)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, in := range []string{"", "gpu-1:8080", "https://u:p@example.com/a", "[::]:1", "fe80::1%eth0", `"x"`, "http://%31"} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := ParseHost(in)
		if err != nil {
			return
		}
		if u.Hostname() == "" || u.Port() == "" {
			t.Fatalf("ParseHost(%q) = %s, without a host or port", in, u)
		}
		again, err := ParseHost(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("ParseHost(%q) = %s, and of that %v, %v", in, u, again, err)
		}
	})
}

func TestHostThatIsOllamasCloudIsKnownByItsAddress(t *testing.T) {
	for address, want := range map[string]bool{
		"https://ollama.com": true, "ollama.com": true, "https://OLLAMA.com:443/": true, "https://ollama.com./v": true,
		"http://api.ollama.com": true, "https://user:password@www.ollama.com": true, "https://ollama.ai": true,
		"": false, "ollama": false, "https://notollama.com": false, "https://ollama.com.example.org": false,
		"https://ollama.com@example.org": false, "http://127.0.0.1:11434": false,
	} {
		host, err := New(Options{URL: address})
		if err != nil {
			t.Fatalf("%q: %v", address, err)
		}
		if got := backend.IsCloud(host); got != want {
			t.Errorf("%q: got %v, want %v", address, got, want)
		}
	}
}
