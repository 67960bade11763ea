package app

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"ollama-mcp/internal/config"
	"ollama-mcp/tools"
)

// These tests hold the documentation to what the program has, as far as a machine can tell.

// elsewhere are options and variables in the documentation that are not of this program.
var elsewhere = []string{"--debug", "--tags", "--now", "--transport", "--header", "--build", "--wait", "--rm", "--user", "--no-deps", "--force-recreate", "--set", "--from-file", "--cacert", "--model", "--url", "OLLAMA_MCP_BIN"}

func TestDocumentationNamesOptionsThatExist(t *testing.T) {
	var known strings.Builder
	for _, c := range commands {
		c.help(&known)
	}
	has := make(map[string]bool)
	for _, option := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(known.String(), -1) {
		has[option] = true
		has[config.Variable(option[2:])] = true
	}
	has["OLLAMA_MCP_KEY"] = true
	named := regexp.MustCompile("(?:^|[\\s`'(])(--[a-z][a-z-]*[a-z])\\b|\\b(OLLAMA_MCP_[A-Z_]+[A-Z])")
	for name, text := range documentation(t) {
		for _, found := range named.FindAllStringSubmatch(text, -1) {
			if option := found[1] + found[2]; !has[option] && !slices.Contains(elsewhere, option) {
				t.Errorf("%s: there is no %s", name, option)
			}
		}
	}
}

func TestDocumentationNamesTargetsOfMakeThatExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for name, text := range documentation(t) {
		for _, found := range regexp.MustCompile("(?m)(?:`|^)make ([a-z0-9-]+)").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+found[1]+":") {
				t.Errorf("%s: there is no target %s in the Makefile", name, found[1])
			}
		}
	}
}

func TestDocumentationLinksToFilesThatExist(t *testing.T) {
	for name, text := range documentation(t) {
		for _, link := range regexp.MustCompile(`\]\(([^):#]+)[^):]*\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, path.Dir(name), link[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, name := range []string{"docs/design.md", "CONTRIBUTING.md"} {
		for _, file := range regexp.MustCompile("`((?:[a-z0-9_]+/)+[a-z0-9_]+\\.(?:go|md|txt|json))`").FindAllStringSubmatch(read(t, name), -1) {
			if _, err := os.Stat(filepath.Join(root, file[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestDocumentationLinksToHeadingsThatExist(t *testing.T) {
	pages, links := documentation(t), 0
	for name, text := range pages {
		for _, link := range regexp.MustCompile(`\]\(([^):#\s]*)#([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			to := name
			if link[1] != "" {
				to = path.Join(path.Dir(name), link[1])
			}
			links++
			if !slices.ContainsFunc(pageOf(pages[to]), func(s section) bool { return anchor(s.heading) == link[2] }) {
				t.Errorf("%s: %s has no heading #%s", name, to, link[2])
			}
		}
	}
	if links < 30 {
		t.Errorf("only %d links to headings were found", links)
	}
}

// anchor is what links to a heading end in, as GitHub makes it.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#"))))
}

func TestReadmeNamesTheCommandThatCIRuns(t *testing.T) {
	_, command, ok := strings.Cut(read(t, ".ci/run"), "\nexec ")
	if command = strings.TrimSpace(command); !ok || command == "" || !strings.Contains(read(t, "README.md"), "\n"+command+" ") {
		t.Errorf("README.md does not name the command %q", command)
	}
}

func TestReadmeHasATableOfAllTools(t *testing.T) {
	var names []string
	for _, tool := range tools.All(tools.Deps{Offer: tools.Offer{Manage: true}}) {
		names = append(names, tool.Tool.Name)
	}
	if got := slices.Sorted(slices.Values(firstColumn(t, "README.md", "| tool |"))); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("README.md has a table of the tools %v, want %v", got, names)
	}
}

func TestReadmeHasATableOfAllErrors(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal/fault/fault.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && fmt.Sprint(spec.Type) == "Code" {
			code, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			codes = append(codes, code)
		}
		return true
	})
	slices.Sort(codes)
	if got := slices.Sorted(slices.Values(firstColumn(t, "README.md", "| code |"))); len(codes) == 0 || !slices.Equal(got, codes) {
		t.Errorf("README.md has a table of the codes %v, want %v", got, codes)
	}
}

func TestPictureOfThePackagesIsAsTheyImport(t *testing.T) {
	_, picture, _ := strings.Cut(read(t, "docs/design.md"), "## Packages")
	picture = strings.Split(picture, "```")[1]
	row := make(map[string]int)
	for i, line := range strings.Split(picture, "\n") {
		for _, name := range strings.Fields(line) {
			if _, atTop := packages[name]; !atTop {
				name = "internal/" + name
			}
			row[name] = i
		}
	}
	row["."] = row["internal/main"]
	for pkg, imports := range packages {
		if row[pkg] == 0 {
			t.Errorf("%s is missing in the picture of docs/design.md", pkg)
		}
		for _, imported := range imports {
			if row[pkg] >= row[imported] {
				t.Errorf("%s stands below %s in docs/design.md, or beside it, and imports it", pkg, imported)
			}
		}
	}
	if len(row) != len(packages)+2 { // internal/app, and main for "."
		t.Errorf("the picture of docs/design.md has %d packages, want %d", len(row)-1, len(packages)+1)
	}
}

func TestTableOfDependenciesSaysWhoUsesThem(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/design.md"), "## Dependencies")
	rows := strings.Split(table, "\n")
	has := func(row string, column int, word string) bool {
		cells := strings.Split(row, "|")
		return len(cells) > column && slices.Contains(regexp.MustCompile(`[\w./-]+`).FindAllString(cells[column], -1), word)
	}
	for library, users := range doors {
		parts := strings.Split(strings.TrimPrefix(library, "github.com/"), "/")
		name := strings.Join(parts[:2], "/")
		if parts[0] == "golang.org" {
			name = strings.Join(parts[:3], "/")
		}
		at := slices.IndexFunc(rows, func(row string) bool { return has(row, 1, name) })
		if at < 0 {
			t.Errorf("%s is missing in the table of docs/design.md", name)
			continue
		}
		for _, user := range users {
			if !has(rows[at], 2, strings.TrimPrefix(user, "internal/")) {
				t.Errorf("docs/design.md does not say that %s uses %s", user, name)
			}
		}
	}
}

// firstColumn returns the first cells of the table whose head begins so, without quotes.
func firstColumn(t *testing.T, file, head string) (cells []string) {
	t.Helper()
	_, table, found := strings.Cut(read(t, file), "\n"+head)
	if !found {
		t.Fatalf("%s has no table %s", file, head)
	}
	for _, line := range strings.Split(table, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells = append(cells, strings.Trim(strings.Split(line, "|")[1], " `"))
	}
	return cells
}

// documentation returns the pages that people read, by name.
func documentation(t *testing.T) map[string]string {
	t.Helper()
	pages := make(map[string]string)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() != "." && strings.HasPrefix(entry.Name(), ".")):
			return fs.SkipDir
		case path.Ext(name) == ".md":
			pages[name] = read(t, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
