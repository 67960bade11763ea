package files_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
)

// tree makes a directory with files: contents by path. A content that begins with -> is a link.
func tree(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, isLink := strings.CutPrefix(text, "->"); isLink {
			err = os.Symlink(to, full)
		} else {
			err = os.WriteFile(full, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func allow(t *testing.T, read, write []string) *files.Dirs {
	t.Helper()
	d, err := files.New(read, write)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// outcome is what reading gave: names and texts, or code and message.
func outcome(got []files.File, err error) string {
	if err != nil {
		e := fault.Of(err)
		return string(e.Code) + " " + e.Message
	}
	var all []string
	for _, f := range got {
		switch {
		case f.Err != nil:
			all = append(all, fmt.Sprintf("%s: %v", f.Name, f.Err))
		case f.Image != nil:
			all = append(all, fmt.Sprintf("%s=image", f.Name))
		default:
			all = append(all, f.Name+"="+f.Text)
		}
	}
	return strings.Join(all, " ")
}

const png = "\x89PNG\r\n\x1a\n\x00\x00"

func TestFilesAreReadByPathAndPatternOrRefusedInOneLine(t *testing.T) {
	outside := tree(t, map[string]string{"secret": "s"})
	dir := tree(t, map[string]string{
		"a.txt": "A", "b.txt": "\ufeffB", "sub/c.txt": "C", "sub/deep/d.md": "D", "logo.png": png,
		"wide.txt": "\xff\xfeh\x00\xe4\x00", "odd[1].txt": "odd", "zip": "PK\x00\x01\xff", "x.pdf": "%PDF-1.7\n", "latin": "caf\xe9",
		"in": "->a.txt", "out": "->" + filepath.Join(outside, "secret"), "updir": "->..", "loop": "->loop",
		"big": strings.Repeat("x", 1001), ".gitignore": "*.log\n/build/\n!keep.log\n", "n.log": "n", "keep.log": "k",
		"build/o.txt": "o", "sub/build/p.txt": "P", "sub/.gitignore": "deep\n", ".git/config": "g",
	})
	d := allow(t, []string{dir}, nil)
	for _, c := range []struct{ pattern, want string }{
		{"a.txt", "a.txt=A"},
		{filepath.Join(dir, "a.txt"), "a.txt=A"},
		{"b.txt", "b.txt=B"},
		{"wide.txt", "wide.txt=hä"},
		{"odd[1].txt", "odd[1].txt=odd"}, // the path of a file is no pattern
		{"logo.png", "logo.png=image"},
		{"in", "in=A"},
		{"sub/../a.txt", "a.txt=A"},
		{"*.txt", "a.txt=A b.txt=B odd[1].txt=odd wide.txt=hä"},
		{"[ab]*", "a.txt=A b.txt=B big: has 1001 bytes, more than the 1000 that are read of a file"},
		{"l*", "latin: is neither an image nor text in UTF-8 logo.png=image"},
		{"{zip,x.pdf}", "invalid_argument argument \"files\": x.pdf: is a PDF, whose text this server does not read: convert it, for example with pdftotext"},
		{"sub/*", "sub/.gitignore=deep\n sub/c.txt=C"},
		{"**/*.md", "invalid_argument argument \"files[0]\": **/*.md: matches no file; files that a .gitignore names are left out"},
		{"sub/deep/d.md", "sub/deep/d.md=D"}, // named, so it is wanted
		{"sub/deep/*", "invalid_argument argument \"files[0]\": sub/deep/*: is in a directory that is left out, because of its .gitignore or its name: name each file instead"},
		{"*.log", "keep.log=k"},
		{"**/p.txt", "sub/build/p.txt=P"},
		{"{build,sub/build}/*.txt", "sub/build/p.txt=P"},
		{".git/*", "invalid_argument argument \"files[0]\": .git/*: is in a directory that is left out, because of its .gitignore or its name: name each file instead"},
		{"nothing", "invalid_argument argument \"files[0]\": nothing: does not exist"},
		{"no/such/*.txt", "invalid_argument argument \"files[0]\": no/such/*.txt: matches no file; files that a .gitignore names are left out"},
		{"a[", "invalid_argument argument \"files[0]\": a[: is not a valid pattern"},
		{"sub", "invalid_argument argument \"files[0]\": sub: is a directory: name the files in it, for example with /* or /**/*.txt at the end"},
		{"", "invalid_argument argument \"files[0]\": : is not a path"},
		{"a\x00b", "invalid_argument argument \"files[0]\": a\\x00b: is not a path"},
		{"zip", "invalid_argument argument \"files\": zip: is neither an image nor text in UTF-8"},
		{"latin", "invalid_argument argument \"files\": latin: is neither an image nor text in UTF-8"},
		{"x.pdf", "invalid_argument argument \"files\": x.pdf: is a PDF, whose text this server does not read: convert it, for example with pdftotext"},
		{"big", "invalid_argument argument \"files\": big: has 1001 bytes, more than the 1000 that are read of a file"},
		{"out", "forbidden argument \"files[0]\": out: leads out of the allowed directory by a link"},
		{"updir/x", "forbidden argument \"files[0]\": updir/x: leads out of the allowed directory by a link"},
		{"../secret", "forbidden argument \"files[0]\": ../secret: is outside the directories that may be read"},
		{filepath.Join(outside, "secret"), "forbidden argument \"files[0]\": " + filepath.Join(outside, "secret") + ": is outside the directories that may be read"},
		{"/dev/zero", "forbidden argument \"files[0]\": /dev/zero: is outside the directories that may be read"},
	} {
		got := outcome(d.Read(t.Context(), "files", []string{c.pattern}, files.Limits{FileBytes: 1000}))
		if runtime.GOOS != "windows" && got != c.want {
			t.Errorf("%q:\ngot  %s\nwant %s", c.pattern, got, c.want)
		}
	}
	if got := outcome(d.Read(t.Context(), "files", []string{"loop"}, files.Limits{})); !strings.HasPrefix(got, `invalid_argument argument "files[0]": loop: `) {
		t.Errorf("a link to itself: %s", got)
	}
	if got := outcome(d.Read(t.Context(), "files", []string{"a.txt", "*.txt", "sub/../a.txt"}, files.Limits{})); got != "a.txt=A b.txt=B odd[1].txt=odd wide.txt=hä" {
		t.Errorf("a file that is named more than once: %s", got)
	}
}

func TestNumberAndSizeOfFilesAreBounded(t *testing.T) {
	contents := make(map[string]string)
	for i := range 30 {
		contents[fmt.Sprintf("%02d", i)] = strings.Repeat("x", 100)
	}
	d := allow(t, []string{tree(t, contents)}, nil)
	for _, c := range []struct {
		patterns []string
		limits   files.Limits
		want     string
	}{
		{[]string{"*"}, files.Limits{Files: 30}, ""},
		{[]string{"*"}, files.Limits{Files: 29}, `argument "files[0]": *: names more than 29 files: name fewer`},
		{[]string{"0*", "1*"}, files.Limits{Files: 19}, `argument "files[1]": 1*: names more than 19 files: name fewer`},
		{[]string{"*"}, files.Limits{AllBytes: 3000}, ""},
		{[]string{"*"}, files.Limits{AllBytes: 2999}, `argument "files": the files have more than 0 MiB together: name fewer`},
	} {
		_, err := d.Read(t.Context(), "files", c.patterns, c.limits)
		got := ""
		if err != nil {
			got = fault.Of(err).Message
		}
		if got != c.want {
			t.Errorf("%q within %+v: got %q, want %q", c.patterns, c.limits, got, c.want)
		}
	}
}

func TestMemoryIsTakenBeforeAFileIsRead(t *testing.T) {
	d := allow(t, []string{tree(t, map[string]string{"a": "alpha", "b": "beta", "c": "\xff"})}, nil)
	full := fault.Invalidf("no memory")
	for most, want := range map[int64]string{9: "a=alpha b=beta", 8: "invalid_argument no memory"} {
		var sizes []int64
		left := most
		got := outcome(d.Read(t.Context(), "files", []string{"a", "b"}, files.Limits{Hold: func(bytes int64) error {
			sizes = append(sizes, bytes)
			if left -= bytes; left < 0 {
				return full
			}
			return nil
		}}))
		if got != want || fmt.Sprint(sizes) != "[5 4]" {
			t.Errorf("with %d bytes: got %s, asked for %v", most, got, sizes)
		}
	}
	if got := outcome(d.Read(t.Context(), "files", []string{"c"}, files.Limits{Hold: func(int64) error { return full }})); got != "invalid_argument no memory" {
		t.Errorf("a file that would be refused was read: %s", got)
	}
}

func TestFilesThatAreLeftOutTakeNothingOfWhatMayBeRead(t *testing.T) {
	long := strings.Repeat("x", 1000)
	d := allow(t, []string{tree(t, map[string]string{
		"a.exe": "MZ\x00" + long, "b.pdf": "%PDF-1.7\n" + long, "c.dat": long + "\xff", "d.txt": long, "e.txt": "\xff\xfex\x00", "f.png": png + long,
	})}, nil)
	held := 0
	got := outcome(d.Read(t.Context(), "files", []string{"*"}, files.Limits{AllBytes: int64(1000 + 4 + len(png) + 1000), Hold: func(bytes int64) error {
		held += int(bytes)
		return nil
	}}))
	const why = ": is neither an image nor text in UTF-8 "
	if want := "a.exe" + why + "b.pdf: is a PDF, whose text this server does not read: convert it, for example with pdftotext c.dat" + why + "d.txt=" + long + " e.txt=x f.png=image"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := 1001 + 1000 + 4 + len(png) + 1000; held != want { // c.dat has to be read to see what it is
		t.Errorf("memory was taken for %d bytes, want %d", held, want)
	}
}

// midway is a context that is asked in the middle of the work whether it has ended.
type midway struct {
	context.Context
	do func()
}

func (m midway) Err() error {
	m.do()
	return nil
}

func TestFileThatChangesWhileItIsReadIsRefused(t *testing.T) {
	for what, change := range map[string]func(name string) error{
		"grows":      func(name string) error { return os.WriteFile(name, []byte("alpha and more"), 0o600) },
		"shrinks":    func(name string) error { return os.Truncate(name, 2) },
		"is written": func(name string) error { return os.Chtimes(name, time.Time{}, time.Unix(1, 0)) },
		"stays":      func(string) error { return nil },
		"is replaced": func(name string) error {
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("other"), 0o600))
		},
		"goes for good": os.Remove,
	} {
		dir := tree(t, map[string]string{"a.txt": "alpha"})
		ctx := midway{t.Context(), func() {
			if err := change(filepath.Join(dir, "a.txt")); err != nil {
				t.Error(err)
			}
		}}
		got, err := allow(t, []string{dir}, nil).Read(ctx, "files", []string{"a.txt"}, files.Limits{})
		switch what {
		case "stays", "is replaced", "goes for good": // what was opened is read as it was
			if err != nil || got[0].Text != "alpha" {
				t.Errorf("a file that %s: %+v, %v", what, got, err)
			}
		default:
			if err == nil || fault.Of(err).Message != `argument "files": a.txt: changed while it was read` || !fault.Of(err).Retryable {
				t.Errorf("a file that %s: %+v, %v", what, got, err)
			}
		}
	}
}

func TestSearchEndsWithItsCaller(t *testing.T) {
	d := allow(t, []string{tree(t, map[string]string{"a/b": "x"})}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Read(ctx, "files", []string{"**"}, files.Limits{}); err == nil {
		t.Error("a search whose caller has left went on")
	}
}

func TestNoDirectoryIsAllowedUnlessSaid(t *testing.T) {
	var none *files.Dirs
	for _, d := range []*files.Dirs{none, allow(t, nil, nil)} {
		if got := outcome(d.Read(t.Context(), "files", []string{"/etc/passwd"}, files.Limits{})); got != `forbidden argument "files[0]": /etc/passwd: no directory may be read` {
			t.Errorf("reading: %s", got)
		}
		_, err := d.Create("output_file", "/tmp/x", false)
		if got := fault.Of(err); got.Code != fault.Forbidden || got.Message != `argument "output_file": /tmp/x: no directory may be written` {
			t.Errorf("writing: %v", got)
		}
	}
	if _, err := files.New([]string{"/no/such/directory"}, nil); err == nil {
		t.Error("a directory that does not exist was allowed")
	}
}

func TestCallersNarrowTheDirectoriesAndNeverWidenThem(t *testing.T) {
	dir := tree(t, map[string]string{"a.txt": "A", "sub/b.txt": "B", "sub/up": "->../a.txt"})
	other := tree(t, map[string]string{"c.txt": "C"})
	if err := os.Symlink(other, filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	d := allow(t, []string{dir}, nil)
	for _, c := range []struct {
		to         []string
		path, want string
	}{
		{nil, "a.txt", "a.txt=A"},
		{[]string{}, "a.txt", `forbidden argument "files[0]": a.txt: no directory may be read`},
		{[]string{filepath.Join(dir, "sub")}, "b.txt", "b.txt=B"},
		{[]string{filepath.Join(dir, "sub")}, filepath.Join(dir, "a.txt"), `forbidden argument "files[0]": ` + filepath.Join(dir, "a.txt") + `: is outside the directories that may be read`},
		{[]string{filepath.Join(dir, "sub")}, "up", `forbidden argument "files[0]": up: leads out of the allowed directory by a link`},
		{[]string{filepath.Join(dir, "away")}, "c.txt", `forbidden argument "files[0]": c.txt: leads out of the allowed directory by a link`},
		{[]string{other}, "c.txt", `forbidden argument "files[0]": c.txt: no directory may be read`},
		{[]string{filepath.Dir(dir), other}, "a.txt", "a.txt=A"},
		{[]string{"/"}, filepath.Join(other, "c.txt"), `forbidden argument "files[0]": ` + filepath.Join(other, "c.txt") + `: is outside the directories that may be read`},
	} {
		if got := outcome(d.Narrow(c.to, nil).Read(t.Context(), "files", []string{c.path}, files.Limits{})); got != c.want {
			t.Errorf("%q of %q:\ngot  %s\nwant %s", c.path, c.to, got, c.want)
		}
	}
}

func TestLinesStayInTheirFileUntilTheyAreRead(t *testing.T) {
	dir := tree(t, map[string]string{
		"a.txt": "\ufeffone\r\n\n  \ntwo\nlast", "b.txt": strings.Repeat("x", 100000) + "\n", "bin": "a\x00b\n", "latin": "caf\xe9\n",
	})
	d := allow(t, []string{dir}, nil)
	lines, err := d.Lines(t.Context(), "lines", []string{"a.txt", "b.txt"}, 4, 100000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range lines.Len() {
		line, err := lines.Read(i)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if fmt.Sprint(got[:3]) != "[one two last]" || len(got) != 4 || len(got[3]) != 100000 {
		t.Errorf("read %.60q", got)
	}
	for _, c := range []struct {
		file        string
		most, bytes int
		want        string
	}{
		{"a.txt", 2, 10, `argument "lines": a.txt: there are more than 2 lines: split the file`},
		{"b.txt", 9, 99990, `argument "lines": b.txt: line 1 has more than 99990 bytes, which is the most for an input`},
		{"bin", 9, 10, `argument "lines": bin: line 1 is not text`},
		{"nothing", 9, 10, `argument "lines[0]": nothing: does not exist`},
	} {
		if _, err := d.Lines(t.Context(), "lines", []string{c.file}, c.most, c.bytes); err == nil || fault.Of(err).Message != c.want {
			t.Errorf("%s: got %v, want %s", c.file, err, c.want)
		}
	}
	// A file that is another by now has no lines that can be trusted, though it looks like the one before.
	was, err := os.Stat(filepath.Join(dir, "b.txt"))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := errors.Join(os.WriteFile(other, []byte(strings.Repeat("y", 100000)+"\n"), 0o600), os.Chtimes(other, time.Time{}, was.ModTime()), os.Rename(other, filepath.Join(dir, "b.txt"))); err != nil {
		t.Fatal(err)
	}
	if _, err := lines.Read(3); err == nil || fault.Of(err).Message != `argument "lines": b.txt: changed while it was read` {
		t.Errorf("a line of a file that was replaced: %v", err)
	}
	// Nor has a file that was written to in between.
	if err := os.Chtimes(filepath.Join(dir, "a.txt"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := lines.Read(0); err == nil || fault.Of(err).Message != `argument "lines": a.txt: changed while it was read` || !fault.Of(err).Retryable {
		t.Errorf("a line of a file that was changed: %v", err)
	}
}

func TestOutputIsWrittenWholeOrNotAtAllAndReplacesNothingUnsaid(t *testing.T) {
	dir := tree(t, map[string]string{"old": "old", "sub/x": "x", "link": "->old", "away": "->/tmp"})
	d := allow(t, nil, []string{dir})
	full := errors.New("disk full")
	say := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, _ = io.WriteString(w, text)
			return err
		}
	}
	for _, c := range []struct {
		name      string
		overwrite bool
		fails     error
		want      string // the message; "" if the file is written
	}{
		{"new", false, nil, ""},
		{filepath.Join(dir, "sub", "new"), false, nil, ""},
		{"old", false, nil, "exists already: choose another name, or say overwrite: true"},
		{"old", true, full, "disk full"},
		{"old", true, nil, ""},
		{"broken", false, full, "disk full"},
		{"link", true, nil, "is no regular file"},
		{"sub", true, nil, "is a directory: name a file in it"},
		{"sub/", true, nil, "is a directory: name a file in it"},
		{"no/such", false, nil, "lies in a folder that does not exist: create it, or choose another one"},
		{"old/x", false, nil, "lies in a folder that does not exist: create it, or choose another one"},
		{"../x", false, nil, "is outside the directories that may be written"},
		{"away/x", false, nil, "leads out of the allowed directory by a link"},
		{"/tmp/x", false, nil, "is outside the directories that may be written"},
	} {
		text := strings.Repeat(c.name, 10000)
		out, err := d.Create("output_file", c.name, c.overwrite)
		if err == nil {
			var size int64
			size, err = out.Write(say(text, c.fails))
			if written, _ := os.ReadFile(out.Path()); err == nil && (string(written) != text || size != int64(len(text))) {
				t.Errorf("%s: %d bytes written, and %d said", c.name, len(written), size)
			}
		}
		got := ""
		if err != nil {
			got = fault.Of(err).Message
		}
		if !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s (overwrite %t): got %q, want %q", c.name, c.overwrite, got, c.want)
		}
	}
	out, err := d.Create("output_file", "late", false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = out.Write(func(w io.Writer) error { return os.WriteFile(filepath.Join(dir, "late"), []byte("first"), 0o600) })
	if err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a file that came meanwhile: %v", err)
	}
	if first, _ := os.ReadFile(filepath.Join(dir, "late")); string(first) != "first" {
		t.Errorf("it was replaced by %.20q", first)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".ollama-mcp-*"))
	below, _ := filepath.Glob(filepath.Join(dir, "sub", ".ollama-mcp-*"))
	if _, err := os.Stat(filepath.Join(dir, "broken")); err == nil || len(left)+len(below) > 0 {
		t.Errorf("something half-written stayed: %v", append(left, below...))
	}
}
