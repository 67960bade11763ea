package app

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "ollama-mcp/"
	root   = "../.."        // of the module, from here
	all    = "internal/app" // puts the parts together, and may import each of them
)

// packages says which of our packages each one may import. Imports point one
// way, from what puts together to what is put together; internal/app may import all.
var packages = map[string][]string{
	".":                            {"internal/app"},
	"server":                       {"internal/caller", "internal/fault", "internal/jobs", "internal/jsonrpc", "internal/lru", "internal/nearest", "internal/netserve", "internal/share", "internal/workers"},
	"tools":                        {"internal/usage", "cache", "internal/batch", "internal/manage", "internal/prompts", "internal/files", "pool", "internal/inference", "internal/jobs", "internal/schema", "internal/fault", "internal/moderation", "internal/progress", "internal/quota", "internal/caller", "internal/route", "internal/semantic", "internal/backend", "internal/nearest", "internal/share", "internal/order"},
	"internal/inference":           {"internal/affinity", "pool", "cache", "internal/semantic", "internal/route", "internal/backend", "internal/nearest", "internal/caller", "internal/schema", "internal/fault", "internal/moderation", "internal/lru", "internal/markup", "internal/pixels", "internal/share", "internal/workers"},
	"internal/markup":              {"internal/backend"},
	"internal/gateway":             {"cache", "pool", "internal/inference", "internal/manage", "internal/route", "internal/backend", "internal/caller", "internal/fault", "internal/schema", "internal/order"},
	"internal/pixels":              {},
	"internal/batch":               {"internal/inference", "internal/files", "internal/durable", "internal/fault", "internal/nearest", "internal/schema"},
	"internal/observe":             {"internal/inference"},
	"internal/processors":          {"internal/inference"},
	"internal/dashboard":           {"internal/inference", "internal/usage", "internal/route", "internal/share", "internal/caller", "internal/fault", "pool", "internal/order"},
	"internal/alert":               {},
	"internal/systemd":             {},
	"internal/calllog":             {"internal/inference", "internal/backend", "internal/durable", "internal/table", "internal/order"},
	"internal/table":               {},
	"internal/tracing":             {"internal/inference", "internal/backend", "internal/fault", "internal/retry", "pool", "cache", "internal/route"},
	"internal/jobs":                {"internal/caller", "internal/durable", "internal/fault", "internal/lru", "internal/workers"},
	"internal/usage":               {"internal/tally", "internal/inference", "internal/backend", "internal/caller", "internal/durable", "internal/fault", "internal/order"},
	"internal/metrics":             {"internal/inference", "internal/jobs", "internal/backend", "pool", "cache", "internal/route", "internal/semantic"},
	"internal/affinity":            {"internal/lru"},
	"internal/lru":                 {},
	"internal/durable":             {},
	"internal/install":             {"internal/durable"},
	"pool":                         {"internal/affinity", "internal/route", "internal/breaker", "internal/fairqueue", "internal/limiter", "internal/lru", "internal/retry", "internal/backend", "internal/caller", "internal/fault", "internal/order"},
	"cache":                        {"internal/jsonrpc", "internal/workers"},
	"internal/auth":                {"internal/caller"},
	"internal/caller":              {},
	"internal/config":              {"internal/caller", "internal/backend", "internal/backend/ollama", "internal/nearest"},
	"internal/progress":            {},
	"internal/share":               {},
	"internal/reload":              {},
	"internal/route":               {},
	"internal/breaker":             {},
	"internal/fairqueue":           {},
	"internal/limiter":             {},
	"internal/retry":               {},
	"internal/files":               {"internal/fault"},
	"internal/fleet":               {"internal/backend"},
	"internal/prompts":             {"internal/fault"},
	"internal/manage":              {"internal/backend", "internal/fault", "internal/order"},
	"internal/redis":               {"cache", "pool", "internal/jobs", "internal/fault", "internal/quota", "internal/tally", "internal/caller", "internal/route", "internal/backend"},
	"internal/quota":               {"internal/caller", "internal/combine", "internal/fault"},
	"internal/tally":               {"internal/combine"},
	"internal/combine":             {},
	"internal/fault":               {},
	"internal/backend":             {"internal/fault"},
	"internal/backend/remote":      {"internal/backend", "internal/caller", "internal/fault", "internal/rawio", "internal/share"},
	"internal/backend/ollama":      {"internal/backend", "internal/backend/remote"},
	"internal/backend/openai":      {"internal/backend", "internal/backend/remote", "internal/fault"},
	"internal/budget":              {"internal/tally", "internal/backend", "internal/durable"},
	"internal/backend/backendtest": {"internal/backend", "internal/backend/ollama"},
	"internal/call":                {"internal/table", "internal/terminal"},
	"internal/doctor":              {"internal/manage", "internal/backend", "internal/fault", "internal/terminal", "internal/order"},
	"internal/terminal":            {},
	"internal/moderation":          {},
	"internal/nearest":             {"internal/order"},
	"internal/order":               {},
	"internal/jsonrpc":             {},
	"internal/netserve":            {"internal/rawio"},
	"internal/rawio":               {},
	"internal/workers":             {},
	"internal/loadtest":            {"internal/backend", "internal/terminal", "internal/order"},
	"internal/overhead":            {"internal/loadtest", "internal/route", "internal/backend", "internal/backend/ollama", "internal/backend/backendtest", "pool"},
	"internal/overhead/control":    {},
	"internal/schema":              {"internal/nearest", "internal/order"},
	"internal/semantic":            {},
	"internal/stress":              {},
	"internal/systems":             {},
	"internal/semantic/evaluate":   {"internal/semantic", "internal/backend", "internal/backend/ollama"},
}

// doors says which packages may import a library written by others: few, so
// that replacing it stays cheap.
var doors = map[string][]string{
	"github.com/bmatcuk/doublestar/v4":         {"internal/files"},
	"github.com/sabhiram/go-gitignore":         {"internal/files"},
	"github.com/mark3labs/mcp-go":              {"server", "tools", "internal/call", "internal/overhead/control"},
	"github.com/ollama/ollama/api":             {"internal/backend", "internal/backend/ollama", "internal/backend/backendtest"},
	"github.com/ollama/ollama/types/model":     {"internal/backend", "internal/backend/backendtest"},
	"github.com/spf13/pflag":                   {"internal/config"},
	"go.yaml.in/yaml/v3":                       {"internal/config"},
	"github.com/dgraph-io/ristretto/v2":        {"cache"},
	"github.com/google/jsonschema-go":          {"internal/schema"},
	"github.com/santhosh-tekuri/jsonschema/v6": {"internal/schema"},
	"github.com/go-jose/go-jose/v4":            {"internal/auth"},
	"golang.org/x/sync/semaphore":              {"pool"},
	"golang.org/x/sync/errgroup":               {"internal/inference", "internal/overhead"},
	"golang.org/x/sys":                         {"internal/netserve", "internal/systemd"},
	"github.com/gofrs/flock":                   {"internal/durable"},
	"github.com/tailscale/hujson":              {"internal/install"},
	"github.com/pelletier/go-toml/v2":          {"internal/install"},
	"github.com/dustin/go-humanize":            {"internal/config", "internal/inference"},
	"github.com/mailru/easyjson":               {"internal/calllog"},
	"golang.org/x/image":                       {"internal/pixels"},
	"github.com/redis/rueidis":                 {"internal/redis"},
	"github.com/alicebob/miniredis/v2":         {"internal/redis"}, // in tests
	"golang.org/x/net/nettest":                 {"internal/rawio"}, // in tests
	"golang.org/x/time":                        {"internal/quota"},
	"github.com/prometheus/client_golang":      {"internal/metrics"},
	"github.com/prometheus/common/expfmt":      {"internal/metrics"},
	"go.opentelemetry.io/otel":                 {"internal/tracing"},
	"go.opentelemetry.io/proto/otlp":           {"internal/tracing", "internal/app"}, // here in tests
	"google.golang.org/protobuf":               {"internal/tracing", "internal/app"},
}

// inTests is what the tests of any package may import besides.
var inTests = []string{module + "internal/backend/backendtest", module + "internal/backend/ollama", module + "internal/caller", "pgregory.net/rapid"}

func TestPackagesImportOnlyWhatTheTablesAllow(t *testing.T) {
	for file, imports := range goFiles(t) {
		for _, imported := range imports {
			if problem := judge(file, imported); problem != "" {
				t.Errorf("%s: %s", file, problem)
			}
		}
	}
}

func TestEveryPackageHasItsLine(t *testing.T) {
	found := map[string]bool{all: true}
	for file := range goFiles(t) {
		pkg := path.Dir(file)
		if _, ok := packages[pkg]; !ok && !found[pkg] {
			t.Errorf("%s has no line in the table packages: say what it may import", pkg)
		}
		found[pkg] = true
	}
	for pkg := range packages {
		if !found[pkg] {
			t.Errorf("%s has a line in the table packages and does not exist", pkg)
		}
	}
}

// TestPackagesAreSmallEnoughToBeRead bounds what a reader has to hold of one package, and
// keeps the root of the module to the one file that starts the program.
func TestPackagesAreSmallEnoughToBeRead(t *testing.T) {
	const maxFiles = 25
	files, lines, total := make(map[string]int), make(map[string]int), 0
	for file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(string(source), "\n")
		files[path.Dir(file)]++
		lines[path.Dir(file)] += n
		total += n
	}
	for pkg := range files {
		if files[pkg] > maxFiles {
			t.Errorf("%s has %d files, more than %d: it answers two questions", pkg, files[pkg], maxFiles)
		}
		if lines[pkg] > total/3 {
			t.Errorf("%s has %d of %d lines, more than a third", pkg, lines[pkg], total)
		}
	}
	if files["."] != 1 {
		t.Errorf("the root has %d Go files, want main.go alone", files["."])
	}
}

func TestImportsOutsideTheTablesAreSeen(t *testing.T) {
	for _, c := range []struct {
		file, imported string
		allowed        bool
	}{
		{"main.go", "ollama-mcp/internal/app", true},
		{"main.go", "ollama-mcp/server", false},
		{"internal/app/app.go", "ollama-mcp/server", true},
		{"internal/app/app.go", "github.com/mark3labs/mcp-go/mcp", false},
		{"tools/chat.go", "ollama-mcp/pool", true},
		{"pool/pool.go", "ollama-mcp/tools", false},
		{"pool/pool.go", "net/http", true},
		{"tools/chat.go", "github.com/mark3labs/mcp-go/mcp", true},
		{"pool/pool.go", "github.com/mark3labs/mcp-go/mcp", false},
		{"pool/pool.go", "github.com/mark3labs/mcp-gone", false},
		{"pool/pool.go", "example.com/unheard/of", false},
		{"pool/pool.go", "pgregory.net/rapid", false},
		{"pool/pool_test.go", "pgregory.net/rapid", true},
		{"pool/pool_test.go", "ollama-mcp/pool", true},
		{"pool/pool_test.go", "ollama-mcp/tools", false},
	} {
		if problem := judge(c.file, c.imported); (problem == "") != c.allowed {
			t.Errorf("%s imports %s: got problem %q, want allowed %v", c.file, c.imported, problem, c.allowed)
		}
	}
}

// judge says what is wrong with an import in a file, or "".
func judge(file, imported string) string {
	pkg := path.Dir(file)
	if strings.HasSuffix(file, "_test.go") && (imported == module+pkg || slices.Contains(inTests, imported)) {
		return ""
	}
	if local, ok := strings.CutPrefix(imported, module); ok {
		if pkg != all && !slices.Contains(packages[pkg], local) {
			return pkg + " may not import " + local
		}
		return ""
	}
	if domain, _, _ := strings.Cut(imported, "/"); !strings.Contains(domain, ".") {
		return "" // the standard library
	}
	for library, may := range doors {
		if imported == library || strings.HasPrefix(imported, library+"/") {
			if !slices.Contains(may, pkg) {
				return pkg + " may not import " + imported + "; the doors are " + strings.Join(may, ", ")
			}
			return ""
		}
	}
	return imported + " has no line in the table doors: say who may import it"
}

// goFiles returns what each Go file of this module imports, by the file's path.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	files := make(map[string][]string)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && !ours(name):
			return fs.SkipDir
		case path.Ext(name) != ".go":
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files[name] = nil
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			files[name] = append(files[name], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ours says whether a folder may hold packages of this module.
func ours(dir string) bool {
	if dir == "." {
		return true
	}
	base := path.Base(dir)
	_, err := os.Stat(path.Join(root, dir, "go.mod")) // a module of its own
	return err != nil && base != "testdata" && !strings.HasPrefix(base, ".") && !strings.HasPrefix(base, "_")
}
