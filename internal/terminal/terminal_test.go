package terminal_test

import (
	"os"
	"path/filepath"
	"testing"

	"ollama-mcp/internal/terminal"
)

func TestFilesAndTheNullDeviceAreNoTerminalsAndGetNoColours(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{file, null} {
		if terminal.Is(f) || bool(terminal.StyleOf(f, func(string) string { return "" })) {
			t.Errorf("%s counts as a terminal", f.Name())
		}
	}
}

func TestOnlyTheColouredStyleChangesText(t *testing.T) {
	if got := terminal.Style(false).Red("x"); got != "x" {
		t.Errorf("plain: %q", got)
	}
	if got := terminal.Style(true).Red("x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("coloured: %q", got)
	}
	if got := terminal.Style(true).Red(""); got != "" {
		t.Errorf("nothing, coloured: %q", got)
	}
}

// TestTerminalGetsColoursUnlessTheUserWantsNone needs a pseudoterminal, which Linux makes on
// opening /dev/ptmx.
func TestTerminalGetsColoursUnlessTheUserWantsNone(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Logf("no pseudoterminal here (%v); what is tested elsewhere has to do", err)
		return
	}
	defer tty.Close()
	for env, want := range map[string]terminal.Style{"": true, "NO_COLOR=1": false, "TERM=dumb": false} {
		getenv := func(name string) string {
			if len(env) > len(name) && env[:len(name)+1] == name+"=" {
				return env[len(name)+1:]
			}
			return ""
		}
		if got := terminal.StyleOf(tty, getenv); got != want {
			t.Errorf("with %q: coloured %v, want %v", env, got, want)
		}
	}
}

func TestTextsOfOthersCannotControlATerminal(t *testing.T) {
	if got := terminal.Printable("a\x1b[2J b\r\n\u202ec\u200b 漢"); got != "a[2J bc 漢" {
		t.Errorf("got %q", got)
	}
}
