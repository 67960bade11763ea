package app

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesMayBeUsedAsTheOptionsSay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const begin = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"p",`
	const end = "}}}\n"
	for _, c := range []struct{ args, argument, want string }{
		{"", `"files":["a.txt"]`, "no directory may be read"},
		{"--allow-dir=" + dir, `"files":["a.txt"]`, "a.txt: does not exist"},
		{"--allow-dir=" + dir, `"output_file":"a.txt"`, "no directory may be written"},
		{"--allow-write=" + dir, `"output_file":"no/a.txt"`, "folder that does not exist"},
		{"--allow-write=" + dir + " --read-only", `"output_file":"a.txt"`, "no directory may be written"},
	} {
		out, errs, _ := program(t, begin+c.argument+end, nil, strings.Fields(c.args)...)
		if !strings.Contains(out, c.want) {
			t.Errorf("%s, %s: got %s %s, want %q", c.args, c.argument, out, errs, c.want)
		}
	}
	missing := "--allow-dir=" + filepath.Join(dir, "missing")
	if _, errs, status := program(t, "", nil, missing); status == 0 || !strings.Contains(errs, "allow-dir") {
		t.Errorf("%s: status %d, %s", missing, status, errs)
	}
}
