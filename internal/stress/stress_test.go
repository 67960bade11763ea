package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// events prints these events, of which the first run in a folder sees all and each later
// one those that have no mark "once".
func events(t *testing.T, lines ...string) (command []string) {
	t.Helper()
	dir := t.TempDir()
	var all, later []string
	for _, line := range lines {
		text, once := strings.CutPrefix(line, "once ")
		all = append(all, text)
		if !once {
			later = append(later, text)
		}
	}
	for name, lines := range map[string][]string{"next": all, "later": later} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"sh", "-c", `cd "$1" && cat next && cp later next`, "sh", dir}
}

const flaky = `{"Action":"output","Package":"p","Test":"TestFlaky/case","Output":"why it failed\n"}`

func TestFailuresAreCountedAndShownOnce(t *testing.T) {
	var out strings.Builder
	err := stress(t.Context(), &out, options{runs: 3, loaded: 1, loops: 1, args: events(t,
		`{"Action":"run","Package":"p","Test":"TestFlaky"}`,
		flaky,
		`{"Action":"fail","Package":"p","Test":"TestFlaky/case"}`,
		`{"Action":"fail","Package":"p","Test":"TestFlaky"}`,
		`once {"Action":"fail","Package":"p","Test":"TestRare"}`,
		`{"Action":"pass","Package":"p","Test":"TestFine"}`,
		`{"Action":"fail","Package":"p"}`,
		`{"Action":"pass","Package":"q"}`,
	)})
	if err == nil {
		t.Error("no error, though tests failed")
	}
	got := out.String()
	for _, want := range []string{
		"run 1 of 4: 2 failed, ", "run 4 of 4, beside 1 busy loops: 1 failed, ",
		"\nfailed in 4 of 4 runs: p TestFlaky/case\nfailed in 1 of 4 runs: p TestRare\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "why it failed"); n != 1 {
		t.Errorf("the output of a test that fails each time is shown %d times", n)
	}
}

func TestRunsWithoutFailuresAreNoError(t *testing.T) {
	var out strings.Builder
	if err := stress(t.Context(), &out, options{runs: 2, args: events(t, `{"Action":"pass","Package":"p"}`)}); err != nil {
		t.Error(err)
	}
	if want := "run 2 of 2: 0 failed, "; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in:\n%s", want, &out)
	}
}

func TestPackageIsBlamedWhereNoTestCanBe(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  failure
	}{
		"a build that fails": {[]string{
			`{"Action":"build-output","ImportPath":"p [p.test]","Output":"undefined: x\n"}`,
			`{"Action":"build-fail","ImportPath":"p [p.test]"}`,
			`{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
		}, failure{"p", "undefined: x\n"}},
		"a program that ends early": {[]string{
			`{"Action":"output","Package":"p","Output":"exit status 2\n"}`,
			`{"Action":"fail","Package":"p"}`,
		}, failure{"p", "exit status 2\n"}},
	} {
		got, err := readEvents(strings.NewReader(strings.Join(c.lines, "\n")))
		if err != nil || !slices.Equal(got, []failure{c.want}) {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, c.want)
		}
	}
}

func TestCommandThatIsNoTestIsAnError(t *testing.T) {
	for name, args := range map[string][]string{
		"nothing":                    nil,
		"a program that is missing":  {"no-program-of-this-name"},
		"no events":                  {"echo", "ok"},
		"a failure without an event": {"false"},
	} {
		if err := stress(t.Context(), new(strings.Builder), options{runs: 1, args: args}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
